"""What models learn from: everything that was shown, what came of it, and the features as a server had them just before.

Five steps. What was shown, with its outcomes (`shown`, or `negatives` in a lake without impressions). Of which moment of
the grid the features are, and up to when news counts (`horizon`). No more of it than is wanted (`thinning`). What a server knew then of the stories and of the people
(`stories_then`, `people_then`). The features of both together, by the formulas that serve online (`compute`).
"""

from __future__ import annotations

import functools

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.io import spark_schema
from batch.point_in_time import Context, ever_in_force, micros
from batch.training.compute import example_maker
from batch.training.horizon import with_horizon
from batch.training.negatives import sampled
from batch.training.people_then import PERSON, people_then
from batch.training.shown import impressions, knowing_impressions, with_outcomes
from batch.training.stories_then import STATE, stories_then, with_state
from batch.training.thinning import thinned
from features.derived_datasets import TRAINING_EXAMPLES
from features.registry import FEATURES

PASSED = tuple(name for name in TRAINING_EXAMPLES.names if name not in {feature.name for feature in FEATURES})
"""Columns that the computation of features passes on."""


def training_examples(
    valid_events: DataFrame,
    valid_stories: DataFrame,
    valid_edges: DataFrame,
    *,
    context: Context,
    **features: DataFrame,
) -> DataFrame:
    """One row per as_of and impression whose outcomes are known by then; `features`: datasets of the grid, by name."""
    stories_put = ever_in_force(valid_stories)  # of a story and a moment at most one begins then
    shown = with_outcomes(shown_by(valid_events, stories_put, context), valid_events, context)
    dated = with_state(thinned(with_horizon(shown, context).persist(), context), stories_put).persist()
    stories = stories_then(dated, stories_put, features)
    people = people_then(dated, valid_events, stories_put, valid_edges, features)
    rows = in_one_row_a_person(dated.join(stories, [*STATE], "inner")).join(people, [*PERSON], "left")
    return rows.mapInArrow(example_maker(PASSED), spark_schema(TRAINING_EXAMPLES))


def shown_by(events: DataFrame, stories: DataFrame, context: Context) -> DataFrame:
    """Impressions; for as_ofs at which the lake had none at all, reads and sampled negatives."""
    having = {seconds for (seconds,) in knowing_impressions(events, context).collect()}
    without = tuple(as_of for as_of in context.as_ofs if int(as_of.timestamp()) not in having)
    parts = [impressions(events, context), *([sampled(events, stories, context.at(without))] if without else [])]
    return functools.reduce(DataFrame.unionByName, parts)


def in_one_row_a_person(examples: DataFrame) -> DataFrame:
    """as_of and PERSON, and `shown`: a list of structs of everything else."""
    weight = {"weight": F.col("weight").cast("float")}
    in_micros = {f"{name}_us": micros(F.col(f"{name}_at")) for name in ("shown", "published")}
    timed = examples.withColumns(
        {**weight, **in_micros, "before_us": F.unix_micros("before"), "story": F.xxhash64("story_id")}
    )
    kept = [
        name for name in timed.columns if name not in {"before", *STATE[2:], "deleted_at", "visibility", "published_at"}
    ]
    return timed.groupBy("as_of", *PERSON).agg(F.collect_list(F.struct(*kept)).alias("shown"))
