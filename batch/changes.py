"""Which changes of one thing take effect, in the order of their arrival: the rule of features/choices.py, with windows."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from features.choices import applies_on_arrival

APPLIES = "_applies"
"""Column: the change took effect when it arrived."""


def with_applies(
    rows: DataFrame, by: tuple[Column | str, ...], order: tuple[Column | str, ...], changed_at: str, at_once: Column
) -> DataFrame:
    """`rows` with APPLIES. `by` names one thing, `order` is that of arrival; all are without nulls.

    A change that applies at once begins an era. Within one a change applies unless one before it occurred later; that
    it did not apply itself makes no difference, for then another is later still.
    """
    arrivals = Window.partitionBy(*by).orderBy(*order).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    era = F.sum(F.when(at_once, 1).otherwise(0)).over(arrivals)
    within = Window.partitionBy(*by, "_era").orderBy(*order).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    return (
        rows.withColumn("_era", era)
        .withColumn(APPLIES, F.col(changed_at) >= F.max(changed_at).over(within))
        .drop("_era")
    )


def until_next_change(
    rows: DataFrame,
    by: tuple[str, ...],
    changed_at: str,
    *more: Column | str,
    at_once: Column | None = None,
) -> DataFrame:
    """Judged rows: a good one is in force until the next one that applies arrives; one that does not apply never is.

    `more` orders what arrived and occurred at one moment.
    """
    this: tuple[Column | str, ...] = (*by, F.col("reason").isNull())
    order: tuple[Column | str, ...] = ("valid_from", changed_at, *more)
    marked = with_applies(rows, this, order, changed_at, F.lit(False) if at_once is None else at_once)
    following = F.lead("valid_from").over(Window.partitionBy(*this, APPLIES).orderBy(*order))
    ends = F.when(F.col(APPLIES), following).otherwise(F.col("valid_from"))
    judged = F.when(F.col("reason").isNull(), F.least("valid_until", ends)).otherwise(F.col("valid_until"))
    return marked.withColumn("valid_until", judged).drop(APPLIES)


def of_types(types: Mapping[str, tuple[str, str]], part: int) -> Column:
    """Kind (0) or operation (1) of an event by its type; null for others."""
    return functools.reduce(
        lambda found, one: F.when(F.col("type") == one[0], one[1][part]).otherwise(found),
        types.items(),
        F.lit(None).cast("string"),
    )


def at_once(kinds: tuple[str, ...]) -> Column:
    """Whether the row, of one of these kinds, applies on arrival."""
    refusing = [kind for kind in kinds if applies_on_arrival(kind, "add")]
    return (F.col("op") == "add") & F.col("kind").isin(*refusing)


def shows_less() -> Column:
    """True for the end of a follow and the beginning of a refusal. Of two changes without an order that one comes last:
    nobody is shown what they may have just refused."""
    return F.col("op") == F.when(F.col("kind") == "follow", "remove").otherwise("add")
