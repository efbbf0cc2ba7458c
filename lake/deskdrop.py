"""Imports the DeskDrop data set: what the people of one company shared and read, 2016-03 to 2017-02.

    eventType        event   note
    VIEW             read    opened and seen; how long is not known, so dwell_s stays empty
    LIKE             clap    one clap
    BOOKMARK         save
    COMMENT CREATED  share   the strongest public endorsement it has
    FOLLOW           save    follows an article's comments (not a person): wants to come back to it

The source has no event ids, so exact repeats are kept as events of their own. `sessionId` is no feed request and is
left out. Stories come from `shared_articles.csv` where that is present: CONTENT SHARED makes a story, CONTENT REMOVED
a later version that is withdrawn. Stories that only events name are published when first touched.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from rich.progress import Progress

from features.errors import BadInput
from lake.events_by_day import write_events
from lake.summary import ImportSummary
from lake.writer import staged_lake, write_raw

EVENT_OF = {"VIEW": "read", "LIKE": "clap", "BOOKMARK": "save", "COMMENT CREATED": "share", "FOLLOW": "save"}
SECONDS_PER_WORD = 60 / 265
"""Adults read 265 words a minute (Medium's own rule for its reading time)."""
INTERACTIONS = "users_interactions.csv"
ARTICLES = "shared_articles.csv"
INTERACTION_COLUMNS = ("timestamp", "eventType", "contentId", "personId")
ARTICLE_COLUMNS = ("timestamp", "eventType", "contentId", "authorPersonId", "title", "text", "lang")


def import_deskdrop(source: Path, lake: Path, progress: Progress | None = None) -> ImportSummary:
    """Write the data set in directory `source` as a raw lake; all of it or nothing.

    Raises BadInput for a missing or unreadable file, a missing column, an unknown event type and a bad timestamp.
    """
    steps = progress.add_task("import DeskDrop", total=3) if progress else None
    with duckdb.connect() as db, staged_lake(lake) as staging:
        _load(db, source / INTERACTIONS, "interactions", INTERACTION_COLUMNS)
        _check(db, "interactions", source / INTERACTIONS, tuple(EVENT_OF))
        _advance(progress, steps)
        rows = {"events": write_events(staging, db, _EVENTS)}
        _advance(progress, steps)
        rows["stories"] = write_raw(staging, "stories", [_stories(db, source / ARTICLES)])
        _advance(progress, steps)
    return ImportSummary(rows)


def _advance(progress: Progress | None, task: object) -> None:
    if progress is not None:
        progress.advance(task)  # type: ignore[arg-type]


def _load(db: duckdb.DuckDBPyConnection, path: Path, table: str, columns: tuple[str, ...]) -> None:
    """The CSV as a table of strings: ids are larger than a double holds exactly."""
    if not path.is_file():
        raise BadInput(f"There is no {path.name} in {path.parent}; name the directory that holds the DeskDrop files.")
    try:
        db.execute(
            f"CREATE TABLE {table} AS SELECT row_number() OVER () + 1 AS line, * "
            "FROM read_csv(?, header=true, all_varchar=true, delim=',', quote='\"', escape='\"', strict_mode=true)",
            [str(path)],
        )
    except duckdb.Error as error:
        raise BadInput(f"{path} is not a readable CSV file: {str(error).splitlines()[0]}") from error
    present = {row[0] for row in db.execute(f"DESCRIBE {table}").fetchall()}
    if missing := [column for column in columns if column not in present]:
        raise BadInput(f"{path} has no column {missing[0]}; DeskDrop's files have {', '.join(columns)}.")
    if db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,):
        raise BadInput(f"{path} has no rows.")


def _check(db: duckdb.DuckDBPyConnection, table: str, path: Path, types: tuple[str, ...]) -> None:
    bad = db.execute(
        f"SELECT line, timestamp FROM {table} WHERE try_cast(timestamp AS BIGINT) IS NULL ORDER BY line LIMIT 1"
    ).fetchone()
    if bad:
        raise BadInput(f"{path}, row {bad[0]}: timestamp {bad[1]!r} is not a whole number of Unix seconds.")
    bad = db.execute(
        f"SELECT line, eventType FROM {table} WHERE eventType IS NULL OR eventType NOT IN ? ORDER BY line LIMIT 1",
        [types],
    ).fetchone()
    if bad:
        raise BadInput(f"{path}, row {bad[0]}: unknown eventType {bad[1]!r}; known are {', '.join(types)}.")


_EVENTS = f"""
    SELECT personId AS user_id, contentId AS story_id,
           CASE eventType {" ".join(f"WHEN '{a}' THEN '{b}'" for a, b in EVENT_OF.items())} END AS type,
           make_timestamptz(timestamp::BIGINT * 1000000) AS occurred_at,
           CASE eventType WHEN 'LIKE' THEN 1 END AS claps
    FROM interactions ORDER BY occurred_at, line
"""
_STORIES_OF_EVENTS = """
    SELECT contentId AS story_id, make_timestamptz(min(timestamp::BIGINT) * 1000000) AS published_at
    FROM interactions GROUP BY contentId ORDER BY published_at, story_id
"""
_STORIES_OF_ARTICLES = f"""
    WITH article AS (SELECT *, timestamp::BIGINT * 1000000 AS us FROM articles),
    shared AS (SELECT * FROM article WHERE eventType = 'CONTENT SHARED'
               QUALIFY row_number() OVER (PARTITION BY contentId ORDER BY us, line) = 1),
    removed AS (SELECT contentId, max(us) AS us FROM article WHERE eventType = 'CONTENT REMOVED' GROUP BY contentId),
    touched AS (SELECT contentId, min(timestamp::BIGINT) * 1000000 AS us FROM interactions GROUP BY contentId),
    first AS (
        SELECT contentId, authorPersonId, lang, title, text, coalesce(shared.us, touched.us) AS us
        FROM shared FULL JOIN touched USING (contentId)
        UNION ALL BY NAME
        SELECT contentId, min(us) AS us FROM article
        WHERE contentId NOT IN (SELECT contentId FROM shared UNION SELECT contentId FROM touched) GROUP BY contentId),
    version AS (SELECT *, us AS at_us, false AS gone FROM first
                UNION ALL SELECT first.*, removed.us, true FROM first JOIN removed USING (contentId))
    SELECT contentId AS story_id, nullif(authorPersonId, '') AS author_id, nullif(lang, '') AS language,
           nullif(title, '') AS title, make_timestamptz(us) AS published_at, make_timestamptz(at_us) AS updated_at,
           (len(string_split_regex(trim(nullif(text, '')), '\\s+')) * {SECONDS_PER_WORD})::FLOAT AS reading_time_s,
           CASE WHEN gone THEN make_timestamptz(at_us) END AS deleted_at
    FROM version ORDER BY at_us, story_id, gone
"""


def _stories(db: duckdb.DuckDBPyConnection, path: Path) -> pa.Table:
    if not path.exists():
        return db.sql(_STORIES_OF_EVENTS).to_arrow_table()
    _load(db, path, "articles", ARTICLE_COLUMNS)
    _check(db, "articles", path, ("CONTENT SHARED", "CONTENT REMOVED"))
    return db.sql(_STORIES_OF_ARTICLES).to_arrow_table()
