"""The archiver: what is in the lake, what the positions say, what an upgrade, a loss of Redis or a backup does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from batch.run_notes import read_archived
from features.errors import Unavailable
from features.streams import before, stream_order
from online.streams.archive_files import convert, write
from online.streams.archiver import GROUP, POSITIONS_FILE, Step, archive, read_positions
from online.streams.dead_letters import MAX_TRIES, dead_letters
from rex.local.redis_server import server
from tests.online.archive_lake import KEYS, accept, archived, entries, event, poison, stream_of

STREAM = stream_of()


def test_every_entry_is_moved_once_and_the_positions_name_the_last(redis_client: redis.Redis, tmp_path: Path) -> None:
    accept(redis_client, event("e1"), event("e2"))
    assert archive(redis_client, KEYS, tmp_path) == 2
    assert archive(redis_client, KEYS, tmp_path) == 0
    accept(redis_client, event("e3"))
    assert archive(redis_client, KEYS, tmp_path) == 1
    assert archived(tmp_path) == ["e1", "e2", "e3"]
    last = redis_client.xinfo_stream(STREAM)["last-entry"][0].decode()  # type: ignore[index]
    assert read_positions(tmp_path) == {STREAM: last} == read_archived(tmp_path)
    assert redis_client.xpending(STREAM, GROUP)["pending"] == 0  # type: ignore[index]


def test_entries_that_a_dead_archiver_had_taken_come_first(redis_client: redis.Redis, tmp_path: Path) -> None:
    accept(redis_client, event("e1"), event("e2"))
    redis_client.xgroup_create(STREAM, GROUP, id="0")
    redis_client.xreadgroup(GROUP, "archiver", {STREAM: ">"}, count=1)  # taken, and then it died
    assert archive(redis_client, KEYS, tmp_path) == 2
    assert archived(tmp_path) == ["e1", "e2"]


def test_a_read_whose_answer_was_lost_holds_the_position(
    redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client reads again when an answer does not come; what the first read took stays pending until the next run."""
    monkeypatch.setattr("online.streams.archiver.BATCH_ENTRIES", 1)
    accept(redis_client, event("e1"), event("e2"))
    (first, _), _ = entries(redis_client, STREAM)
    read, lost = redis_client.xreadgroup, []

    def lossy(group: str, consumer: str, streams: dict[str, str], **more: Any) -> Any:
        answer = read(group, consumer, streams, **more)
        if answer and streams.get(STREAM) == ">" and not lost:
            lost.append(answer)
            answer = read(group, consumer, streams, **more)
        return answer

    monkeypatch.setattr(redis_client, "xreadgroup", lossy)
    assert archive(redis_client, KEYS, tmp_path) == 1
    assert archived(tmp_path) == ["e2"]
    assert read_positions(tmp_path)[STREAM] == before(first), "the positions claim what is not in the lake"
    assert archive(redis_client, KEYS, tmp_path) == 1
    assert archived(tmp_path) == ["e1", "e2"]


def test_who_has_lost_the_lease_moves_no_position_and_loses_nothing(redis_client: redis.Redis, tmp_path: Path) -> None:
    accept(redis_client, event("e1"), event("e2"))
    others: list[int] = []

    def stall(step: Step) -> None:
        if step == "file" and not others:
            redis_client.delete(KEYS.archive_lease())  # as if it had run out while this process stood still
            others.append(archive(redis_client, KEYS, tmp_path))

    with pytest.raises(Unavailable, match="lease"):
        archive(redis_client, KEYS, tmp_path, step=stall)
    assert others == [2]
    assert set(archived(tmp_path)) == {"e1", "e2"}
    assert archive(redis_client, KEYS, tmp_path) == 0


def test_a_redis_that_dies_meanwhile_is_told_as_such(tmp_path: Path) -> None:
    with server(tmp_path / "redis") as running, running.client() as client:
        accept(client, event("e1"))
        with pytest.raises(Unavailable, match="goes on later"):
            archive(client, KEYS, tmp_path, step=lambda step: running.kill())


