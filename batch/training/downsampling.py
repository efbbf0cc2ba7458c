"""No more examples than a model needs: a part of the requests, each of them whole, so that rankings can still be compared."""

from __future__ import annotations

import functools
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import Context, moment

PARTS = 1 << 20
"""Requests are dealt into so many parts; a share is that many of them."""


def downsampled(shown: DataFrame, context: Context) -> DataFrame:
    """Adds `sampled`, the share of requests taken, and leaves out the others, where an as_of has more than `training_rows`.

    Which are taken follows from their names, so the same lake gives the same examples. What has no request goes by
    user and UTC day.
    """
    counts = {
        row["as_of_us"]: row["count"]
        for row in shown.groupBy(F.unix_micros("as_of").alias("as_of_us")).count().collect()
    }
    rows = context.settings.training_rows
    shares = {as_of: min(1.0, rows / max(counts.get(_micros(as_of), 0), 1)) for as_of in context.as_ofs}
    sampled = functools.reduce(
        lambda other, item: F.when(F.col("as_of") == moment(item[0]), F.lit(item[1])).otherwise(other),
        shares.items(),
        F.lit(1.0),
    )
    request = F.coalesce("request_id", F.to_date("shown_at").cast("string"))
    part = F.pmod(F.xxhash64("user_id", request), F.lit(PARTS))
    return shown.withColumn("sampled", sampled).where(part < F.col("sampled") * F.lit(PARTS))


def _micros(as_of: datetime) -> int:
    return int(as_of.timestamp()) * 1_000_000
