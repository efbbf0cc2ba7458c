"""Length, regularisation and confidence of the ALS vectors: the fit that best finds stories that were hidden from it.

A fifth of the stories of some users is hidden; each hidden one is ranked, by the product of the vectors, among stories that its
user was shown without being opened, or, in a lake that does not log what is shown, never touched. The fit is the batch's own.

Stories shown without being opened are the better negatives where there are any: among all stories, one that was read differs most from
the others by having been shown at all, and the fit would learn the feed that was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.jobs.als_vectors import enough, fitted
from batch.settings import BatchSettings
from batch.tuning.tuned import Tried
from features.arrays import F64, I64
from features.ranking_metrics import discount

SEARCH_SPACE = (
    (32, 0.1, 10.0),
    (64, 4.0, 20.0),
    (32, 0.3, 1.0),
    (64, 2.0, 10.0),
    (32, 1.0, 4.0),
    (64, 8.0, 40.0),
    (32, 0.1, 1.0),
    (64, 1.0, 4.0),
    (16, 2.0, 10.0),
    (64, 0.3, 1.0),
    (32, 0.03, 40.0),
)
"""als_rank, als_regularisation, als_alpha, in the order in which they are tried: the defaults, then what differs most."""
MIN_STORIES = 5
"""Different stories of a user of whom some are hidden: with fewer, hiding one leaves little to go by."""
HIDDEN = 5
"""One in so many is hidden."""
EVALUATED = 2000
"""Users at most of whom stories are hidden: their mean has a standard error of about one per cent of itself."""
NEGATIVES = 100
FEWEST_SKIPPED = 20
"""Stories shown without being opened that a user must have to be asked about them."""
SEED = 42
CRITERION = f"NDCG of a hidden story among {NEGATIVES}"


@dataclass(frozen=True, slots=True)
class HiddenReads:
    """p hidden (user, story), and the stories each is ranked among; ids by number."""

    users: pa.Array
    """string[u]"""
    stories: pa.Array
    """string[n]"""
    user: I64
    story: I64
    negatives: I64
    """int64[p, NEGATIVES]"""


def choose(
    pairs: DataFrame, impressions: DataFrame, settings: BatchSettings, in_time: Callable[[], bool]
) -> tuple[dict[str, float], list[Tried], list[str]]:
    """Setting → value, what was tried, and what could not be chosen.

    `pairs`: user_id, story_id, strength. `impressions`: user_id, story_id of what was shown; may be empty.
    """
    marked = with_hidden(pairs).persist()
    hidden = hidden_of(marked, skipped(marked, impressions))
    if hidden is None:
        note = f"vectors keep their defaults: too few users with {MIN_STORIES} stories, or too few stories"
        return {}, [], [note]
    known = marked.where(~F.col("hidden")).select("user_id", "story_id", "strength").persist()
    chosen: dict[str, float] = {}
    tried: list[Tried] = []
    best = -np.inf
    for rank, regularisation, alpha in SEARCH_SPACE:
        if tried and not in_time():
            break
        setting = {"als_rank": rank, "als_regularisation": regularisation, "als_alpha": alpha}
        value = found(known, hidden, settings.model_copy(update=setting))
        tried.append(Tried(setting, CRITERION, value))
        if value > best:
            best, chosen = value, setting
    return chosen, tried, []


def with_hidden(pairs: DataFrame) -> DataFrame:
    """Adds `evaluated` (its user is one of those evaluated) and `hidden`; which, follows from the ids."""
    busy = pairs.groupBy("user_id").agg(F.count("*").alias("n")).where(F.col("n") >= MIN_STORIES)
    chosen = (
        busy.orderBy(F.xxhash64("user_id"), "user_id")
        .limit(EVALUATED)
        .select("user_id", F.lit(True).alias("evaluated"))
    )
    both = pairs.join(chosen, "user_id", "left").withColumn("evaluated", F.coalesce("evaluated", F.lit(False)))
    drawn = F.pmod(F.xxhash64("user_id", "story_id"), F.lit(HIDDEN)) == 0
    return both.withColumn("hidden", F.col("evaluated") & drawn)


def skipped(marked: DataFrame, impressions: DataFrame) -> pa.Table:
    """user_id, story_id of what users who are evaluated were shown and never acted on, of stories that anybody did."""
    evaluated = impressions.join(
        marked.where("evaluated").select("user_id").distinct(), "user_id", "left_semi"
    ).distinct()
    known = evaluated.join(marked.select("story_id").distinct(), "story_id", "left_semi")
    unopened = known.join(marked.select("user_id", "story_id"), ["user_id", "story_id"], "left_anti")
    return unopened.orderBy("user_id", "story_id").select("user_id", "story_id").toArrow()


def hidden_of(marked: DataFrame, unopened: pa.Table) -> HiddenReads | None:
    """None when nothing is hidden or there are too few stories to rank among. `unopened`: what `skipped` found."""
    stories = marked.select("story_id").distinct().orderBy("story_id").toArrow()["story_id"].combine_chunks()
    mine = marked.where("evaluated").select("user_id", "story_id", "hidden").orderBy("user_id", "story_id").toArrow()
    if not len(mine) or not any(mine["hidden"].to_pylist()):
        return None
    users = mine["user_id"].combine_chunks().unique()
    user = mine["user_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    story = _places(mine["story_id"], stories)
    wanted = mine["hidden"].to_numpy()
    offered = np.zeros((len(users), len(stories)), np.bool_)
    offered[_places(unopened["user_id"], users), _places(unopened["story_id"], stories)] = True
    asked = wanted & (offered.sum(axis=1)[user] >= FEWEST_SKIPPED)
    if not asked.any():
        offered[:] = True
        offered[user, story] = False
        asked = wanted
    if offered[user[asked]].sum(axis=1).min() < FEWEST_SKIPPED:
        return None
    rng = np.random.default_rng(SEED)
    pools = [rng.choice(np.flatnonzero(offered[who]), NEGATIVES) for who in user[asked]]
    return HiddenReads(users, stories, user[asked], story[asked], np.stack(pools))


def _places(ids: pa.ChunkedArray, among: pa.Array) -> I64:
    """int64[n]: where each id stands; all of them do."""
    return np.asarray(pc.index_in(ids.combine_chunks(), value_set=among), np.int64)


def found(known: DataFrame, hidden: HiddenReads, settings: BatchSettings) -> float:
    """Mean gain of the hidden stories under one fit; somebody without a vector has all of them in the middle."""
    vectors = fitted(enough(known, settings), settings).toArrow()
    users, stories = (
        _matrix(vectors, entity, ids, settings.als_rank)
        for entity, ids in (("user", hidden.users), ("story", hidden.stories))
    )
    mine = users[hidden.user]
    wanted = np.einsum("pf,pf->p", mine, stories[hidden.story])
    others = np.stack([stories[pool] @ one for pool, one in zip(hidden.negatives, mine, strict=True)])
    return float(discount(places_among(wanted, others)).mean())


def _matrix(vectors: pa.Table, entity: str, ids: pa.Array, rank: int) -> F64:
    """float64[len(ids), rank]; zeros for an id without a vector."""
    mine = vectors.filter(pc.equal(vectors["entity"], entity))
    rows = np.asarray(pc.index_in(mine["id"].combine_chunks(), value_set=ids).fill_null(-1), np.int64)
    flat = mine["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, rank)
    out = np.zeros((len(ids), rank))
    out[rows[rows >= 0]] = flat[rows >= 0]
    return out


def places_among(wanted: F64, others: F64) -> I64:
    """How many of the others stand above each: float64[p], float64[p, k] → int64[p]. Of equals half count."""
    above = (others > wanted[:, None]).sum(axis=1) + (others == wanted[:, None]).sum(axis=1) // 2
    return above.astype(np.int64)