class TestPoison:
    @pytest.mark.parametrize(
        "raw",
        [
            b"not JSON",
            b"\xff\xfe",
            b"[]",
            b"5",
            b"{}",
            orjson.dumps(event("e", type=["open"])),
            orjson.dumps(event("e", user_id=None)),
            orjson.dumps(event("e", claps=2**40)),
            orjson.dumps(event("e", dwell_s="long")),
            orjson.dumps(event("e", occurred_at=5)),
            orjson.dumps(event("e", occurred_at="0001-01-01T00:00:00+14:00")),
        ],
    )
    def test_it_is_parked_after_a_few_tries_and_its_batch_mates_are_archived_at_once(
        self, redis_client: redis.Redis, tmp_path: Path, raw: bytes
    ) -> None:
        accept(redis_client, event("e1"))
        bad = poison(redis_client, raw)
        accept(redis_client, event("e2"))
        assert archive(redis_client, KEYS, tmp_path) == 2
        assert archived(tmp_path) == ["e1", "e2"]
        assert read_positions(tmp_path)[STREAM] == before(bad), "the positions claim what is not in the lake"
        for _ in range(MAX_TRIES - 2):
            archive(redis_client, KEYS, tmp_path)
        assert dead_letters(redis_client, KEYS) == [], "it was given up too early"
        archive(redis_client, KEYS, tmp_path)
        (one,) = dead_letters(redis_client, KEYS)
        assert (one.stream, one.entry_id, one.fields) == (STREAM, bad, {b"event": raw})
        assert one.error
        assert stream_order(read_positions(tmp_path)[STREAM]) > stream_order(bad)
        assert archive(redis_client, KEYS, tmp_path) == 0
        assert archived(tmp_path) == ["e1", "e2"], "something was archived twice"

    def test_new_entries_pass_it_while_it_is_tried(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        bad = poison(redis_client)
        archive(redis_client, KEYS, tmp_path)
        accept(redis_client, event("e1"))
        assert archive(redis_client, KEYS, tmp_path) == 1
        assert archived(tmp_path) == ["e1"]
        assert read_positions(tmp_path)[STREAM] == before(bad)

    def test_a_lake_that_cannot_be_written_parks_nothing(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        accept(redis_client, event("e1"))
        (tmp_path / "raw").write_text("in the way")
        for _ in range(MAX_TRIES + 1):
            with pytest.raises((NotADirectoryError, FileExistsError)):
                archive(redis_client, KEYS, tmp_path)
        (tmp_path / "raw").unlink()
        assert archive(redis_client, KEYS, tmp_path) == 1
        assert dead_letters(redis_client, KEYS) == []

    def test_an_entry_trimmed_while_it_was_pending_is_reported(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        accept(redis_client, event("e1"))
        redis_client.xgroup_create(STREAM, GROUP, id="0")
        redis_client.xreadgroup(GROUP, "archiver", {STREAM: ">"})
        redis_client.xtrim(STREAM, maxlen=0, approximate=False)
        archive(redis_client, KEYS, tmp_path)
        (one,) = dead_letters(redis_client, KEYS)
        assert "trimmed" in one.error


class TestUpgrade:
    def test_positions_of_an_older_release_are_gone_on_from(self, redis_client: redis.Redis, tmp_path: Path) -> None:
        accept(redis_client, event("e1"))
        position = redis_client.xinfo_stream(STREAM)["last-entry"][0].decode()  # type: ignore[index]
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / POSITIONS_FILE).write_bytes(orjson.dumps({STREAM: position}))
        accept(redis_client, event("e2"))
        assert archive(redis_client, KEYS, tmp_path) == 1
        assert archived(tmp_path) == ["e2"]

    def test_a_flushed_redis_whose_clock_is_behind_loses_nothing(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        accept(redis_client, event("e1"))
        archive(redis_client, KEYS, tmp_path)
        redis_client.flushall()
        redis_client.xadd(STREAM, {"event": orjson.dumps(event("e2"))}, id="5-1")
        assert archive(redis_client, KEYS, tmp_path) == 1
        assert archived(tmp_path) == ["e1", "e2"]
        assert read_positions(tmp_path)[STREAM] == "5-1", "a position of the stream before would hide what is new"

    def test_a_redis_restored_to_an_older_state_repeats_and_loses_nothing(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        accept(redis_client, event("e1"))
        archive(redis_client, KEYS, tmp_path)
        older = redis_client.dump(STREAM)
        accept(redis_client, event("e2"))
        archive(redis_client, KEYS, tmp_path)
        redis_client.restore(STREAM, 0, older, replace=True)  # type: ignore[arg-type]  # e2 and its acknowledgement are gone
        redis_client.xadd(STREAM, {"event": orjson.dumps(event("e3"))})
        assert archive(redis_client, KEYS, tmp_path) == 1
        assert archived(tmp_path) == ["e1", "e2", "e3"]

    def test_a_lake_restored_from_a_backup_gets_again_what_the_streams_still_hold(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        accept(redis_client, event("e1"))
        archive(redis_client, KEYS, tmp_path / "lost")
        assert archive(redis_client, KEYS, tmp_path / "restored") == 1
        assert archived(tmp_path / "restored") == ["e1"]
        assert archive(redis_client, KEYS, tmp_path / "restored") == 0


def test_a_file_never_replaces_one_that_holds_other_entries(redis_client: redis.Redis, tmp_path: Path) -> None:
    """As when the first and the last entry of a batch are held back, and pass with a later release."""
    accept(redis_client, event("e1"), event("e2"), event("e3"))
    stored: Any = redis_client.xrange(STREAM)
    first, middle, last = stored
    write(tmp_path, STREAM, convert([first, middle, last]))
    write(tmp_path, STREAM, convert([first, last]))
    assert archived(tmp_path) == ["e1", "e1", "e2", "e3", "e3"]
    write(tmp_path, STREAM, convert([first, middle, last]))
    assert archived(tmp_path) == ["e1", "e1", "e2", "e3", "e3"], "the same entries must make the same file"
