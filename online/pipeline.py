"""A feed in seven stages.

    aggregate    every provider brings rows of the story table              online/providers/         open
    preprocess   rules drop what must not be shown                          online/rules/             closed
    annotate     features, one column each                                  online/annotators/        open
    rank         one score; the best stay                                   online/rankers/           closed
    postprocess  collapse near-duplicates, diversify, cut to the slate      online/postprocessors/    closed
    cache        the slate, immutable, into Redis                           online/slate.py           closed
    validate     on every read: what is not allowed any more drops out,     online/validators/        closed
                 and later entries move up

Open: a component that fails is left out, and the answer says so. Closed: a failure fails the request.

`build` makes a slate with the first six stages, `read` makes a page of one with the seventh; online/service.py looks for
a slate and calls `build` only if there is none. Between the stages flow candidates, as arrays: a row is an index into the
story table of `ctx.world`, the snapshot in memory. Every stage reports what went in, what came out, and what was dropped for
which reason; `watch` notes what becomes of the one story that `explain` was asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from online.columns import Candidates
from online.components import Components
from online.context import Context
from online.selection import best, finite, union
from online.slate import Slate, SlateInfo, identify

WriteSlate = Callable[[Context, Slate], None]
"""Puts a slate where the next page will find it."""
SPARE = 2
"""Ranked entries kept per entry of the slate, so that collapsed near-duplicates can be replaced."""


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a slate that one request answers with."""

    entries: Candidates
    """With columns `score` and `index` (index in the slate)."""
    next_index: int | None
    """Where in the slate the next page starts; None: the slate is used up."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The seven stages, made of `components`."""

    components: Components
    write_slate: WriteSlate

    def build(self, ctx: Context) -> Slate:
        """A slate for the context's person: the cache-miss path."""
        candidates = self.aggregate(ctx)
        found = len(candidates)
        candidates = self.preprocess(ctx, candidates)
        candidates = self.annotate(ctx, candidates)
        candidates = self.rank(ctx, candidates)
        candidates = self.postprocess(ctx, candidates)
        return self.cache(ctx, candidates, found)

    def read(self, ctx: Context, slate: Slate, start: int, limit: int) -> Page:
        """At most `limit` entries from index `start` on that are suitable now."""
        return self.validate(ctx, slate, start, limit)

    def aggregate(self, ctx: Context) -> Candidates:
        """The union of what the providers bring, each story once, with a bit for every provider that brought it."""
        with ctx.trace.stage("aggregate", 0) as report:
            bits = np.zeros(len(ctx.world), np.uint32)
            for provider in self.components.providers:
                try:
                    rows = provider.rows(ctx)
                    bits[rows] |= np.uint32(1 << self.components.bits[provider.name])
                    report.parts[provider.name] = len(range(len(bits))[rows]) if isinstance(rows, slice) else len(rows)
                except Exception as error:  # noqa: BLE001 - enrichment fails open, and says so
                    ctx.trace.degrade(provider.name, error)
            candidates = union(bits)
            report.given = len(candidates)
        ctx.trace.watch("aggregate", candidates)
        return candidates

    def preprocess(self, ctx: Context, candidates: Candidates) -> Candidates:
        """Drops what a rule forbids; the first rule that does is the reason."""
        with ctx.trace.stage("preprocess", len(candidates)) as report:
            reason = np.zeros(len(candidates), np.uint8)
            for number, rule in enumerate(self.components.rules, start=1):
                drops = rule.drops(ctx, candidates)
                if drops is not None:
                    reason[drops & (reason == 0)] = number
            counts = np.bincount(reason, minlength=len(self.components.rules) + 1)
            report.dropped = {rule.name: int(n) for rule, n in zip(self.components.rules, counts[1:], strict=True) if n}
            ctx.trace.watch_drop(candidates, reason, [rule.name for rule in self.components.rules])
            kept = candidates.take(np.flatnonzero(reason == 0)) if counts[1:].any() else candidates
            report.given = len(kept)
        return kept

    def annotate(self, ctx: Context, candidates: Candidates) -> Candidates:
        """Feature columns by registry name; a failing annotator leaves its features at their defaults."""
        with ctx.trace.stage("annotate", len(candidates)) as report:
            for annotator in self.components.annotators:
                try:
                    columns = annotator.columns(ctx, candidates)
                    candidates.check(columns)
                except Exception as error:  # noqa: BLE001 - enrichment fails open, and says so
                    ctx.trace.degrade(annotator.name, error)
                    columns = candidates.defaults(annotator.features)
                candidates.columns.update(columns)
            report.given = len(candidates)
        ctx.trace.watch("annotate", candidates)
        return candidates

    def rank(self, ctx: Context, candidates: Candidates) -> Candidates:
        """Scores every candidate and keeps the best, in order: by score, then newest first (the table is in that order)."""
        with ctx.trace.stage("rank", len(candidates)) as report:
            score = finite(self.components.ranker.score(candidates.columns, len(candidates), ctx.trace.degrade))
            ctx.trace.watch_rank(candidates, score, self.components.ranker.contributions)
            candidates.columns["score"] = score
            ranked = candidates.take(best(score, candidates.rows, SPARE * ctx.settings.slate_size))
            report.given = len(ranked)
            report.dropped = {"outranked": len(candidates) - len(ranked)} if len(ranked) < len(candidates) else {}
        ctx.trace.watch("rank", ranked)
        return ranked

    def postprocess(self, ctx: Context, ranked: Candidates) -> Candidates:
        """What is good for the list as a whole, not for one story."""
        with ctx.trace.stage("postprocess", len(ranked)) as report:
            for postprocessor in self.components.postprocessors:
                before = len(ranked)
                ranked = postprocessor.apply(ctx, ranked)
                if len(ranked) < before:
                    report.dropped[postprocessor.name] = before - len(ranked)
                ctx.trace.watch(postprocessor.name, ranked)
            if len(ranked) > ctx.settings.slate_size:
                report.dropped["beyond_slate"] = len(ranked) - ctx.settings.slate_size
                ranked = ranked.take(np.arange(ctx.settings.slate_size))
            report.given = len(ranked)
        return ranked

    def cache(self, ctx: Context, ranked: Candidates, found: int) -> Slate:
        """The slate, named after what it depends on (`ctx.pinned`, now, who asks), put where its cursors will find it."""
        with ctx.trace.stage("cache", len(ranked)) as report:
            info = SlateInfo(
                id=identify(ctx.user_id, ctx.surface, ctx.now_us, ctx.pinned, self.components.ranker.name),
                built_at_us=ctx.now_us,
                snapshot=ctx.world.version,
                standing=ctx.person.state.standing.hex(),
                model=self.components.ranker.name,
                variant=ctx.settings.variant,
                candidates=found,
                sources=tuple(self.components.bits),
                degraded=tuple(ctx.trace.degraded),
                watermark_us=0,
                watermark_id="",
                timeline_seq=0,
            )
            slate = Slate(info, ctx.world.hashes[ranked.rows], ranked.columns["score"], ranked.sources)
            self.write_slate(ctx, slate)
            report.given = len(slate)
        return slate

    def validate(self, ctx: Context, slate: Slate, start: int, limit: int) -> Page:
        """The first `limit` entries from `start` on that are still allowed, with the sources that still hold."""
        with ctx.trace.stage("validate", len(slate) - start) as report:
            rows = ctx.world.by_hash.find(slate.stories[start:])
            index = np.arange(start, len(slate), dtype=np.int32)
            columns = {"score": slate.scores[start:], "index": index}
            entries = Candidates(rows, slate.sources[start:], columns)
            entries = entries.keep(rows >= 0, "not_in_snapshot", report.dropped)
            for validator in self.components.validators:
                sources = validator.sources(ctx, entries)
                if sources is not None:
                    entries = Candidates(entries.rows, sources, entries.columns)
                    entries = entries.keep(sources != 0, validator.name, report.dropped)
            report.given = len(entries)
        page = entries.take(np.arange(min(limit, len(entries))))
        return Page(page, int(entries.columns["index"][limit]) if len(entries) > limit else None)
