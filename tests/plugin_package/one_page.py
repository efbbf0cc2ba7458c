"""Makes one page with whatever is plugged in, and prints what became of it: run in an environment with the package beside this."""

from __future__ import annotations

import json

import numpy as np

from online.components import default_components
from online.feed.presenting import items
from online.pipeline import Pipeline
from online.service_settings import OnlineSettings
from online.slates.slate import ORGANIC
from online.validators.page import until_us
from tests.online.small_world import context, story_table

OLD_H = 24 * 30.0
"""Too old to come as fresh."""
STORIES = [
    *({"id": f"s{i:02}", "author": f"a{i}", "age_h": 1.0 + i, "story_popularity": float(i)} for i in range(20)),
    {"id": "s-topic", "author": "a-topic", "topics": ["t-one"], "age_h": OLD_H, "story_popularity": 9.0},
    {"id": "s-egg", "author": "breakfast", "story_popularity": 9.0},
    {"id": "s-once", "author": "retired", "story_popularity": 9.0},
    {"id": "s-ad", "author": "a-ad", "age_h": OLD_H},
]
SETTINGS = OnlineSettings(postprocess={"promoted_slots": (2,), "explore_share": 0.0, "new_author_share": 0.0})

made_by = Pipeline(default_components(), lambda ctx, slate: None)
table = story_table(STORIES, promotions=[{"id": "p", "story": "s-ad", "ends_in_h": 30.0}])
ctx = context(table, settings=SETTINGS, ranker=made_by.components.ranker)
ctx.trace.watched_row = table.row("s00")
slate = made_by.build(ctx)
page = made_by.read(ctx, slate, 0, 100)
told = {item["story_id"]: item for item in items(ctx, page.entries, 0)}
answer = {
    "model": slate.info.model,
    "dropped": {stage.stage: stage.dropped for stage in ctx.trace.stages},
    "reason": told.get("s-topic", {}).get("reason"),
    "recency": ctx.trace.watched["features"]["recency"],
    "order": [int(row) % 2 for row, item in zip(page.entries.rows, told.values(), strict=True) if not item["promoted"]],
    "slots": np.flatnonzero(slate.promotions != ORGANIC).tolist(),
    "until_h": (until_us(ctx, made_by.components.validators, page.entries) - ctx.now_us) / 3.6e9,
}
print(json.dumps(answer))
