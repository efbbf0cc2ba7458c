"""What the batch jobs write: one dataset a job, partitioned by `as_of`, nothing from after it."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from features.interactions import COUNTERS, LABELS, OUTCOMES, REVERSIBLE
from features.raw_datasets import EDGES, EVENTS, PROMOTIONS, STORIES, USERS
from features.registry import BY_NAME, FEATURES, registered
from features.schema import ID, TS, Check, Column, Dataset, optional

F32, F64, I64 = pa.float32(), pa.float64(), pa.int64()
HASH = pa.int64()
"""xxhash64 of the UTF-8 id, seed 42 (Spark's `xxhash64`), the form in which ids travel inside a snapshot."""
WINDOWS_D = (1, 7, 30)
"""Counter windows in days: today, this week, this month."""
COUNTED = tuple(COUNTERS)
MODEL_NOTE = "model feature, see features/registry.py"

AS_OF = Column("as_of", TS, "the moment this row describes (the partition)")

VISIBLE = (
    Column("valid_from", TS, "the first as_of that sees this row"),
    optional(
        "valid_until",
        TS,
        "the first as_of that no longer does (a newer version, a conflicting duplicate); null: all later do",
    ),
)
"""What makes one written dataset serve every earlier as_of: `valid_from <= as_of AND (valid_until IS NULL OR as_of < valid_until)`."""


def _derived(
    name: str,
    grain: tuple[str, ...],
    meaning: str,
    columns: tuple[Column, ...],
    checks: tuple[Check, ...] = (),
    may_end: bool = False,
) -> Dataset:
    """A dataset with a partition for each `as_of`, which is part of its grain and its first column."""
    return Dataset(
        name=name,
        layer="features",
        grain=("as_of", *grain),
        meaning=meaning,
        columns=(AS_OF, *columns),
        partition_by=("as_of",),
        checks=checks,
        may_end=may_end,
    )


def _finite(*columns: str) -> Check:
    return Check("finite_" + columns[0], " AND ".join(f"isfinite({c})" for c in columns))


def _model_columns(entity: str) -> tuple[Column, ...]:
    return tuple(Column(f.name, F32, f.meaning + f" ({MODEL_NOTE})") for f in registered(entity))


def _rates(entity: str) -> Check:
    names = [f.name for f in registered(entity) if f.name.endswith("_rate")]
    return Check("rates_between_0_and_1", " AND ".join(f"{n} BETWEEN 0 AND 1" for n in names))


def _windows() -> tuple[Column, ...]:
    absent = "null: there are events, but none has a date"
    return tuple(
        optional(f"{what}_{d}d", I64, f"{what} in the last {_days(d)}; {absent}") for what in COUNTED for d in WINDOWS_D
    )


def _counters() -> tuple[Column, ...]:
    decayed = [Column(f"decayed_{what}", F64, f"{what}, halved every story half-life") for what in COUNTED]
    return (*_windows(), *decayed)


def _days(days: int) -> str:
    return "day" if days == 1 else f"{days} days"


def _valid(raw: Dataset, extra: tuple[Column, ...] = (), may_end: bool = False) -> Dataset:
    """The raw dataset after validation: same columns, defaults filled, duplicates gone, one partition per run."""
    may_be_null = raw.times[:1] if raw.may_be_undated else ()
    columns = tuple(replace(c, required=False) if c.name in may_be_null else c for c in raw.columns if c.name != "dt")
    return _derived(
        name=f"valid_{raw.name}",
        grain=raw.grain,
        meaning=f"Rows of `{raw.name}` that passed its checks, deduplicated, as known at the run's latest as_of.",
        columns=(*columns, *extra, *VISIBLE),
        may_end=may_end,
    )


def _per(entity: str, grain: str, meaning: str, extra: tuple[Column, ...] = ()) -> Dataset:
    return _derived(
        name=f"{entity}_features",
        grain=(grain,),
        meaning=meaning,
        columns=(Column(grain, ID, f"which {entity}"), *_counters(), *extra, *_model_columns(entity)),
        checks=(_rates(entity), _finite(*(f.name for f in registered(entity)))),
    )


def _affinity(entity: str) -> Dataset:
    return _derived(
        name=f"user_{entity}_affinity",
        grain=("user_id", f"{entity}_id"),
        meaning=f"How much more (or less) a user does with stories of one {entity} than users do in general.",
        columns=(
            Column("user_id", ID, "who"),
            Column(f"{entity}_id", ID, f"for which {entity}"),
            Column("affinity", F32, "(-1, 1); 0: no support; see docs/features.md"),
            Column("weight", F64, "decayed engagement behind it, whatever its sign, for analysts"),
            Column("engagement", F64, "decayed engagement, signed: P of docs/features.md"),
            Column("impressions", F64, "decayed impressions"),
        ),
        checks=(Check("affinity_in_range", "affinity > -1 AND affinity < 1"),),
    )


VALID_STORIES = _valid(
    STORIES,
    (
        Column("story_hash", HASH, "hash of story_id"),
        Column(
            "duplicate_key",
            HASH,
            "equal for near-duplicates: hash of the title's sorted, folded words; story_hash without a title",
        ),
    ),
)
VALID_USERS = _valid(USERS)
VALID_EDGES = _valid(EDGES)
VALID_EVENTS = _valid(EVENTS)
VALID_PROMOTIONS = _valid(PROMOTIONS, may_end=True)  # campaigns do

STORY_COUNTERS = _derived(
    name="story_counters",
    grain=("story_id",),
    meaning="What was done with each story that has events: the sums that all rates and trends are made of.",
    columns=(
        Column("story_id", ID, "which story"),
        *_windows(),
        *(Column(f"fixed_{what}", I64, f"{what}, halved every story half-life, in units of 2^-30") for what in COUNTED),
        *(
            Column(f"hot_{what}", I64, f"{what}, halved every trending half-life, in units of 2^-30")
            for what in ("opens", "reads")
        ),
        Column("reads_ever", I64, "reads since the first"),
    ),
)

STORY_FEATURES = _per("story", "story_id", "How each live story has done; age is computed online.")
AUTHOR_FEATURES = _per(
    "author",
    "author_id",
    "How an author's stories have done.",
    (Column("followers", I64, "users who follow the author"),),
)
PUBLICATION_FEATURES = _per("publication", "publication_id", "How a publication's stories have done.")
TOPIC_FEATURES = _per("topic", "topic_id", "How a topic's stories have done.")
LANGUAGE_FEATURES = _per("language", "language", "How a language's stories have done.")

USER_AUTHOR_AFFINITY = _affinity("author")
USER_PUBLICATION_AFFINITY = _affinity("publication")
USER_TOPIC_AFFINITY = _affinity("topic")


def _changed(name: str, meaning: str) -> tuple[Column, Column]:
    return (
        Column(name, pa.list_(ID), meaning),
        Column(f"{name}_at", pa.list_(TS), f"when each of `{name}` was last changed, in the same order"),
    )


_PAIRS = pa.list_(pa.struct([("story_id", ID), ("at", TS)]))
USER_PROFILES = _derived(
    name="user_profiles",
    grain=("user_id",),
    meaning="What is known of a user: account, edges in force, what was read, hidden, reported and shown.",
    columns=(
        Column("user_id", ID, "who"),
        optional("created_at", TS, "when the account was made; null: only known from events"),
        optional("updated_at", TS, "when this version of the account came to be; null like created_at"),
        Column("languages", pa.list_(pa.string()), "languages read, sorted; empty: any"),
        Column("is_member", pa.bool_(), "may read members-only stories"),
        *(
            column
            for kind in ("follow", "mute", "block")
            for target in ("author", "publication", "topic")
            for column in _changed(f"{kind}_{target}s", f"{target}s with a {kind} edge in force, sorted")
        ),
        *(
            column
            for target in ("author", "publication", "topic")
            for column in _changed(f"unfollow_{target}s", f"{target}s no longer followed, sorted; the latest 1,000")
        ),
        *_changed("blocked_by", "users who block this one, sorted; the latest 50,000"),
        Column(
            "read",
            _PAIRS,
            "stories read, newest first, with the time of the last read (null: undated); the latest 2,000",
        ),
        *(column for one in REVERSIBLE for column in _changed(one.held, f"stories {one.held}, sorted")),
        Column(
            "seen",
            pa.list_(pa.struct([("story_id", ID), ("times", pa.int32())])),
            "stories shown but never opened, with how often; the latest 1,000",
        ),
    ),
)

ALS_VECTORS = _derived(
    name="als_vectors",
    grain=("entity", "id"),
    meaning="Implicit ALS factors of one fit; only products of a user's and a story's vector of one as_of mean anything.",
    columns=(
        Column("entity", pa.string(), "`user` or `story`"),
        Column("id", ID, "user_id or story_id"),
        Column("vector", pa.list_(F32), "the factors, same length for all"),
    ),
    checks=(Check("known_entity", "entity IN ('user', 'story')"), Check("not_empty", "len(vector) > 0")),
)

SIMILAR_STORIES = _derived(
    name="similar_stories",
    grain=("story_id", "rank"),
    meaning="Stories read by the same users: cosine over users, shrunk for little support.",
    columns=(
        Column("story_id", ID, "for this story"),
        Column("rank", pa.int32(), "0 is the most similar"),
        Column("similar_story_id", ID, "this one is similar"),
        Column("similarity", F32, "(0, 1]"),
    ),
    checks=(
        Check("similarity_in_range", "similarity > 0 AND similarity <= 1"),
        Check("not_itself", "story_id <> similar_story_id"),
    ),
)

TOP_STORIES = _derived(
    name="top_stories",
    grain=("language", "rank"),
    meaning="What is trending, per language and (language `*`) over all; of undated events, what was read most.",
    columns=(
        Column("language", pa.string(), "language tag, or `*` for all languages together"),
        Column("rank", pa.int32(), "0 is the top"),
        Column("story_id", ID, "which story"),
        Column("heat", F64, "reads halved every trending half-life; see batch/settings.py"),
    ),
    may_end=True,  # two quiet weeks halve all heat away
)

NEWEST = 100
"""Stories that count as the newest: the first five pages of a feed of fresh stories."""
OPEN_RATE = BY_NAME["story_open_rate"].default
"""What a story shown is worth: reads and negatives are weighted so that this share of the weight is read."""

SAMPLING_RULE = (
    "The lake has no impressions, so every example is made from a read. Positive: a user's first read of a story, at the "
    "moment of the read. Negative: for each of these, `training_negatives` stories that were public and published then and "
    f"that the user had not read and did not read within the outcome window, half of them drawn uniformly from the {NEWEST} "
    "newest, since a feed shows what is new, and half uniformly from all; the draws follow from the event's id. The negatives of one "
    f"read weigh {1 / OPEN_RATE - 1:g} together, the read 1, so that reads are {OPEN_RATE:.0%} of the weight, the open rate that is assumed "
    "where none is known. Probabilities learned from such a lake are relative to this rule."
)
"""How the examples of such a lake come about, for the model card."""

TRAINING_EXAMPLES = _derived(
    name="training_examples",
    grain=("user_id", "event_id"),
    meaning="What was shown to whom, what came of it, and every feature as a server had it just before.",
    columns=(
        Column("user_id", ID, "to whom"),
        Column("event_id", ID, "the impression; in a lake without impressions the read, or the read and a number"),
        Column("story_id", ID, "which story"),
        optional("request_id", ID, "examples of one request were shown together; null: unknown"),
        Column("shown_at", TS, "when"),
        Column("features_as_of", TS, "the as_of of the snapshot that a server would have had"),
        optional("author_id", ID, "author of the story as known by then; null: unknown"),
        optional("position", pa.int32(), "0-based position in the pagination session; null: unknown"),
        optional("source", pa.string(), "provider that brought it; null: unknown"),
        optional("propensity", F64, "probability that it was shown there; null: unknown"),
        *(
            Column(one.name, pa.bool_(), f"one of these came within the outcome window: {', '.join(LABELS[one.name])}")
            for one in OUTCOMES
        ),
        Column("weight", F32, "1 for an impression; see docs/training-set.md for sampled examples"),
        Column("sampled", F64, "share of the requests that was taken, the same in all rows of an as_of"),
        *(Column(f.name, F32, f"{f.meaning} ({MODEL_NOTE})") for f in FEATURES),
    ),
    checks=(
        Check("features_from_before", "features_as_of <= shown_at"),
        _finite(*(f.name for f in FEATURES)),
        Check("positive_weight", "weight > 0"),
        Check("a_share", "sampled > 0 AND sampled <= 1"),
        Check("read_is_open", "open OR NOT read"),
    ),
)

DERIVED = (
    VALID_STORIES,
    VALID_USERS,
    VALID_EDGES,
    VALID_EVENTS,
    VALID_PROMOTIONS,
    STORY_COUNTERS,
    STORY_FEATURES,
    AUTHOR_FEATURES,
    PUBLICATION_FEATURES,
    TOPIC_FEATURES,
    LANGUAGE_FEATURES,
    USER_PROFILES,
    USER_AUTHOR_AFFINITY,
    USER_PUBLICATION_AFFINITY,
    USER_TOPIC_AFFINITY,
    ALS_VECTORS,
    SIMILAR_STORIES,
    TOP_STORIES,
    TRAINING_EXAMPLES,
)
