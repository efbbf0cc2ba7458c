"""Where the work on a page is done: in threads beside an event loop, or here and now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Protocol, TypeVar

import redis
from anyio import CapacityLimiter, sleep, to_thread

from rex.local.redis import Command, LoopReader, round_trip

log = logging.getLogger("rex.online")
Out = TypeVar("Out")


class Workers(Protocol):
    """What `FeedService.page` waits for."""

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """What Redis answers to commands that only read, see `round_trip`."""
        ...

    async def work(self, call: Callable[..., Out], *arguments: Any) -> Out:
        """The result of a call that takes a moment. What `call` raises is raised here."""
        ...

    async def rank(self, call: Callable[..., Out], *arguments: Any) -> Out:
        """The result of a call that takes as long as a ranking. What `call` raises is raised here."""
        ...

    async def pause(self, seconds: float) -> None:
        """Until another may have finished."""
        ...

    async def later(self, what: Hashable, call: Callable[..., None], *arguments: Any) -> None:
        """A ranking that nobody waits for; `what` names it. What `call` raises is logged by `Threads`, which run it after
        this has returned, and raised by `Here`, which runs it at once."""
        ...


class Threads:
    """For an event loop: nobody who waits holds a thread, and rankings have places of their own, so that they never keep
    cached pages from theirs. Made while the loop runs."""

    def __init__(self, client: redis.Redis, rankings_at_once: int) -> None:
        self._reader = LoopReader(client)
        self.ask = self._reader.round_trip
        self.close = self._reader.close
        self._places = CapacityLimiter(rankings_at_once)
        self.under_way: dict[Hashable, asyncio.Task[None]] = {}
        """What was put off: the event loop itself keeps no hold of its tasks."""

    async def work(self, call: Callable[..., Out], *arguments: Any) -> Out:
        """In a thread for a moment."""
        return await to_thread.run_sync(call, *arguments)

    async def rank(self, call: Callable[..., Out], *arguments: Any) -> Out:
        """In a thread, once there is a place."""
        return await to_thread.run_sync(call, *arguments, limiter=self._places)

    async def pause(self, seconds: float) -> None:
        """Without a thread."""
        await sleep(seconds)

    async def later(self, what: Hashable, call: Callable[..., None], *arguments: Any) -> None:
        """Once there is a place, unless it is under way or waits for one already: the requests of one user must not queue
        up before those who have nothing to look at. What `call` raises is logged; nobody is there to hear of it."""
        if what in self.under_way:
            return

        async def run() -> None:
            try:
                await self.rank(call, *arguments)
            except Exception:
                log.exception("what was put off for %s has failed; the next request tries again", what)

        task = self.under_way[what] = asyncio.create_task(run())
        task.add_done_callback(lambda done: self.under_way.pop(what))


class Here:
    """For callers without an event loop: one thing after the other, in their thread."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """At once."""
        return round_trip(self._client, commands)

    async def work(self, call: Callable[..., Out], *arguments: Any) -> Out:
        """At once."""
        return call(*arguments)

    rank = work

    async def pause(self, seconds: float) -> None:
        """Holds the thread."""
        time.sleep(seconds)

    async def later(self, what: Hashable, call: Callable[..., None], *arguments: Any) -> None:
        """At once, so that the caller gets what `call` raises."""
        call(*arguments)


def finished(work: Coroutine[Any, Any, Out]) -> Out:
    """The outcome of a coroutine that is done by `Here`, and so never waits for an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        outcome: Out = done.value
        return outcome
    raise RuntimeError(f"{work} waits for an event loop")
