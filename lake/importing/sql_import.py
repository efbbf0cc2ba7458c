"""`rex import`: one file of SQL maps a site's files to the datasets of the raw lake. All rows are imported, or none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files as package_files
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
from rich.progress import Progress
from rich.table import Table

from features.duckdb_sql import literal
from features.errors import BadInput
from features.raw_datasets import EARLIEST, RAW
from features.times import rfc3339
from lake.dialect import connected
from lake.importing.script import Script, read_script
from lake.importing.sources import Sources, plain_path
from lake.importing.typed_rows import TypedRows, failed, sentence, typed_rows
from lake.progress import bar
from lake.ready_files import ready_files
from lake.row_checks import DatasetReport, report_table
from lake.writer import ROWS_PER_GROUP, staged_lake, write_events, write_raw

IMPORTED = tuple(dataset for dataset in RAW if dataset.name != "served")
"""What a view may fill; `served` is what Rex itself answered."""
PREVIEW_ROWS = 5


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did or, with `dry_run`, would do."""

    datasets: dict[str, DatasetReport]
    previews: dict[str, str]
    """The first rows of each dataset, as a table of text; none unless they were asked for."""
    notes: tuple[str, ...]
    """What pattern matched which files, and what was seen in them."""
    results: tuple[str, ...]
    """What each SELECT of the SQL gave, as a table of text."""

    @property
    def rows(self) -> dict[str, int]:
        """Rows by dataset."""
        return {name: one.rows for name, one in self.datasets.items()}

    def table(self) -> Table:
        """For a terminal: a line per dataset."""
        return report_table(self.datasets.values())

    def refusal(self) -> str:
        """Why nothing is written, reason by reason; empty when nothing is refused."""
        return "\n".join(f"  {line}" for one in self.datasets.values() for line in one.lines(sentence))


