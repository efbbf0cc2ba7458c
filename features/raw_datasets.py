"""The raw lake: what a user brings, what the simulator and `rex import` write, what the online service archives."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from features.interactions import EVENT_TYPES
from features.null_spellings import BACKSLASH_N, NULL_IDS
from features.schema import ID, MAX_ID_BYTES, NO_DATES, NOT_IDS, TS, Check, Column, Dataset, optional

EDGE_KINDS = ("follow", "mute", "block")
TARGET_TYPES = ("author", "publication", "topic")
VISIBILITIES = ("public", "followers", "unlisted")
CLOCK_SKEW_S = 300
"""How far a client's clock may run ahead of the time of receipt; five minutes is what phones without NTP reach."""


EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Nobody did anything on a site before the web; what claims so comes from a clock that was never set, from seconds taken for
milliseconds, which lie in January 1970, or from a date that was misread."""
EARLIEST_TEXT = datetime(1000, 1, 1, tzinfo=UTC)
"""A text may be older than the web. A year of fewer digits is `24-05-01`, read as the year 24."""
CONTROL_CHARACTERS = "concat('[', chr(92), 'x00-', chr(92), 'x1f', chr(92), 'x7f]')"
"""A pattern. `chr(92)` is the backslash, which Spark's texts would take for an escape and DuckDB's would not."""


def _id_checks(column: str, nullable: bool = False) -> tuple[Check, Check]:
    well_formed = (
        f"octet_length({column}) BETWEEN 1 AND {MAX_ID_BYTES} AND {column} NOT IN {NOT_IDS}"
        f" AND NOT regexp_like({column}, {CONTROL_CHARACTERS})"
    )
    prefix = f"{column} IS NULL OR " if nullable else f"{column} IS NOT NULL AND "
    spellings = ", ".join(f"'{text}'" if text != BACKSLASH_N else "concat(chr(92), 'N')" for text in NULL_IDS)
    return (
        Check(f"malformed_{column}", f"{prefix}({well_formed})"),
        Check(f"null_as_{column}", f"{column} IS NULL OR {column} NOT IN ({spellings})"),
    )


def _dated(column: str) -> Check:
    """All rows of a dataset have the date, or none has it and each was received at some time."""
    return Check(f"missing_{column}", f"{column} IS NOT NULL OR ({NO_DATES} AND received_at IS NOT NULL)")


def _one_of(column: str, values: tuple[str, ...]) -> Check:
    return Check(f"unknown_{column}", f"{column} IN ({', '.join(repr(v) for v in values)})")


def _finite(column: str, low: float = 0.0) -> Check:
    bounds = f"NOT isnan({column}) AND {column} >= {low} AND {column} < CAST('Infinity' AS DOUBLE)"
    return Check(f"bad_{column}", f"{column} IS NULL OR ({bounds})")


def _received(otherwise: str) -> Column:
    meaning = f"when it arrived, which decides what an as_of may see; null: {otherwise}"
    return optional("received_at", TS, meaning)


STORIES = Dataset(
    name="stories",
    layer="raw",
    grain=("story_id", "updated_at"),
    meaning="Every version of every story; the state at a moment is the latest version not after it.",
    times=("published_at", "updated_at", "received_at"),
    may_be_planned=True,
    may_be_undated=True,
    earliest=EARLIEST_TEXT,
    columns=(
        Column("story_id", ID, "opaque id of the story"),
        optional("author_id", ID, "opaque id of the author; the same space as user_id"),
        optional("publication_id", ID, "publication it appeared in; null: none"),
        optional("topics", pa.list_(ID), "topics, most fitting first; null: none"),
        optional("language", pa.string(), "BCP 47 tag such as `en` or `zh-Hant`; null: unknown"),
        optional("title", pa.string(), "title; null: unknown"),
        Column(
            "published_at",
            TS,
            "first publication; may lie ahead where updated_at is stated; null in all rows: nobody knows",
        ),
        optional("updated_at", TS, "when this version came to be; null: published_at"),
        _received("updated_at"),
        optional("reading_time_s", pa.float32(), "estimated reading time in seconds; null: unknown"),
        optional("visibility", pa.string(), "`public`, `followers` (of the author) or `unlisted`; null: public"),
        optional("members_only", pa.bool_(), "shown to paying members only; null: false"),
        optional("deleted_at", TS, "when it was withdrawn; null: it was not"),
    ),
    checks=(
        *_id_checks("story_id"),
        *_id_checks("author_id", nullable=True),
        *_id_checks("publication_id", nullable=True),
        _dated("published_at"),
        _finite("reading_time_s"),
        Check("malformed_language", "well_formed_languages(array_repeat(language, 1))"),
        Check("unknown_visibility", f"visibility IS NULL OR visibility IN {VISIBILITIES}"),
    ),
)

USERS = Dataset(
    name="users",
    layer="raw",
    grain=("user_id", "updated_at"),
    meaning="Every version of every user's account.",
    optional=True,
    times=("created_at", "updated_at", "received_at"),
    earliest=EARLIEST,
    columns=(
        Column("user_id", ID, "opaque id of the user"),
        Column("created_at", TS, "when the account was made"),
        optional("updated_at", TS, "when this version came to be; null: created_at"),
        _received("updated_at"),
        optional(
            "languages", pa.list_(pa.string()), "BCP 47 tags of the languages the user reads; null or empty: unknown"
        ),
        optional("is_member", pa.bool_(), "pays, and so may read members-only stories; null: false"),
    ),
    checks=(
        *_id_checks("user_id"),
        Check("missing_created_at", "created_at IS NOT NULL"),
        Check("malformed_language", "well_formed_languages(languages)"),
    ),
)

EDGES = Dataset(
    name="edges",
    layer="raw",
    grain=("user_id", "event_id"),
    meaning="A log of follows, mutes and blocks and their undoing.",
    optional=True,
    times=("occurred_at", "received_at"),
    earliest=EARLIEST,
    columns=(
        optional("event_id", ID, "id of the change, the user's own; null: made from the content"),
        Column("user_id", ID, "who follows, mutes or blocks"),
        Column("kind", pa.string(), "`follow`, `mute` or `block`"),
        Column("target_type", pa.string(), "`author`, `publication` or `topic`"),
        Column("target_id", ID, "what is followed, muted or blocked"),
        Column("op", pa.string(), "`add` or `remove`"),
        Column("occurred_at", TS, "when"),
        _received("occurred_at"),
    ),
    checks=(
        *_id_checks("event_id", nullable=True),
        *_id_checks("user_id"),
        *_id_checks("target_id"),
        _one_of("kind", EDGE_KINDS),
        _one_of("target_type", TARGET_TYPES),
        _one_of("op", ("add", "remove")),
        Check("missing_occurred_at", "occurred_at IS NOT NULL"),
    ),
)

EVENTS = Dataset(
    name="events",
    layer="raw",
    grain=("user_id", "event_id"),
    meaning="What users did: impressions as the client saw them, and everything that followed.",
    partition_by=("dt",),
    times=("occurred_at", "received_at"),
    may_be_undated=True,
    earliest=EARLIEST,
    columns=(
        optional("event_id", ID, "id of the event, the user's own; null: made from the content and an ordinal"),
        Column("user_id", ID, "who"),
        Column("story_id", ID, "on which story"),
        Column("type", pa.string(), "one of " + ", ".join(EVENT_TYPES)),
        Column("occurred_at", TS, "when it happened; decay and windows use this; null in all rows: nobody knows"),
        _received("occurred_at"),
        optional("dwell_s", pa.float32(), "seconds spent reading; null: not measured"),
        optional("claps", pa.int32(), "claps given; null: one"),
        optional("strength", pa.float32(), "rating or play count, on the site's own scale; null: none"),
        optional("request_id", ID, "the feed request that showed it; null: unknown"),
        optional("position", pa.int32(), "0-based position in the pagination session; null: unknown"),
        optional("source", pa.string(), "provider that brought it; null: unknown"),
        optional("propensity", pa.float64(), "P(this story at this position | request, entries above); null: unknown"),
        optional("dt", pa.date32(), "UTC date of occurred_at (the partition); null: undated"),
    ),
    checks=(
        *_id_checks("event_id", nullable=True),
        *_id_checks("user_id"),
        *_id_checks("story_id"),
        _one_of("type", EVENT_TYPES),
        _dated("occurred_at"),
        Check(
            "occurred_after_received",
            f"received_at IS NULL OR occurred_at IS NULL OR occurred_at <= received_at + INTERVAL {CLOCK_SKEW_S} SECONDS",
        ),
        _finite("dwell_s"),
        _finite("claps"),
        Check(
            "bad_strength", "strength IS NULL OR (NOT isnan(strength) AND abs(strength) < CAST('Infinity' AS DOUBLE))"
        ),
        Check("bad_position", "position IS NULL OR position >= 0"),
        Check("bad_propensity", "propensity IS NULL OR (NOT isnan(propensity) AND propensity > 0 AND propensity <= 1)"),
    ),
)

SERVED = Dataset(
    name="served",
    layer="raw",
    grain=("request_id", "position"),
    meaning="What the service answered; not proof that anyone saw it (that is an impression).",
    partition_by=("dt",),
    optional=True,
    columns=(
        Column("request_id", ID, "the feed request"),
        Column("user_id", ID, "whose feed"),
        Column("slate", ID, "slate the page was cut from"),
        Column("position", pa.int32(), "0-based position in the pagination session"),
        Column("story_id", ID, "what was answered"),
        Column("source", pa.string(), "provider named in the reason"),
        Column("propensity", pa.float64(), "P(this story at this position | request, entries above)"),
        Column("snapshot", pa.string(), "snapshot version"),
        Column("model", pa.string(), "model name and version"),
        Column("score", pa.float32(), "ranking score"),
        optional("features", pa.list_(pa.float32()), "sampled feature vector, registry order; null: not sampled"),
        optional("dt", pa.date32(), "UTC date of the answer (the partition)"),
    ),
    checks=(*_id_checks("request_id"), *_id_checks("user_id"), *_id_checks("story_id")),
)

PROMOTIONS = Dataset(
    name="promotions",
    layer="raw",
    grain=("promotion_id",),
    meaning="Stories someone paid or decided to promote.",
    optional=True,
    earliest=EARLIEST_TEXT,
    columns=(
        Column("promotion_id", ID, "opaque id"),
        Column("story_id", ID, "what is promoted"),
        Column("starts_at", TS, "first moment"),
        Column("ends_at", TS, "first moment after"),
        Column("priority", pa.int32(), "higher goes first"),
        optional("daily_cap_per_user", pa.int32(), "slate entries a user and UTC day; null: no cap"),
    ),
    checks=(
        *_id_checks("promotion_id"),
        *_id_checks("story_id"),
        Check("empty_interval", "starts_at < ends_at"),
        Check("missing_priority", "priority IS NOT NULL"),
        Check("bad_daily_cap_per_user", "daily_cap_per_user IS NULL OR daily_cap_per_user >= 0"),
    ),
)

RAW = (STORIES, USERS, EDGES, EVENTS, SERVED, PROMOTIONS)
