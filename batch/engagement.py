"""What each thing a user does says about liking, in reads: a whole read is 1."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

STRENGTHS = {
    "open": 0.3,  # a title that tempted; about a third of opens become reads
    "read": 1.0,  # the unit
    "clap": 1.0,  # as good as a second read; counted once however long the button is held
    "save": 1.5,  # means to come back, or to keep
    "share": 2.0,  # puts one's own name to it
    "hide": -2.0,  # asked to see less: outweighs a read and a clap
    "report": -4.0,  # offended: outweighs anything done in passing
}
"""An impression says nothing by itself; affinities weigh it against what impressions yield on average."""

LIKING = tuple(kind for kind, strength in STRENGTHS.items() if strength > 0)
"""Events that say a story was liked at least a little; each implies that it was opened."""


def strength() -> Column:
    """Strength of an event by its `type`; 0 for an impression."""
    chain = F.lit(0.0)
    for kind, value in STRENGTHS.items():
        chain = F.when(F.col("type") == kind, F.lit(value)).otherwise(chain)
    return chain
