"""A feed in seven stages.

    aggregate    every provider brings rows of the story table              online/providers/         open
    preprocess   rules drop what must not be shown                          online/rules/             closed
    annotate     features, one column each                                  online/annotators/        open
    rank         one score; the best stay, and what a selector keeps        online/rankers/           closed
    postprocess  what is good for the list as a whole; cut to the slate     online/postprocessors/    closed
    cache        the slate, immutable, into Redis                           online/slates/            closed
    validate     on every read: what is not allowed any more drops out,     online/validators/        closed
                 and later entries move up

Open: a component that fails is left out, and the answer says so. Closed: a failure fails the request.

`build` makes a slate with the first six stages, `read` makes a page of one with the seventh; online/feed/service.py looks for
a slate, and online/feed/building.py calls `build` only if there is none. Between the stages flow candidates, as arrays: a
row is an index into the story table of `ctx.story_table`, the snapshot in memory with what was published since. Every stage
reports what went in, what came out, and what was dropped for which reason; `watch` notes what becomes of the one story
that `explain` was asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from online.columns import Candidates, Rows
from online.components import Components
from online.context import Context
from online.protocols import Found, Provider
from online.selection import best, checked, counted, finite, united
from online.slates.slate import Slate
from online.slates.slate_making import slate_of
from online.validators.page import Page, suitable

WriteSlate = Callable[[Context, Slate], Slate | None]
"""Puts a slate where the next page will find it; returns the one in force if another was first, None: this one."""
SPARE = 2
"""Ranked entries kept per entry of the slate, so that collapsed near-duplicates can be replaced."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The seven stages, made of `components`."""

    components: Components
    write_slate: WriteSlate

    def build(self, ctx: Context) -> Slate:
        """A slate for the context's user: the cache-miss path."""
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
            brought: list[tuple[Rows | slice, np.uint32]] = []
            for provider, found, n in self._brought(ctx, self.components.providers):
                if found.due:
                    ctx.trace.due[provider] = found.due
                report.parts[provider] = n
                brought.append((found.rows, np.uint32(1 << self.components.bits[provider])))
            candidates = united(brought, len(ctx.story_table), ctx.story_table.superseded)
            report.given = len(candidates)
        ctx.trace.watch("aggregate", candidates)
        return candidates

    def preprocess(self, ctx: Context, candidates: Candidates) -> Candidates:
        """Drops what a rule forbids; the first rule that does is the reason."""
        with ctx.trace.stage("preprocess", len(candidates)) as report:
            reason = self._forbidden(ctx, candidates)
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
        """Scores every candidate; keeps the best, in order (by score, then newest first), and what a selector wants beside them."""
        with ctx.trace.stage("rank", len(candidates)) as report:
            score = finite(ctx.ranker.score(candidates.columns, len(candidates), ctx.trace.degrade))
            ctx.trace.watch_rank(candidates, score, ctx.ranker.contributions)
            candidates.columns["score"] = score
            kept = best(score, candidates.rows, SPARE * ctx.settings.cache.slate_size, ctx.story_table.published_at)
            for selector in self.components.selectors:
                kept = np.concatenate((kept, selector.also(ctx, candidates, kept)))
            ranked = candidates.take(kept)
            report.given = len(ranked)
            report.dropped = {"outranked": len(candidates) - len(ranked)} if len(ranked) < len(candidates) else {}
        ctx.trace.watch("rank", ranked)
        return ranked

    def postprocess(self, ctx: Context, ranked: Candidates) -> Candidates:
        """What is good for the list as a whole, not for one story."""
        with ctx.trace.stage("postprocess", len(ranked)) as report:
            known = np.sort(ranked.rows)  # each once
            for postprocessor in self.components.postprocessors:
                before, ranked = ranked, postprocessor.apply(ctx, ranked)
                if lost := sorted(before.columns.keys() - ranked.columns.keys()):
                    raise ValueError(f"{postprocessor.name} lost the columns {', '.join(lost)}; use Candidates.take")
                rows = np.sort(ranked.rows)
                if not np.array_equal(rows, known if len(rows) == len(known) else np.intersect1d(known, rows)):
                    raise ValueError(
                        f"{postprocessor.name} repeated candidates, or added some; it may reorder and drop them"
                    )
                known = rows
                if len(ranked) < len(before):
                    report.dropped[postprocessor.name] = len(before) - len(ranked)
                ctx.trace.watch(postprocessor.name, ranked)
            if len(ranked) > ctx.settings.cache.slate_size:
                report.dropped["beyond_slate"] = len(ranked) - ctx.settings.cache.slate_size
                ranked = ranked.take(np.arange(ctx.settings.cache.slate_size))
            report.given, report.parts = len(ranked), dict(ctx.trace.displacements)
        return ranked

    def cache(self, ctx: Context, ranked: Candidates, found: int) -> Slate:
        """The slate, put where its cursors will find it; or the equal one that another process has put there first."""
        with ctx.trace.stage("cache", len(ranked)) as report:
            slate = slate_of(ctx, ranked, found)
            slate = self.write_slate(ctx, slate) or slate
            report.given = len(slate)
        return slate

    def validate(self, ctx: Context, slate: Slate, start: int, limit: int) -> Page:
        """The first `limit` entries from `start` on that are still allowed, with the sources that still hold."""
        with ctx.trace.stage("validate", 0) as report:
            page = suitable(ctx, self.components.validators, slate, start, limit)
            report.taken, report.given, report.dropped = page.looked_at, len(page.entries), page.dropped
        return page

    def eligible(self, ctx: Context, rows: Rows) -> int:
        """How many of the rows a provider would bring now and no rule forbids: so many could the next slate hold."""
        candidates = Candidates(rows, np.ones(len(rows), np.uint32))
        allowed = rows[self._forbidden(ctx, candidates) == 0]
        brought = np.zeros(len(allowed), bool)
        broadest_first = reversed(self.components.providers)  # which mostly settles it
        for _, found, _ in self._brought(ctx, broadest_first if len(allowed) else ()):
            some = found.rows
            if isinstance(some, slice):
                brought |= (allowed >= some.start) & (allowed < some.stop)
            else:
                brought |= np.isin(allowed, some)
            if brought.all():
                break
        return int(np.count_nonzero(brought))

    def _brought(self, ctx: Context, providers: Iterable[Provider]) -> Iterator[tuple[str, Found, int]]:
        """Name, what it brings and how much, of each provider that fills the context's surface. One that fails is left out."""
        chosen = ctx.settings.aggregate.surfaces.get(ctx.surface, tuple(self.components.bits))
        for provider in providers:
            if provider.name not in chosen:
                continue
            try:
                rows = provider.rows(ctx)
                found = rows if isinstance(rows, Found) else Found(rows)
                n = counted(found.rows, len(ctx.story_table))
            except Exception as error:  # noqa: BLE001 - enrichment fails open, and says so
                ctx.trace.degrade(provider.name, error)
            else:
                yield provider.name, found, n

    def _forbidden(self, ctx: Context, candidates: Candidates) -> NDArray[np.uint8]:
        """uint8[n]: 1 + the number of the first rule that drops each candidate; 0: none does."""
        reason = np.zeros(len(candidates), np.uint8)
        for number, rule in enumerate(self.components.rules, start=1):
            drops = rule.drops(ctx, candidates)
            if drops is not None:
                checked(rule.name, drops, np.bool_, len(candidates))
                reason[drops & (reason == 0)] = number
        return reason
