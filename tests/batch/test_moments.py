"""Moments of the lake: the snapshot that publishing would write, and after it what a server would know, told from the log."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import redis

from batch.moments.arrow_file import read_tables, write_tables
from batch.moments.lake_log import LakeLog, open_log, write_log
from batch.moments.lake_snapshot import LakeSnapshot, open_snapshot, write_snapshot
from batch.moments.walk import Walk
from batch.snapshot_content import READS, partitions_at, read_content
from features.errors import BadInput, Unavailable
from features.interactions import ONLINE_CODES
from features.keys import hash64
from features.lake_layout import partition_name
from features.registry import FEATURES
from features.snapshot import PROFILE
from features.times import micros
from online.columns import Candidates
from online.context import Context
from online.user.user import ANNOTATED, INTERACTION, INTERACTIONS_KEPT, UserState
from tests.batch.feature_lake import AS_OF, HOUR, Row, Rows, many, story, user, write_dataset, write_features

pytest_plugins = ["tests.fixtures_redis"]
NAMES = [feature.name for feature in FEATURES]
US = timedelta(microseconds=1)


def event(kind: str, story_id: str, received: datetime, occurred: datetime | None = None, who: str = "u") -> Row:
    """A row of valid_events."""
    known = {"event_id": f"{kind}-{story_id}-{received}", "user_id": who, "story_id": story_id, "type": kind}
    return known | {"occurred_at": occurred or received, "valid_from": received}


def edge(op: str, target: str, begins: datetime, ends: datetime | None = None, **more: Any) -> Row:
    """A row of valid_edges: a follow of an author, or its end, unless said otherwise."""
    known = {"event_id": f"{op}-{target}-{begins}", "user_id": "u", "kind": "follow", "target_type": "author"}
    return (
        known | {"target_id": target, "op": op, "occurred_at": begins, "valid_from": begins, "valid_until": ends} | more
    )


def logged(lake: Path, **rows: list[Row]) -> LakeLog:
    """The log of a lake with these validated rows."""
    for name in ("valid_stories", "valid_events", "valid_edges"):
        write_dataset(lake, name, rows.get(name, []))
    return open_log(write_log(lake, AS_OF))


def snapshot_of(lake: Path, as_of: datetime, **shared: datetime) -> LakeSnapshot:
    """The snapshot of a lake; see `partitions_at`."""
    return open_snapshot(write_snapshot(lake, as_of, partitions_at(as_of, **shared)))


def state(log: LakeLog, at: datetime, snapshot: LakeSnapshot, who: str = "u") -> UserState:
    """What a server whose snapshot is that of AS_OF would have known of the user just before `at`."""
    return log.of(snapshot.user(who), micros(AS_OF)).state(micros(at))


@pytest.fixture
def snapshot(tmp_path: Path) -> LakeSnapshot:
    """Stories `s0` to `s9`, users `p0` to `p9`."""
    write_features(tmp_path / "small", many(10, 10))
    return snapshot_of(tmp_path / "small", AS_OF)


class TestTheSnapshotOfALake:
    def test_holds_what_publishing_would_write(self, tmp_path: Path) -> None:
        lake = write_features(tmp_path, many(50, 20))
        content, snapshot = read_content(lake, AS_OF), snapshot_of(lake, AS_OF)
        assert len(snapshot.story_table) == 50
        assert snapshot.story_table.snapshot_ids.equals(content.tables["stories"]["story_id"].combine_chunks())
        for user_id in (f"p{n}" for n in range(20)):
            [place] = np.flatnonzero(content.users.hashes == hash64(user_id))
            expected, found = PROFILE.decode(content.users.profile(int(place))), snapshot.user(user_id).profile
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                assert found[name].dtype == values.dtype, name
                assert found[name].tolist() == values.tolist(), name
        assert all(len(values) == 0 for values in snapshot.user("nobody").profile.values())

    def test_is_read_where_it_lies(self, tmp_path: Path) -> None:
        path = write_snapshot(write_features(tmp_path, many(5, 2000)), AS_OF, partitions_at(AS_OF))
        before = pa.total_allocated_bytes()
        fields = open_snapshot(path).users.fields.values()
        assert len(fields) == len(PROFILE.fields)
        assert not any(field.values.flags.owndata for field in fields)
        size = sum(field.values.nbytes + field.offsets.nbytes for field in fields)
        assert pa.total_allocated_bytes() - before < size / 10, "copies were made"

    def test_is_written_once_and_again_when_what_it_is_made_of_was(self, tmp_path: Path) -> None:
        lake = write_features(tmp_path, many(5, 2))
        path = write_snapshot(lake, AS_OF, partitions_at(AS_OF))
        first = path.stat().st_mtime_ns
        assert write_snapshot(lake, AS_OF, partitions_at(AS_OF)).stat().st_mtime_ns == first
        write_dataset(lake, "valid_stories", [story("other", 1)])
        assert snapshot_of(lake, AS_OF).story_table.snapshot_ids.to_pylist() == ["other"]

    def test_made_by_other_code_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lake = write_features(tmp_path, many(5, 2))
        first = write_snapshot(lake, AS_OF, partitions_at(AS_OF))
        monkeypatch.setattr("batch.moments.arrow_file._code", lambda: "of another time")
        assert write_snapshot(lake, AS_OF, partitions_at(AS_OF)) != first

    @pytest.mark.parametrize("left", [4, 100, 0.5, 0.99])
    def test_that_is_damaged_says_so(self, tmp_path: Path, left: float) -> None:
        path = write_snapshot(write_features(tmp_path, many(5, 2)), AS_OF, partitions_at(AS_OF))
        os.truncate(path, int(left if left > 1 else left * path.stat().st_size))
        with pytest.raises(BadInput, match=r"\.arrow is damaged .*; remove it, and it is made again"):
            open_snapshot(path)

    def test_without_a_partition_names_it(self, tmp_path: Path) -> None:
        lake = write_features(tmp_path, many(5, 2))
        (lake / "features" / "als_vectors" / partition_name(AS_OF)).rename(tmp_path / "gone")
        with pytest.raises(BadInput, match=r"no als_vectors for 2026-01-31.*rex batch --as-of"):
            snapshot_of(lake, AS_OF)

    def test_sees_what_was_known_then_in_a_partition_of_later(self, tmp_path: Path) -> None:
        later = AS_OF + HOUR
        for name in READS:
            write_dataset(tmp_path, name, [], AS_OF)
        versions = [
            story("s", 9, title="then", valid_until=AS_OF + US),
            story("s", 9, title="later", updated_at=AS_OF + US),
            story("late", 9, valid_from=AS_OF + US),
        ]
        write_dataset(tmp_path, "valid_stories", versions, later)
        write_dataset(tmp_path, "valid_promotions", [], later)
        table = snapshot_of(tmp_path, AS_OF, validated=later).story_table
        assert [table.title(row) for row in range(len(table))] == ["then"]


class TestAUsersLog:
    def test_counts_what_was_received_before_the_moment(self, tmp_path: Path, snapshot: LakeSnapshot) -> None:
        late = event("read", "s1", AS_OF + 2 * HOUR, AS_OF - HOUR)
        log = logged(tmp_path, valid_events=[event("read", "s0", AS_OF + HOUR), late])
        assert state(log, AS_OF + HOUR, snapshot).stories("read").tolist() == []
        assert state(log, AS_OF + HOUR + US, snapshot).stories("read").tolist() == [hash64("s0")]
        assert state(log, AS_OF + 3 * HOUR, snapshot).stories("read").tolist() == [hash64("s0"), hash64("s1")]

    def test_knows_edges_while_they_are_in_force(self, tmp_path: Path, snapshot: LakeSnapshot) -> None:
        begins, ends = AS_OF + HOUR, AS_OF + 2 * HOUR
        log = logged(tmp_path, valid_edges=[edge("add", "a", begins, ends), edge("remove", "a", ends)])
        follows = [
            state(log, at, snapshot).edges("follow", "author").tolist() for at in (begins, begins + US, ends, ends + US)
        ]
        assert follows == [[], [hash64("a")], [hash64("a")], []]

    def test_takes_back_what_the_snapshot_holds(self, tmp_path: Path, snapshot: LakeSnapshot) -> None:
        log = logged(tmp_path, valid_edges=[edge("remove", "a0", AS_OF + HOUR, user_id="p0")])
        held = [state(log, AS_OF + hours * HOUR, snapshot, "p0").edges("follow", "author").tolist() for hours in (1, 2)]
        assert held == [[hash64("a0")], []]

    def test_knows_who_has_blocked_the_user(self, tmp_path: Path, snapshot: LakeSnapshot) -> None:
        block = edge("add", "u", AS_OF + HOUR, user_id="other", kind="block")
        log = logged(tmp_path, valid_edges=[block])
        assert state(log, AS_OF + 2 * HOUR, snapshot).edges("blocked_by", "author").tolist() == [hash64("other")]
        assert state(log, AS_OF + 2 * HOUR, snapshot, "other").edges("block", "author").tolist() == [hash64("u")]

    def test_hides_on_arrival_and_shows_again_only_when_that_is_later(
        self, tmp_path: Path, snapshot: LakeSnapshot
    ) -> None:
        hours = [("hide", 1, 5), ("unhide", 2, 4), ("unhide", 3, 6), ("hide", 4, 0)]  # received, occurred
        log = logged(
            tmp_path,
            valid_events=[event(kind, "s0", AS_OF + got * HOUR, AS_OF + done * HOUR) for kind, got, done in hours],
        )
        hidden = [len(state(log, AS_OF + hour * HOUR + US, snapshot).edges("hide", "story")) for hour in range(5)]
        assert hidden == [0, 1, 1, 0, 1]

    def test_keeps_what_redis_keeps_in_its_order(
        self, redis_client: redis.Redis, tmp_path: Path, snapshot: LakeSnapshot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Late ones, repeated ones, several of one instant: the same members in the same order."""
        kept = 6
        monkeypatch.setattr("batch.moments.lake_log.INTERACTIONS_KEPT", kept)
        rng = random.Random(7)
        rows = [
            event(
                rng.choice(list(ONLINE_CODES)),
                f"s{rng.randrange(9)}",
                AS_OF + n * HOUR,
                AS_OF + rng.randrange(20) * HOUR,
            )
            for n in range(300)
        ]
        log = logged(tmp_path, valid_events=rows)
        of = log.of(snapshot.user("u"), micros(AS_OF))
        for row in rows:
            member = np.array([(hash64(row["story_id"]), ONLINE_CODES[row["type"]])], INTERACTION).tobytes()
            redis_client.zadd("kept", {member: micros(row["occurred_at"]) // 1000}, gt=True)
            redis_client.zremrangebyrank("kept", 0, -1 - kept)
            held: Any = redis_client.zrevrange("kept", 0, -1)
            if row["type"] in ANNOTATED:  # after anything else, nobody looks anew
                assert of.state(micros(row["valid_from"]) + 1).interactions.tobytes() == b"".join(held)

    def test_of_a_hundred_thousand_events_is_cut_to_what_a_server_keeps(
        self, tmp_path: Path, snapshot: LakeSnapshot
    ) -> None:
        rows = [event("read", f"s{n}", AS_OF + n * timedelta(seconds=1)) for n in range(100_000)]
        found = state(logged(tmp_path, valid_events=rows), AS_OF + timedelta(seconds=99_999), snapshot).interactions
        assert len(found) == INTERACTIONS_KEPT
        assert found["story"][0] == hash64("s99998")

    def test_is_written_again_when_what_it_is_made_of_was(self, tmp_path: Path, snapshot: LakeSnapshot) -> None:
        for events in ([event("read", "s0", AS_OF)], []):
            log = logged(tmp_path, valid_events=events)
            assert len(state(log, AS_OF + HOUR, snapshot).interactions) == len(events)


class TestWalkingForward:
    def test_a_story_that_came_and_went_between_two_snapshots_is_known_from_when_it_came(self, tmp_path: Path) -> None:
        came, went = AS_OF + HOUR, AS_OF + 3 * HOUR
        rows: Rows = {
            "valid_stories": [
                story("brief", -1, author_id="a", valid_until=went),
                story("brief", -1, author_id="b", updated_at=went, deleted_at=went),
            ],
            "author_features": [{"author_id": "a", "author_open_rate": 0.5}],
        }
        walk = walking(tmp_path, rows)
        at = [came - US, came, went + HOUR]
        features, author, there = walk.features(
            ["u"] * 3, of("u", 3), of("brief", 3), *[np.array([micros(t) for t in at])] * 2
        )
        assert there.tolist() == [False, True, True]
        assert author.to_pylist() == [None, "a", "a"], "a withdrawal changes nothing else"
        assert features[NAMES.index("story_open_rate")].tolist() == [0.0, 0.5, 0.5]

    def test_each_example_is_as_old_as_when_it_was_shown(self, tmp_path: Path) -> None:
        walk = walking(tmp_path, {"valid_stories": [story("s", 1)]})
        shown = np.array([micros(AS_OF + hours * HOUR) for hours in (1, 1, 23)])
        features, _, there = walk.features(["u"] * 3, of("u", 3), of("s", 3), shown, shown)
        assert there.all()
        assert features[NAMES.index("recency")].tolist() == pytest.approx([0.5 ** (h / 24) for h in (2, 2, 24)])

    def test_in_any_portions_it_gives_the_same_bits(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        rows = many(40, 12)
        rows["similar_stories"] = [
            {"story_id": f"s{n}", "rank": 0, "similar_story_id": f"s{(n * 7 + 1) % 40}", "similarity": 0.5}
            for n in range(40)
        ]
        rows["valid_stories"] += [story(f"s{n}", n + 1, updated_at=AS_OF + n * HOUR, title="new") for n in range(1, 9)]
        for row in rows["valid_stories"][1:9]:
            row["valid_until"] = AS_OF + int(row["story_id"][1:]) * HOUR
        events = [
            event("read", f"s{rng.integers(40)}", AS_OF + rng.random() * 9 * HOUR, who=f"p{rng.integers(12)}")
            for _ in range(60)
        ]
        edges = [edge("add", f"a{n}", AS_OF + n * HOUR, user_id=f"p{n}") for n in range(8)]
        n = 400
        who, what = [f"p{k}" for k in rng.integers(12, size=n)], [f"s{k}" for k in rng.integers(40, size=n)]
        user, stories = np.array([hash64(w) for w in who]), np.array([hash64(s) for s in what])
        at = np.sort(micros(AS_OF) + rng.integers(0, 10 * 3_600_000_000, n))

        def in_portions_of(size: int) -> np.ndarray:
            walk = walking(tmp_path, rows, valid_events=events, valid_edges=edges)
            parts = [slice(start, start + size) for start in range(0, n, size)]
            return np.concatenate([walk.features(who[p], user[p], stories[p], at[p], at[p])[0] for p in parts], axis=1)

        whole = in_portions_of(n)
        assert len(np.unique(whole[NAMES.index("similarity")])) > 1
        assert len(np.unique(whole[NAMES.index("follows_author")])) > 1
        for size in (1, 17):
            assert in_portions_of(size).tobytes() == whole.tobytes()

    def test_an_annotator_that_fails_leaves_no_defaults(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(self: object, ctx: Context, candidates: Candidates) -> None:
            raise OSError("out of order")

        monkeypatch.setattr("online.annotators.recency.Recency.columns", fails)
        walk, now = walking(tmp_path, {"valid_stories": [story("s", 1)]}), np.array([micros(AS_OF + HOUR)])
        with pytest.raises(Unavailable, match=r"recency failed.*out of order"):
            walk.features(["u"], of("u"), of("s"), now, now)

    def test_an_annotator_cannot_take_one_time_for_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def asks(self: object, ctx: Context, candidates: Candidates) -> dict[str, np.ndarray]:
            return {"recency": np.full(len(candidates), ctx.now_us, np.float32)}

        monkeypatch.setattr("online.annotators.recency.Recency.columns", asks)
        walk, now = walking(tmp_path, {"valid_stories": [story("s", 1)]}), np.array([micros(AS_OF + HOUR)])
        with pytest.raises(Unavailable, match=r"recency failed.*ask ctx\.age_hours"):
            walk.features(["u"], of("u"), of("s"), now, now)

    def test_a_feature_that_nothing_computes_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("batch.moments.walk.ALL", frozenset({*NAMES, "unheard_of"}))
        walk, now = walking(tmp_path, {"valid_stories": [story("s", 1)]}), np.array([micros(AS_OF + HOUR)])
        with pytest.raises(ValueError, match="nothing computes the features unheard_of"):
            walk.features(["u"], of("u"), of("s"), now, now)


def of(ident: str, n: int = 1) -> np.ndarray:
    """Its hash, n times."""
    return np.full(n, hash64(ident))


def walking(lake: Path, rows: Rows, **log: list[Row]) -> Walk:
    """From the snapshot of AS_OF on, through a log with the same stories."""
    write_features(lake, {**rows, "user_profiles": rows.get("user_profiles", [user("u")])})
    return Walk(micros(AS_OF), snapshot_of(lake, AS_OF), logged(lake, valid_stories=rows["valid_stories"], **log))


@pytest.mark.process
def test_a_killed_writer_leaves_nothing_that_is_taken_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "some.arrow"
    code = f"""
import os, pathlib, signal
import pyarrow as pa
from batch.moments.arrow_file import read_tables, write_tables

class Killed(dict):
    def values(self):
        yield pa.table({{"half": [1]}})
        os.kill(os.getpid(), signal.SIGKILL)

write_tables(pathlib.Path({str(path)!r}), Killed(first=0, second=0))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    left = [file.name for file in tmp_path.iterdir()]
    assert len(left) == 1, "killed in the middle"
    assert left[0].endswith(".draft")
    write_tables(path, {"whole": pa.table({"one": [1]})})
    assert [file.name for file in tmp_path.iterdir()] == ["some.arrow"]
    assert read_tables(path)["whole"].to_pylist() == [{"one": 1}]
