"""Makes a new slate and puts it where its cursors will find it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from features.errors import Unavailable
from features.times import utc_day
from online.components import Components
from online.context import Context, Trace
from online.feed.single_flight import Busy
from online.metrics import Metrics
from online.pipeline import Pipeline
from online.providers.timeline import TimelineStories
from online.rankers.explanation import explained
from online.slates.freshness import ttl_s
from online.slates.pagination_session import encode_session
from online.slates.slate import Slate
from online.slates.slate_making import features_wanted
from online.slates.slate_store import CapReached, SlateEnds, SlateStore
from online.user.store import UserStore


class SlateBuilder:
    """What the six stages of a build read and write beyond the user's state."""

    def __init__(self, store: UserStore, slates: SlateStore, components: Components, metrics: Metrics) -> None:
        self._store = store
        self._slates = slates
        self._components = components
        self._metrics = metrics
        self.pipeline = Pipeline(components, self._write)

    def build(self, asked: Context) -> tuple[Context, Slate]:
        """The slate in force: a new one, made again from what has been placed by then when a promotion's cap was reached
        meanwhile; or one that another had put under its name. With the context that it was made in.

        Busy when the pagination session it continues has gone on from it long ago.
        """
        while True:
            ctx = self._for_build(asked)
            ctx = replace(ctx, wanted=features_wanted(ctx), trace=ctx.trace)
            with suppress(CapReached):
                slate = self.pipeline.build(ctx)
                break
        if why := ctx.trace.due.get(TimelineStories.name):
            self._store.ask_for_timeline(ctx.user_id, why)
        return ctx, slate

    def rehearse(self, asked: Context, watched_row: int | None) -> tuple[Context, Slate]:
        """A slate that is written nowhere and counts for nothing, with the context that it was made in."""
        ctx = self._for_build(asked)
        ctx.trace.watched_row = watched_row
        ctx.trace.explainer = partial(explained, ctx.ranker)
        return ctx, Pipeline(self._components, lambda ctx, slate: None).build(ctx)

    def _for_build(self, asked: Context) -> Context:
        """With what only a build needs, and a trace of its own; what could not be read is reported there."""
        inputs = self._store.read_for_build(asked.user_id, utc_day(asked.now_us))
        ctx = replace(asked, build_inputs=inputs, trace=Trace(asked.trace.timer, strict=asked.settings.strict))
        for part in inputs.degraded:
            ctx.trace.degrade(part, Unavailable("what Redis holds of it is damaged"))
        return ctx

    def _write(self, ctx: Context, slate: Slate) -> Slate:
        settings = ctx.settings
        before = np.empty(0, np.int64) if ctx.pagination_session is None else ctx.pagination_session.consumed
        ends = SlateEnds(
            slate_ttl_s=ttl_s(slate.info.id, settings),
            pagination_session_ttl_s=settings.cache.pagination_session_ttl_s,
            day=utc_day(ctx.now_us),
            surface=ctx.surface if ctx.pagination_session is None else None,
            caps=ctx.story_table.promotions.caps,
        )
        value = slate.encode()
        self._metrics.slate_bytes.observe(len(value))
        kept = self._slates.write(ctx.user_id, slate, value, encode_session(before, slate.stories), ends)
        if kept is None:
            raise Busy
        return kept
