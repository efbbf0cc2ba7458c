"""Push only, pull only and hybrid bring the same candidates, whatever happens in whatever order, and however often.

Each example plays the same history on one site per mode, and compares every user's candidates with a brute-force answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.times import micros
from online.story_table.story_change import decode_change
from online.timelines.timeline import Timeline
from rex.local.redis_server import server
from tests.online.timeline_site import Site, Version, site

CAP = 5
"""A timeline's length here, so that trimming happens in most histories."""
USERS = ("u-ann", "u-bob", "u-cay", "u-dan")
AUTHORS = ("a0", "a1", "a2")
PUBLICATIONS = ("p0", "p1")
STEPS = int(os.environ.get("REX_TEST_STEPS", "1000"))
"""As for tests/online/test_delivery_under_change.py: a thousand in `make test`, ten thousand in the nightly profile."""
EXAMPLES = max(STEPS // 50, 1)
THRESHOLDS = {"pull only": 0, "hybrid": 1, "hybrid, two": 2, "push only": 1_000_000}

users, authors = st.sampled_from(USERS), st.sampled_from(AUTHORS)
publications = st.sampled_from((None, None, *PUBLICATIONS))
names = st.integers(0, 9).map("s{}".format)
minutes = st.sampled_from((-3, 0, 0, 1, 1, 2, 5))
"""Before now; few values, so that dates are often equal, and some lie ahead."""
targets = st.one_of(
    st.tuples(st.just("author"), authors), st.tuples(st.just("publication"), st.sampled_from(PUBLICATIONS))
)
visibilities = st.sampled_from(("public", "public", "public", "followers", "unlisted"))
steps = st.one_of(
    st.tuples(st.just("put"), names, authors, publications, minutes, visibilities),
    st.tuples(st.just("put"), names, authors, publications, minutes, visibilities),
    st.tuples(st.just("withdraw"), names),
    st.tuples(st.just("edge"), users, st.sampled_from(("follow", "follow", "unfollow")), targets),
    st.tuples(st.just("edge"), users, st.sampled_from(("mute", "unmute", "block", "unblock")), targets),
    st.tuples(st.just("again"), st.integers(0, 100)),
    st.tuples(st.just("leave"), users),
    st.tuples(st.just("read"), users),
    st.tuples(st.just("wait"), st.integers(1, 3)),
    st.tuples(st.just("drain")),
    st.tuples(st.just("snapshot")),
)
histories = st.lists(steps, min_size=5, max_size=40)
settings_of_histories = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A server of its own: nothing else may write into it while a history is played."""
    with server(tmp_path_factory.mktemp("redis")) as running, running.client() as made:
        yield made


def opened(client: redis.Redis, var: Path, threshold: int, **more: Any) -> Site:
    """A site with everybody back, following two authors, and some stories in its snapshot."""
    made = site(client, var, length=CAP, push_threshold=threshold, **more)
    for i in range(3):
        made.stories[f"s{i}"] = Version(AUTHORS[i], PUBLICATIONS[i % 2], made.now - timedelta(minutes=i))
    made.open()
    for user in USERS[:3]:
        made.follow(user, "a0", "a1")
        made.come_back(user)
    return made


def play(made: Site, history: list[tuple[Any, ...]]) -> None:
    """One step after the other; `drain` lets the worker run in between."""
    for what, *of in history:
        if what == "put":
            name, author, publication, ago, visibility = of
            made.put(name, Version(author, publication, made.now - timedelta(minutes=ago), visibility))
        elif what == "withdraw":
            if of[0] in made.stories:
                made.withdraw(of[0])
        elif what == "edge":
            user, kind, (target_type, target) = of
            made.edge(user, kind, target_type, target)
        elif what == "again":
            deliver_again(made, of[0])
        elif what == "leave":
            made.leave(of[0])
        elif what == "read":
            ask(made, of[0])
        elif what == "wait":
            made.pass_time(minutes=of[0])
        elif what == "snapshot":
            made.open()
        else:
            made.drain()


def deliver_again(made: Site, pick: int) -> None:
    """Redelivers an entry of the story stream that was fanned out before."""
    made.drain()
    entries = made.client.xrange(made.keys.story_stream())
    if entries:
        entry_id, fields = entries[pick % len(entries)]
        made.worker._distributor.distribute(decode_change(fields), entry_id.decode(), micros(made.now))


def ask(made: Site, user: str) -> None:
    """A read, with what it asks for."""
    ctx = made.context(user)
    made.rows(ctx)
    if why := made.due(ctx):
        made.store.ask_for_timeline(user, why)


def wrong(made: Site) -> dict[str, Any]:
    """What is not as it should be once the queue is drained; empty: nothing."""
    made.drain()
    found: dict[str, Any] = {}
    for user in USERS:
        expected = made.expected(user)
        timeline, listed = made.timeline(user), made.listed(user)
        in_line = timeline is not None and timeline.snapshot == made.rex.live.get().version
        if in_line and not made.client.exists(made.keys.pulled()) and listed != expected:
            found[f"list of {user}"] = (listed, expected)  # before a read could have it repaired
        if in_line and not _sound(timeline):  # one of another snapshot is not looked at but made anew
            found[f"entries of {user}"] = timeline
        if (provided := made.provided(user)) != expected:
            found[f"candidates of {user}"] = (provided, expected)
    return found


def _sound(timeline: Timeline | None) -> bool:
    """Each story once, each sequence number once and none beyond the last."""
    if timeline is None:
        return True
    entries = timeline.entries
    return (
        len(set(entries["story"].tolist())) == len(entries) == len(set(entries["seq"].tolist()))
        and max(entries["seq"].tolist(), default=0) <= timeline.seq
    )


class TestEquivalence:
    @given(histories)
    @settings_of_histories
    def test_every_mode_brings_the_brute_force_answer(
        self, client: redis.Redis, tmp_path: Path, history: list[tuple[Any, ...]]
    ) -> None:
        for mode, threshold in THRESHOLDS.items():
            made = opened(client, tmp_path, threshold)
            play(made, history)
            assert not (bad := wrong(made)), f"{mode}: {bad}"

    @given(histories, st.sampled_from(sorted(THRESHOLDS.values())))
    @settings_of_histories
    def test_a_threshold_that_is_changed_in_between_changes_nothing(
        self, client: redis.Redis, tmp_path: Path, history: list[tuple[Any, ...]], after: int
    ) -> None:
        made = opened(client, tmp_path, 2)
        half = len(history) // 2
        play(made, history[:half])
        made.online = made.online.model_copy(update={"timelines": replace(made.online.timelines, push_threshold=after)})
        made.worker = made.new_worker()
        play(made, history[half:])
        assert not (bad := wrong(made)), f"2, then {after}: {bad}"
