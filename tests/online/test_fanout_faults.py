"""The fan-out worker dies, meets what it cannot process, or finds its entries gone: nothing is lost, done twice or blocked."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import LockNotOwnedError, OutOfMemoryError

from features.errors import Unavailable
from features.keys import hash64
from features.times import micros
from online.story_table.story_change import decode_change
from online.streams.dead_letters import MAX_TRIES, dead_letters
from online.timelines.fanout import GROUP
from rex.local.redis_server import Server
from tests.online.killing_client import Killed, killing_client
from tests.online.small_world import NOW
from tests.online.test_timeline_equivalence import CAP, EXAMPLES, STEPS, THRESHOLDS, histories, opened, play, wrong
from tests.online.timeline_site import Site, site


def work_and_be_killed(made: Site, server: Server, commands: int) -> None:
    """Lets a worker run that dies after so many commands; its lease runs out."""
    victim = killing_client(server.socket, commands)
    try:
        made.new_worker(victim).work()
    except Killed:
        made.client.delete(made.keys.fanout_lease())


class TestKilled:
    @given(
        histories, st.sampled_from(sorted(THRESHOLDS.values())), st.lists(st.integers(0, 150), min_size=1, max_size=4)
    )
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    def test_killed_between_any_two_commands_and_restarted_it_comes_to_the_same_end(
        self,
        redis_server: Server,
        redis_client: redis.Redis,
        tmp_path: Path,
        history: list[tuple[Any, ...]],
        threshold: int,
        kills: list[int],
    ) -> None:
        made = opened(redis_client, tmp_path, threshold)
        part = len(history) // len(kills) + 1
        for i, commands in enumerate(kills):
            play(made, history[i * part : (i + 1) * part])
            work_and_be_killed(made, redis_server, commands)
        assert not (bad := wrong(made)), bad

    @pytest.mark.parametrize("threshold", [2, 1000])
    def test_killed_at_every_command_of_a_change_it_comes_to_the_same_end(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path, threshold: int
    ) -> None:
        """Two authors, a full timeline, a redated story, an unfollow and a follow: once for every place to die."""
        stride = 1 if STEPS >= 10_000 else 7  # every place in the nightly profile; 7 shares no rhythm with the loops
        commands, finished = 0, False
        while not finished:
            made = site(redis_client, tmp_path, length=3, push_threshold=threshold)
            made.open()
            for user in ("u1", "u2", "u3"):
                made.follow(user, "a1", *(("a2",) if user == "u2" else ()))
                made.come_back(user)
            for i in range(5):
                made.publish(f"s{i}", "a1", minutes_ago=i)
            made.drain()
            made.publish("s0", "a1", minutes_ago=60)
            made.edge("u2", "unfollow", "author", "a2")
            made.edge("u3", "mute", "author", "a1")
            made.withdraw("s1")
            victim = killing_client(redis_server.socket, commands)
            try:
                made.new_worker(victim).work()
                finished = True
            except Killed:
                made.client.delete(made.keys.fanout_lease())
            made.drain()
            for user in ("u1", "u2", "u3"):
                assert made.provided(user) == made.expected(user), (commands, user)
                if threshold == 1000:
                    assert made.listed(user) == made.expected(user), (commands, user)
            commands += stride
        assert commands > 30, "it hardly worked at all"

    @pytest.mark.parametrize("change", ["published", "withdrawn", "redated"])
    def test_killed_at_every_command_of_one_fan_out_it_is_done_again(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path, change: str
    ) -> None:
        """The lists themselves are compared, and nothing else happens that could mend them."""
        made = _followed(redis_client, tmp_path, length=3)
        for commands in range(100):
            stories = [f"{name}-{commands}" for name in ("s1", "s2", "s3", "s4")]
            for i, story in enumerate(stories):
                made.publish(story, "a1", minutes_ago=i + 1)
            made.drain()
            if change == "withdrawn":
                made.withdraw(stories[0])
            else:
                made.publish(
                    f"s0-{commands}" if change == "published" else stories[0], "a1", 0 if change == "published" else 9
                )
            ((entry_id, fields),) = made.client.xrevrange(made.keys.story_stream(), count=1)
            victim = made.new_worker(killing_client(redis_server.socket, commands))
            try:
                victim._distributor.distribute(decode_change(fields), entry_id.decode(), micros(made.now))
                assert commands > 5, "it hardly did anything"
                return
            except Killed:
                made.drain()
                assert made.listed("u1") == made.expected("u1"), f"killed with command {commands + 1}"
            made.pass_time(hours=1)
        raise AssertionError("it never came to its end")

    @pytest.mark.process
    def test_sigkill_of_a_worker_process_loses_nothing(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = site(redis_client, tmp_path, length=50, push_threshold=1000)
        made.open()
        users = [f"u{i}" for i in range(20)]
        for user in users:
            made.follow(user, "a1", "a2")
            made.come_back(user)
        publisher = threading.Thread(
            target=lambda: [made.publish(f"s{i}", f"a{1 + i % 2}", minutes_ago=i % 7) for i in range(300)]
        )
        publisher.start()
        killed = 0
        while publisher.is_alive() or killed < 3:
            with subprocess.Popen(_worker_command(redis_server, tmp_path)) as worker:
                _wait_for_progress(made)
                worker.kill()
            made.client.delete(made.keys.fanout_lease())  # as its time to live would
            killed += 1
        publisher.join()
        made.drain()
        for user in users:
            assert made.listed(user) == made.expected(user) == made.provided(user)


def _worker_command(server: Server, var: Path) -> list[str]:
    program = (
        "from pathlib import Path; from features.settings import Settings; from online.service_settings import OnlineSettings;"
        "from online.timelines.fanout import run_fanout;"
        f"run_fanout(Settings(var=Path({str(var)!r}), lake=Path({str(var)!r}), redis_url={server.url!r}),"
        f"OnlineSettings(timelines={{'length': 50, 'fanout_every_s': 0.01}}, as_if={NOW.isoformat()!r}), once=False)"
    )
    return [sys.executable, "-c", program]


def _wait_for_progress(made: Site) -> None:
    """Until the group has come further than it was, or there is nothing left to read."""
    before, deadline = _read(made), time.monotonic() + 60
    while _read(made) == before and _left(made) and time.monotonic() < deadline:
        time.sleep(0.002)


def _group(made: Site) -> dict[str, Any]:
    (group,) = made.client.xinfo_groups(made.keys.story_stream())
    return dict(group)


def _read(made: Site) -> bytes:
    return bytes(_group(made)["last-delivered-id"])


def _left(made: Site) -> bool:
    last = made.client.xrevrange(made.keys.story_stream(), count=1)
    return not last or last[0][0] != _read(made)


class TestDedupe:
    def test_an_entry_delivered_again_changes_neither_list_nor_sequence(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        assert not _repeated(redis_client, tmp_path, dedupe=True)

    def test_without_remembering_what_was_done_an_entry_delivered_again_is_there_twice(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        """The guard switched off: what the tests above would then find."""
        assert _repeated(redis_client, tmp_path, dedupe=False)

    def test_a_trimmed_entry_delivered_again_adds_nothing(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        made = _followed(redis_client, tmp_path, length=CAP)
        for i in range(CAP + 1):
            made.publish(f"s{i}", "a1", minutes_ago=10 - i)
        made.drain()
        before = made.timeline("u1")
        assert "s0" not in made.listed("u1")
        made.client.delete(made.keys.placed())  # nothing remembers that it was there
        made.client.xgroup_setid(made.keys.story_stream(), GROUP, "0")
        made.drain()
        after = made.timeline("u1")
        assert before is not None
        assert after is not None
        assert (after.seq, after.entries.tolist()) == (before.seq, before.entries.tolist())


def _followed(client: redis.Redis, var: Path, **more: Any) -> Site:
    made = site(client, var, **more)
    made.open()
    made.follow("u1", "a1")
    made.come_back("u1")
    return made


def _repeated(client: redis.Redis, var: Path, *, dedupe: bool) -> bool:
    made = _followed(client, var, dedupe=dedupe)
    made.publish("s1", "a1")
    made.drain()
    before = (made.listed("u1"), made.client.hget(made.keys.timeline_about("u1"), "seq"))
    made.client.xgroup_setid(made.keys.story_stream(), GROUP, "0")
    made.drain()
    return before != (made.listed("u1"), made.client.hget(made.keys.timeline_about("u1"), "seq"))


class TestWhatCannotBeProcessed:
    def test_a_poison_entry_is_parked_after_three_tries_and_blocks_nobody(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = _followed(redis_client, tmp_path)
        stream = made.keys.story_stream()
        poison = made.client.xadd(stream, {"story": b'{"story_id": 7'})
        made.publish("s1", "a1")
        made.drain()
        assert made.listed("u1") == ["s1"]
        assert not dead_letters(made.client, made.keys)
        for _ in range(MAX_TRIES - 1):
            made.drain()
        (found,) = dead_letters(made.client, made.keys)
        assert (found.stream, found.entry_id) == (stream, poison.decode())
        assert "holds no story" in found.error
        assert _group(made)["pending"] == 0

    @pytest.mark.parametrize(
        "outage", [Unavailable("no snapshot"), LockNotOwnedError("lost"), OutOfMemoryError("full")]
    )
    def test_an_outage_of_many_rounds_parks_nothing(
        self, redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outage: Exception
    ) -> None:
        made = _followed(redis_client, tmp_path)
        for story in ("s1", "s2"):
            made.publish(story, "a1")

        def fail(*arguments: Any) -> None:
            raise outage

        with monkeypatch.context() as away:
            away.setattr(made.worker._distributor, "distribute", fail)
            for _ in range(2 * MAX_TRIES):
                with pytest.raises(Unavailable):
                    made.drain()
        made.drain()
        assert made.listed("u1") == ["s2", "s1"]
        assert not dead_letters(made.client, made.keys)

    def test_an_entry_that_kills_every_worker_is_parked_alone(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = _followed(redis_client, tmp_path)
        for story in ("s1", "s2", "s3"):
            made.publish(story, "a1")
        deadly = hash64("s2")
        for _ in range(MAX_TRIES):
            worker = made.new_worker()
            ordinary = worker._distributor.distribute

            def die(change: Any, *rest: Any, ordinary: Any = ordinary) -> None:
                if change.story_hash == deadly:
                    raise Killed
                ordinary(change, *rest)

            monkeypatch.setattr(worker._distributor, "distribute", die)
            with pytest.raises(Killed):
                worker.work()
            made.client.delete(made.keys.fanout_lease())
        made.drain()
        assert [found.fields[b"story"].count(b"s2") for found in dead_letters(made.client, made.keys)] == [1]
        assert set(made.listed("u1")) == {"s1", "s3"}

    def test_malformed_events_and_returns_are_parked_too(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        made = _followed(redis_client, tmp_path)
        made.client.xadd(made.keys.event_stream(3), {"event": b'{"target_type": '})
        made.client.xadd(made.keys.event_stream(3), {"nothing": b""})
        made.client.xadd(made.keys.returns(), {"nothing": b""})
        for _ in range(MAX_TRIES):
            made.drain()
        assert len(dead_letters(made.client, made.keys)) == 3

    def test_it_goes_on_when_pending_entries_were_trimmed(
        self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = _followed(redis_client, tmp_path)
        for story in ("s1", "s2"):
            made.publish(story, "a1")
        made.client.xreadgroup(GROUP, GROUP, {made.keys.story_stream(): ">"})  # read by a worker that then died
        made.client.xtrim(made.keys.story_stream(), maxlen=0)
        made.publish("s3", "a1")
        made.drain()
        assert made.listed("u1") == ["s3"]
        assert _group(made)["pending"] == 0

    def test_a_group_that_was_lost_is_made_again_and_reads_from_the_start(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = _followed(redis_client, tmp_path)
        made.publish("s1", "a1")
        made.client.xgroup_destroy(made.keys.story_stream(), GROUP)
        made.drain()
        assert made.listed("u1") == ["s1"]


class TestOneAtATime:
    def test_a_second_worker_leaves_the_work_to_the_first(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        made = _followed(redis_client, tmp_path)
        made.publish("s1", "a1")
        made.client.set(made.keys.fanout_lease(), "another", px=60_000)
        made.drain()
        assert made.listed("u1") == []
        made.client.delete(made.keys.fanout_lease())
        made.drain()
        assert made.listed("u1") == ["s1"]

    def test_without_a_snapshot_it_says_so_and_touches_nothing(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        made = site(redis_client, tmp_path)
        with pytest.raises(Unavailable, match="rex publish"):
            made.drain()
        assert not made.client.keys("*delivery*")
