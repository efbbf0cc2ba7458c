"""`rex rank`: ranked lists for many users at one moment, by the pipeline that serves feeds; for digests and for evaluating Rex.

Row by row what `GET /v1/users/{user_id}/feed` would answer for a user who has done nothing since `as_of`, all stages and
reasons included; only Redis is left out, and nothing is drawn at random unless the settings given say so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from batch.constants import constants_version
from batch.moments.lake_snapshot import LakeSnapshot, load
from batch.run import run
from batch.settings import BatchSettings
from batch.snapshot_content import READS
from batch.tuning.tuned import settings_of
from features.duckdb_views import connect
from features.errors import BadInput
from features.lake_layout import run_note
from features.partitions import is_written
from features.schema import TS
from features.times import micros
from lake.drafts import replacing
from lake.progress import bar
from online.components import Components, default_components
from online.feed.presenting import items
from online.pipeline import Pipeline
from online.rankers.protocol import Ranker
from online.service_settings import OnlineSettings
from online.settings import RankingSettings

RANKED = pa.schema(
    [
        ("as_of", TS),
        ("user_id", pa.string()),
        ("position", pa.int32()),  # from 0
        ("story_id", pa.string()),
        ("score", pa.float32()),
        ("reason", pa.string()),
    ]
)
USERS_PER_GROUP = 1000
"""Row groups of 50,000 rows at the usual 50 a user: small in memory, large enough to compress."""


def rank(
    lake: Path,
    as_of: datetime,
    out: Path,
    *,
    now: datetime,
    users: Sequence[str] | None = None,
    top: int = 50,
    ranker: Ranker | None = None,
    batch: BatchSettings | None = None,
    online: RankingSettings | None = None,
    progress: Progress | None = None,
) -> int:
    """Writes the `top` stories of each user to the Parquet file `out`, in the order of `users`; returns the number of rows.

    `users` None: every user known at `as_of`, by user_id; an unknown one gets a newcomer's list. Runs the batch for
    `as_of` first when its features are not in the lake. Equal lakes and arguments, equal bytes. A file that is there is
    replaced, whole. BadInput for a `top` beyond the slate's size, repeated users,
    an `out` that cannot be written, and whatever the batch refuses.
    """
    _refuse_unwritable(out)
    given = OnlineSettings().ranking
    undrawn = replace(given, postprocess=replace(given.postprocess, explore_share=0.0))
    settings = replace(online or undrawn, strict=True)
    if not 1 <= top <= settings.cache.slate_size:
        raise BadInput(f"The top {top} of a list cannot be had; choose a number from 1 to {settings.cache.slate_size}.")
    if users is not None and len(set(users)) < len(users):
        raise BadInput("A user is named twice; name everyone once.")
    batch = batch or settings_of(lake)
    if not is_computed(lake, as_of, constants_version(batch)):
        run(lake, (as_of,), now=now, settings=batch, progress=progress)
    wanted = known_users(lake, as_of) if users is None else users
    snapshot, components = load(lake, as_of), default_components(ranker)
    tables = _tables(snapshot, components, settings, as_of, wanted, top, progress)
    return _write(tables, out)


def read_users(path: Path) -> list[str]:
    """User ids from a text file, one a line; empty lines do not count. BadInput when there is none."""
    try:
        found = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as a list of users ({error}); write one user_id per line.") from error
    if not found:
        raise BadInput(f"{path} names nobody; write one user_id per line.")
    return found


def is_computed(lake: Path, as_of: datetime, constants: str = "") -> bool:
    """Whether a finished batch has left everything that a snapshot of `as_of` needs (computed with these constants)."""
    return run_note(lake, as_of).is_file() and is_written(lake, READS, as_of, constants)


def known_users(lake: Path, as_of: datetime) -> list[str]:
    """Everyone with a profile at `as_of`, by user_id."""
    with connect(lake, as_of) as db:
        return [row[0] for row in db.execute("SELECT user_id FROM user_profiles ORDER BY user_id").fetchall()]


def _tables(
    offline: LakeSnapshot,
    components: Components,
    settings: RankingSettings,
    as_of: datetime,
    users: Sequence[str],
    top: int,
    progress: Progress | None,
) -> Iterator[pa.Table]:
    """One table of RANKED for every USERS_PER_GROUP users."""
    pipeline = Pipeline(components, lambda ctx, slate: None)
    with bar(progress, "rank", len(users)) as advance:
        for start in range(0, len(users), USERS_PER_GROUP):
            rows: list[dict[str, object]] = []
            for user_id in users[start : start + USERS_PER_GROUP]:
                ctx = offline.context(user_id, micros(as_of), settings, components)
                page = pipeline.read(ctx, pipeline.build(ctx), 0, top)
                rows += ({"user_id": user_id, **item} for item in items(ctx, page.entries, 0))
                advance()
            yield pa.Table.from_pylist([{**row, "as_of": as_of} for row in rows], schema=RANKED)


def _refuse_unwritable(out: Path) -> None:
    """BadInput where no file can be written; before the work, not after it."""
    if out.is_dir():
        raise BadInput(f"{out} is a directory; name the Parquet file to write.")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise BadInput(f"{out} cannot be written, because {above} is a file; name another path.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise BadInput(f"{out} cannot be written, because this user may not write to {above}; name another path.")


def _write(tables: Iterator[pa.Table], out: Path) -> int:
    """All or nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with replacing(out) as draft, pq.ParquetWriter(draft, RANKED, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows
