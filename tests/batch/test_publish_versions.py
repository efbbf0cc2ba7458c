"""Versions: one publisher at a time, only what changed is written, old ones go, any kept one can come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import redis

from batch.lease import hold_lease
from batch.publish import Step, ignore, publish
from batch.versions import rollback
from features.errors import BadInput, Unavailable
from features.keys import Keys
from features.packing import CorruptValue
from features.snapshot import Manifest
from features.snapshot_reader import (
    current_version,
    published,
    read_bucket,
    read_manifest,
    read_tables,
    snapshots,
)
from tests.batch.feature_lake import AS_OF, many, write_features
from tests.lakes import ANY_NAME

pytest_plugins = ["tests.fixtures_redis"]
KEYS = Keys()
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five days, each with one more story and user than the day before."""
    lake = tmp_path_factory.mktemp("lake") / ANY_NAME
    for day in range(5):
        positions = {"events": f"{day}-9", f"stream of day {day}": "1-0"}
        write_features(lake, many(20 + day, 300 + day), AS_OF + day * DAY, positions)
    return lake


@pytest.fixture
def publish_day(lake: Path, redis_client: redis.Redis) -> Callable[..., Manifest]:
    def run(day: int, kept: int = 3, step: Callable[[Step], None] = ignore, **more: bool) -> Manifest:
        as_of, now = AS_OF + day * DAY, AS_OF + (day + 1) * DAY
        return publish(lake, as_of, redis_client, KEYS, now=now, kept=kept, step=step, **more)

    return run


PublishDay = Callable[..., Manifest]


class TestLease:
    def test_a_second_publisher_is_refused_at_once(self, publish_day: PublishDay, redis_client: redis.Redis) -> None:
        refusals = []

        def meanwhile(step: Step) -> None:
            if step == "stage":
                with pytest.raises(Unavailable, match=r"process \d+ is publishing and holds the lease for") as refused:
                    publish_day(1)
                refusals.append(refused)

        first = publish_day(0, step=meanwhile)
        assert len(refusals) == 1
        assert current_version(redis_client, KEYS) == first.version, "the refused one disturbed the first"

    def test_is_free_again_after_a_failure(self, publish_day: PublishDay) -> None:
        def fail(step: Step) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            publish_day(0, step=fail)
        publish_day(0)

    def test_is_renewed_while_the_work_lasts(self, redis_client: redis.Redis) -> None:
        with hold_lease(
            redis_client, KEYS, ttl_s=1.0
        ) as lease:  # renewed three times in it: a busy machine may miss one
            threading.Event().wait(1.4)
            lease.check()
            with pytest.raises(Unavailable), hold_lease(redis_client, KEYS, ttl_s=1.0):
                pass

    @pytest.mark.parametrize("stalled_after", ["stage", "verify"])
    def test_who_lost_it_changes_nothing_more(
        self, stalled_after: Step, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        publish_day(0, kept=1)
        others = []

        def stall(step: Step) -> None:
            if step == stalled_after:
                redis_client.delete(KEYS.publish_lease())  # as if it had run out while this process stood still
                others.append(publish_day(2, kept=1))

        with pytest.raises(Unavailable, match="lease was lost"):
            publish_day(1, kept=1, step=stall)
        assert current_version(redis_client, KEYS) == others[0].version
        read_tables(redis_client, KEYS, read_manifest(redis_client, KEYS, others[0].version))


class TestOlder:
    def test_is_refused_unless_it_is_meant(self, publish_day: PublishDay, redis_client: redis.Redis) -> None:
        newer = publish_day(1)
        with pytest.raises(
            BadInput, match=rf"{newer.version}, holds the features of a later moment than 2026-01-31T.*--allow-older"
        ):
            publish_day(0)
        assert published(redis_client, KEYS) == [newer.version]
        assert publish_day(1).as_of == newer.as_of, "the same moment again is fine"
        assert publish_day(0, allow_older=True).version == current_version(redis_client, KEYS)

    def test_is_judged_under_the_lease_by_what_is_current_then(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        oldest, newest = publish_day(0), publish_day(2)
        rollback(redis_client, KEYS, oldest.version)

        def overtaken(step: Step) -> None:
            if step == "lease":  # as if the other publisher had been done just before
                redis_client.set(KEYS.current(), newest.version)

        with pytest.raises(BadInput, match="--allow-older"):
            publish_day(1, step=overtaken)
        assert current_version(redis_client, KEYS) == newest.version

    def test_is_refused_as_well_where_the_current_snapshot_is_damaged(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        redis_client.delete(KEYS.manifest(publish_day(1).version))
        with pytest.raises(BadInput, match="--allow-older"):
            publish_day(0)
        assert publish_day(0, allow_older=True).version == current_version(redis_client, KEYS)


class TestWritesWhatChanged:
    def test_the_same_features_again_write_no_piece(self, publish_day: PublishDay) -> None:
        steps: list[Step] = []
        first = publish_day(0)
        again = publish_day(0, step=steps.append)
        assert "write" not in steps
        assert (again.tables, again.users) == (first.tables, first.users)
        assert again.version != first.version

    def test_equal_tables_are_shared_between_versions(self, publish_day: PublishDay) -> None:
        steps: list[Step] = []
        first, second = publish_day(0), publish_day(1, step=steps.append)
        assert first.tables["authors"] == second.tables["authors"]
        assert first.tables["stories"] != second.tables["stories"]
        pieces = {p for t in first.tables.values() for p in t} | {p for t in second.tables.values() for p in t}
        changed = len(pieces) - len({p for t in first.tables.values() for p in t})
        assert steps.count("write") == changed + len(set(second.users) - set(first.users))


class TestVerify:
    def test_altered_pieces_stop_the_flip_and_heal_with_the_next_publish(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        before = publish_day(0)

        def alter(step: Step) -> None:
            if step == "write":
                blobs = set(redis_client.keys(KEYS.blob("*"))) - blobs_before
                redis_client.setrange(min(blobs), 100, b"\xff\x00\xff")

        blobs_before = set(redis_client.keys(KEYS.blob("*")))
        with pytest.raises(Unavailable, match="was not published, for it does not read back"):
            publish_day(1, step=alter)
        assert current_version(redis_client, KEYS) == before.version
        assert published(redis_client, KEYS) == [before.version]
        after = publish_day(1)
        assert current_version(redis_client, KEYS) == after.version

    @pytest.mark.parametrize("what", ["blob", "bucket", "missing blob", "missing bucket"])
    def test_readers_refuse_what_is_altered_or_missing(
        self, what: str, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        manifest = publish_day(0)
        blob, bucket = manifest.tables["stories"][0], manifest.users[0]
        damage: dict[str, Callable[[], object]] = {
            "blob": lambda: redis_client.append(KEYS.blob(blob), b"x"),
            "bucket": lambda: redis_client.hset(KEYS.users(bucket), "stranger", b"x"),
            "missing blob": lambda: redis_client.delete(KEYS.blob(blob)),
            "missing bucket": lambda: redis_client.delete(KEYS.users(bucket)),
        }
        damage[what]()
        expected = Unavailable if "missing" in what else CorruptValue
        read = partial(read_tables, manifest=manifest) if "blob" in what else partial(read_bucket, piece=bucket)
        with pytest.raises(expected, match=blob if "blob" in what else bucket):
            read(redis_client, KEYS)

    def test_a_snapshot_of_another_release_is_refused(
        self, publish_day: PublishDay, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = publish_day(0).version
        monkeypatch.setattr("features.snapshot_reader.schema_hash", lambda factors: "another")
        with pytest.raises(Unavailable, match="another release of Rex"):
            read_manifest(redis_client, KEYS, version)

    def test_nothing_published_says_what_to_do(self, redis_client: redis.Redis) -> None:
        with pytest.raises(Unavailable, match="rex publish"):
            current_version(redis_client, KEYS)


class TestPrune:
    def test_keeps_the_latest_and_what_they_share(self, publish_day: PublishDay, redis_client: redis.Redis) -> None:
        manifests = [publish_day(day, kept=2) for day in range(4)]
        assert published(redis_client, KEYS) == [manifests[3].version, manifests[2].version]
        for version in published(redis_client, KEYS):
            read_tables(redis_client, KEYS, read_manifest(redis_client, KEYS, version))
        kept_blobs = {p for manifest in manifests[2:] for pieces in manifest.tables.values() for p in pieces}
        assert set(redis_client.keys(KEYS.blob("*"))) == {KEYS.blob(piece).encode() for piece in kept_blobs}
        assert redis_client.keys(KEYS.manifest(manifests[0].version)) == []

    def test_streams_are_cut_where_the_oldest_kept_snapshot_ends(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        for ms in range(12):
            redis_client.xadd("events", {"n": ms}, id=f"{ms}-9")
            redis_client.xadd("stream of day 2", {"n": ms}, id=f"{ms}-1")
        for day in range(4):
            publish_day(day, kept=2)
        assert redis_client.xinfo_stream("events")["first-entry"][0] == b"2-9", "day 2 is the oldest kept and ends here"
        assert redis_client.xlen("events") == 10
        assert redis_client.xlen("stream of day 2") == 12, "day 3 does not cover this stream, so it may need all of it"

    def test_a_lake_that_lacks_what_was_cut_is_refused(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        for ms in range(12):
            redis_client.xadd("events", {"n": ms}, id=f"{ms}-9")
        for day in (2, 3):
            publish_day(day, kept=1)
        with pytest.raises(BadInput, match="withdrawals and mutes would be forgotten"):
            publish_day(1, kept=1, allow_older=True)
        assert publish_day(3, kept=1).version == current_version(redis_client, KEYS), "the same moment again is fine"

    def test_what_a_consumer_group_is_not_done_with_stays_whatever_a_snapshot_says(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        for ms in range(12):
            redis_client.xadd("events", {"n": ms}, id=f"{ms}-9")
        redis_client.xgroup_create("events", "archive", id="0")
        redis_client.xreadgroup("archive", "archiver", {"events": ">"}, count=5)
        redis_client.xack("events", "archive", "0-9", "2-9", "3-9", "4-9")
        publish_day(3, kept=1)
        first = redis_client.xinfo_stream("events")["first-entry"][0]
        assert first == b"1-9", "an entry was trimmed before it was archived"
        redis_client.xack("events", "archive", "1-9")
        publish_day(4, kept=1)
        assert redis_client.xinfo_stream("events")["first-entry"][0] == b"4-9"


class TestSnapshots:
    def test_lists_the_newest_first(self, publish_day: PublishDay, redis_client: redis.Redis) -> None:
        first, second = publish_day(0), publish_day(1)
        found = snapshots(redis_client, KEYS, AS_OF + 2 * DAY)
        assert [about.version for about in found] == [second.version, first.version]
        assert [about.age_s for about in found] == [86_400, 2 * 86_400]
        assert [about.current for about in found] == [True, False]
        assert found[0].counts["stories"] == 21
        assert found[0].counts["users"] == 301
        assert found[0].as_of == "2026-02-01T00:00:00Z"
        blobs = sum(redis_client.strlen(KEYS.blob(p)) for pieces in first.tables.values() for p in pieces)
        assert found[1].size_bytes > blobs

    def test_is_empty_before_the_first_publish(self, redis_client: redis.Redis) -> None:
        assert snapshots(redis_client, KEYS, AS_OF) == []


class TestRollback:
    def test_an_older_version_becomes_current_and_survives_pruning(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        first, second = publish_day(0), publish_day(1)
        rollback(redis_client, KEYS, first.version)
        assert current_version(redis_client, KEYS) == first.version
        assert published(redis_client, KEYS) == [second.version, first.version], "rolling back forgot a version"
        rollback(redis_client, KEYS, second.version)
        assert current_version(redis_client, KEYS) == second.version

    def test_an_unknown_version_is_refused_with_what_there_is(
        self, publish_day: PublishDay, redis_client: redis.Redis
    ) -> None:
        old, *kept = (publish_day(day, kept=2).version for day in range(3))
        with pytest.raises(BadInput, match=f"no snapshot '{old}'; kept are: {kept[1]}, {kept[0]}"):
            rollback(redis_client, KEYS, old)
        assert current_version(redis_client, KEYS) == kept[1]

    def test_a_damaged_version_is_refused(self, publish_day: PublishDay, redis_client: redis.Redis) -> None:
        first, second = publish_day(0), publish_day(1)
        redis_client.append(KEYS.blob(first.tables["stories"][0]), b"x")
        with pytest.raises(Unavailable, match="is damaged"):
            rollback(redis_client, KEYS, first.version)
        assert current_version(redis_client, KEYS) == second.version

    def test_waits_for_no_publisher(self, publish_day: PublishDay, redis_client: redis.Redis) -> None:
        first = publish_day(0)
        refused = []

        def meanwhile(step: Step) -> None:
            if step == "verify":
                with pytest.raises(Unavailable, match="is publishing"):
                    rollback(redis_client, KEYS, first.version)
                refused.append(step)

        publish_day(1, step=meanwhile)
        assert refused == ["verify"]
