"""Small files, and what a view over them brings into a lake."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.verdicts import REPEATED
from lake.check import check_lake
from lake.importing.records import Records
from lake.importing.source_files import find_files
from lake.importing.sql_import import ImportReport, import_sql
from lake.importing.text_dialect import Dialect

NOW = datetime(2026, 11, 20, tzinfo=UTC)
STORIES = (
    "CREATE VIEW stories AS SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id ORDER BY 1;"
)
"""Of what events name, where stories are not the matter."""


def put(folder: Path, **files: str | bytes) -> Path:
    """Writes files: `a__csv` is `a.csv`."""
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def records(folder: Path, content: str | bytes, **dialect: Any) -> list[tuple[Any, ...]]:
    """(line, *cells) of each record of a file with that content."""
    put(folder, a__csv=content)
    dialect.setdefault("escape", dialect.get("quote", '"'))
    form = Dialect(**dialect)
    form.check("a.csv")
    [source] = find_files(folder, ["a.csv"])
    found: list[tuple[Any, ...]] = []
    for starts, columns in Records(source, form).batches():
        found += zip(starts.to_pylist(), *(column.to_pylist() for column in columns), strict=True)
    return found


def imported(folder: Path, sql: str, **options: Any) -> ImportReport:
    """Imports by `sql` from `folder` into the lake beside it."""
    (folder / "import.sql").write_text(sql)
    return import_sql(folder / "import.sql", folder.parent / "lake", now=NOW, **options)


def kept_whole(folder: Path) -> bool:
    """Whether a batch would keep every row of the lake beside `folder`, but for repeats."""
    return all(one.refused.keys() <= {REPEATED} for one in check_lake(folder.parent / "lake", NOW).datasets.values())


def rows(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """What the lake beside `folder` holds of a dataset, file by file; columns of nulls alone left out."""
    found: list[dict[str, Any]] = []
    for path in sorted((folder.parent / "lake" / "raw" / dataset).rglob("*.parquet")):
        found += pq.ParquetFile(path).read().to_pylist()
    return found


def events_of(call: str, columns: str = "user AS user_id, item AS story_id, 'read' AS type, ts AS occurred_at") -> str:
    """SQL that fills events from one reader's call, and stories from the events."""
    return f"CREATE VIEW events AS SELECT {columns}, file, line FROM {call}; {STORIES}"
