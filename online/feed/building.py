"""Makes a new slate and puts it where its cursors will find it. One builder per user and surface at a time, across processes: the
others wait for its slate."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import numpy as np
import redis

from features.errors import Unavailable
from features.keys import Keys
from features.lua import script
from features.times import utc_day
from online.components import Components
from online.context import Context, Trace
from online.feed.preparing import Prepared
from online.metrics import Metrics
from online.pipeline import Pipeline
from online.providers.timeline import TimelineStories
from online.rankers.explanation import explained
from online.service_settings import OnlineSettings
from online.slates.freshness import ttl_s
from online.slates.pagination_session import encode_session
from online.slates.slate import Slate
from online.slates.slate_making import features_wanted
from online.slates.slate_store import CapReached, SlateEnds, SlateStore
from online.user.store import UserStore
from online.validators.page import all_suitable
from rex.local.faults import first_line

POLL_S = 0.01
"""How often one who waits looks again: a fraction of what a ranking takes, and a tenth of a millisecond's work."""

_RELEASE = script(__package__, "release")


class Busy(Exception):
    """Another builds for this user and surface, or has done so meanwhile: wait, and look for its slate again."""


class SlateBuilder:
    """What the six stages of a build read and write beyond the user's state."""

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        store: UserStore,
        slates: SlateStore,
        components: Components,
        settings: OnlineSettings,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._keys = keys
        self._store = store
        self._slates = slates
        self._components = components
        self._metrics = metrics
        self.pipeline = Pipeline(components, self._write)
        self._lease_ms = round(settings.cache.build_lease_s * 1000)
        self.polls = math.ceil(settings.cache.build_wait_s / POLL_S)
        """How many times one looks again before building without the lock."""

    def build_alone(self, prepared: Prepared) -> tuple[Context, Slate]:
        """`build`, under the lock that lets one process at a time build for this user and surface; a lock held for longer
        than `build_lease_s` expires. Busy as well when another holds it, or the surface has a newer slate by now; Unavailable
        when Redis cannot be written."""
        ctx = prepared.ctx
        with self._lock(ctx.user_id, ctx.surface, prepared.newest):
            return self.build(ctx)

    def build(self, asked: Context) -> tuple[Context, Slate]:
        """The slate in force: a new one, made again from what has been placed by then when a promotion's cap was reached
        meanwhile; or one that another had put under its name. With the context that it was made in.

        Busy when the pagination session it continues has gone on from it long ago. Unavailable when Redis cannot be read or
        written, or when the settings are strict and something that a feed could go without has failed.
        """
        while True:
            ctx = self._for_build(asked)
            ctx = replace(ctx, wanted=features_wanted(ctx), trace=ctx.trace)
            with suppress(CapReached):
                slate = self.pipeline.build(ctx)
                break
        # The timeline is the only thing a provider reads that is made outside a build; `due` of another
        # provider stands in the trace and nothing acts on it.
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
        judged = all_suitable(replace(ctx, pagination_session=None), self._components.validators, slate)
        slate = replace(slate, info=replace(slate.info, suitable_for=judged[0], suitable_until_us=judged[1]))
        value = slate.encode()
        self._metrics.slate_bytes.observe(len(value))
        kept = self._slates.write(ctx.user_id, slate, value, encode_session(before, slate.stories), ends)
        if kept is None:
            raise Busy
        return kept

    @contextmanager
    def _lock(self, user_id: str, surface: str, newest: str | None) -> Iterator[None]:
        """Holds the lock while the block runs. Busy when another holds it, or when the surface's newest slate is not
        `newest` any more (None: does not matter)."""
        lock, token = self._keys.building(user_id, surface), secrets.token_hex(8)
        try:
            pipe = self._client.pipeline(transaction=False)
            pipe.set(lock, token, nx=True, px=self._lease_ms)
            pipe.hget(self._keys.latest_slates(user_id), surface)
            taken, latest = pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be written, so no feed can be made: {first_line(error)}") from error
        if not taken:
            raise Busy
        try:
            if newest is not None and latest is not None and latest.decode() != newest:
                raise Busy
            yield
        finally:
            self._client.eval(_RELEASE, 1, lock, token)