def import_sql(
    sql_file: Path,
    lake: Path,
    *,
    now: datetime,
    files: Path | None = None,
    as_of: datetime | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Writes what the views of `sql_file` (a path, or the name of a ready file) yield as a raw lake; nothing with `dry_run`.

    `files`: the folder that names in the SQL are relative to; None: that of the SQL file. `as_of`: when data without
    dates count as received. BadInput, and nothing written, for SQL that is not an import's, a file that is not exactly what the
    SQL says, a single row that is refused, and an `as_of` that is in the future or not needed.
    """
    if as_of is not None and not EARLIEST <= as_of <= now:
        raise BadInput(
            f"--as-of {rfc3339(as_of)} is {'in the future' if as_of > now else 'too early'}; name the moment at which the data were received."
        )
    script, base = _script(sql_file, files)
    with TemporaryDirectory(prefix="rex-dry-run-") if dry_run else staged_lake(lake) as folder:
        staging = Path(folder)
        work = staging / ".import"
        work.mkdir()
        with plain_path(work) as plain, import_engine(work) as db:
            sources = Sources(base, plain)
            sources.create_views(db, script, progress)
            _lock(db, work, sources)
            results = _run(db, script, sql_file)
            typed = _typed(db, script, sql_file, plain, now, as_of, progress)
            reports = {one.dataset.name: one.report for one in typed}
            previews = {one.dataset.name: _preview(db, one) for one in typed if dry_run}
            report = ImportReport(reports, previews, tuple(sources.notes), tuple(results))
            refusal = report.refusal()
            if not refusal:
                _refuse_unneeded(as_of, reports)
            if not dry_run:
                if refusal:
                    raise BadInput(
                        f"{sql_file} is refused, and nothing is written (the SQL can leave rows out):\n{refusal}"
                    )
                _write(db, typed, staging, progress)
            sources.refuse_changed()
        shutil.rmtree(work)
    return report


def _refuse_unneeded(as_of: datetime | None, reports: Mapping[str, DatasetReport]) -> None:
    if as_of is not None and not any(one.undated for one in reports.values()):
        raise BadInput("--as-of says when data without dates count as received, and here all have dates; leave it out.")


def _script(sql_file: Path, files: Path | None) -> tuple[Script, Path]:
    """The script, and the folder that its file names are relative to."""
    ready = ready_files()
    if sql_file.suffix != ".sql" and str(sql_file) in ready:
        sql, base = ready[str(sql_file)], files or Path.cwd()
    else:
        try:
            sql, base = sql_file.read_text("utf-8-sig"), files or sql_file.parent
        except FileNotFoundError as error:
            raise BadInput(
                f"There is no SQL file {sql_file}, and no ready file of that name; `rex import --list` prints those."
            ) from error
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{sql_file} is not UTF-8 text ({error.reason}, byte {error.start}); save it as UTF-8."
            ) from error
    if not base.is_dir():
        raise BadInput(f"There is no folder {base}; name the one that holds the files with --files.")
    try:
        script = read_script(sql)
    except BadInput as error:
        raise BadInput(f"{sql_file}: {error}") from error
    views = [statement.view for statement in script.statements if statement.view]
    for dataset in IMPORTED:
        if not dataset.optional and dataset.name not in views:
            there = f"has CREATE VIEW {', '.join(views)}, but no" if views else "has no"
            recipe = (
                " Where no file describes stories, make them of events: CREATE VIEW stories AS SELECT story_id, "
                "min(occurred_at) AS published_at FROM events GROUP BY story_id."
            )
            raise BadInput(
                f"{sql_file} {there} CREATE VIEW {dataset.name}; a lake needs stories and events."
                f"{recipe if dataset.name == 'stories' else ''}"
            )
    return script, base


@contextmanager
def import_engine(work: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with Rex's functions, which keeps what does not fit into memory in `work`."""
    with connected(work / "spill") as db:
        db.execute("SET python_enable_replacements = false")  # a name in the SQL is no variable of Rex
        db.execute((package_files("lake.importing") / "macros.sql").read_text())
        yield db


def _lock(db: duckdb.DuckDBPyConnection, work: Path, sources: Sources) -> None:
    """From here on SQL reaches no file but what `sources` has brought."""
    paths = ", ".join(map(literal, sources.linked))
    db.execute(f"SET allowed_directories = [{literal(work.resolve())}]")
    db.execute(f"SET allowed_paths = [{paths}]")
    db.execute("SET enable_external_access = false")
    db.execute("SET lock_configuration = true")


def _run(db: duckdb.DuckDBPyConnection, script: Script, sql_file: Path) -> list[str]:
    """What the queries give. A statement that names a view which the script creates further down runs after that one."""
    results = []
    made = [statement.macro for statement in script.statements if statement.macro]
    query = (
        "SELECT name FROM (SELECT lower(function_name) AS name FROM duckdb_functions() UNION SELECT keyword_name FROM duckdb_keywords())"
        " WHERE list_contains(?, name)"
    )
    taken = {name for (name,) in db.execute(query, [made]).fetchall()} if made else set()
    waiting = list(script.statements)
    moves_left = len(waiting) ** 2  # views that use each other would wait for ever
    while waiting:
        statement = waiting.pop(0)
        if statement.macro in taken:
            raise BadInput(
                f"{sql_file}, line {statement.line}: there is a function {statement.macro} already, which means the same in every "
                "import; give the macro another name."
            )
        try:
            if statement.is_query:
                results.append(str(db.sql(statement.sql)))
            else:
                db.execute(statement.sql)
        except duckdb.Error as error:
            missing = re.search(r"Table with name (\S+) does not exist", str(error))
            views = [other.view for other in waiting]
            if missing and missing[1].lower() in views and moves_left:
                waiting.insert(views.index(missing[1].lower()) + 1, statement)
                moves_left -= 1
                continue
            within = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
            failed(error, f"{sql_file}, line {statement.line + (int(within[1]) - 1 if within else 0)}")
    return results


def _typed(
    db: duckdb.DuckDBPyConnection,
    script: Script,
    sql_file: Path,
    plain: Path,
    now: datetime,
    as_of: datetime | None,
    progress: Progress | None,
) -> list[TypedRows]:
    views = {one.view: f"{sql_file}, line {one.line}: the view {one.view}" for one in script.statements if one.view}
    wanted = [dataset for dataset in IMPORTED if dataset.name in views]
    typed = []
    with bar(progress, "check", len(wanted)) as advance:
        for dataset in wanted:
            to, stories = plain / f"{dataset.name}.parquet", plain / "stories.parquet"
            typed.append(typed_rows(db, dataset, to, now, views[dataset.name], stories, as_of))
            if not typed[-1].report.rows and not dataset.optional:
                raise BadInput(
                    f"{views[dataset.name]} yields no rows, and a lake needs some; is a file empty, or a condition never true?"
                )
            advance()
    return typed


def _preview(db: duckdb.DuckDBPyConnection, typed: TypedRows) -> str:
    return str(db.sql(f"{typed.query} ORDER BY _row LIMIT {PREVIEW_ROWS}"))


def _write(db: duckdb.DuckDBPyConnection, typed: list[TypedRows], staging: Path, progress: Progress | None) -> None:
    with bar(progress, "write", len(typed)) as advance:
        for one in (one for one in typed if one.report.rows):
            if one.dataset.name == "events":
                written = write_events(staging, db, f"{one.query} ORDER BY occurred_at, _row")
            else:
                reader = db.sql(f"{one.query} ORDER BY _row").to_arrow_reader(ROWS_PER_GROUP)
                written = write_raw(staging, one.dataset.name, (pa.Table.from_batches([batch]) for batch in reader))
            if written != one.report.rows:
                raise BadInput(
                    f"{one.dataset.name}: {written:,} rows were written where the SQL yields {one.report.rows:,}; this is a defect of Rex."
                )
            advance()
