"""What users and publishers can make Redis hold is bounded, and the bound costs nothing that a snapshot does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from batch.publish import publish_content
from batch.versions import trim_streams
from online.ingest.events import Event, EventIntake
from online.ingest.stories import Story, StoryIntake
from online.service_settings import OnlineSettings
from online.streams.archiver import archive, read_positions
from tests.online.archive_lake import KEYS, NOW, SETTINGS, event, stream_of
from tests.online.conftest import STORIES
from tests.online.small_world import content


class TestEdges:
    @pytest.fixture
    def intake(self, redis_client: redis.Redis) -> EventIntake:
        return EventIntake(redis_client, KEYS, OnlineSettings(ingest={"edges_kept": 3}))

    def follow(self, target: str) -> dict[str, Any]:
        return event(f"follow {target}", type="follow", story_id=None, target_type="author", target_id=target)

    def test_more_changes_than_are_kept_are_refused_and_can_be_sent_again(
        self, intake: EventIntake, redis_client: redis.Redis
    ) -> None:
        receipt = intake.accept([self.follow(f"a{number}") for number in range(5)], NOW)
        assert receipt.accepted == 3
        assert [(one.index, one.code) for one in receipt.rejected] == [(3, "too_many_edges"), (4, "too_many_edges")]
        assert len(fields_of(redis_client, KEYS.edges("u1"))) == 3 == redis_client.xlen(stream_of())
        unfollow = self.follow("a1") | {"event_id": "again", "type": "unfollow"}
        assert intake.accept([unfollow], NOW).accepted == 1, "a change of what is kept needs no room"
        last: Any = redis_client.xinfo_stream(stream_of())["last-entry"][0]  # type: ignore[index]
        wait_for_the_next_millisecond(redis_client, last)
        redis_client.xadd(stream_of(), {"event": b"{}"})
        redis_client.xtrim(stream_of(), maxlen=1, approximate=False)  # every kept snapshot has the others
        assert intake.accept([self.follow("a3")], NOW).accepted == 1
        assert len(fields_of(redis_client, KEYS.edges("u1"))) == 1

    def test_a_block_ends_a_follow_for_which_there_is_no_room(
        self, intake: EventIntake, redis_client: redis.Redis
    ) -> None:
        assert intake.accept([self.follow(f"a{number}") for number in range(3)], NOW).accepted == 3
        block = self.follow("a9") | {"event_id": "block", "type": "block"}
        assert intake.accept([block], NOW).accepted == 1
        states = {
            name.split(b"|")[3]: value.split(b"|")[1]
            for name, value in fields_of(redis_client, KEYS.edges("u1")).items()
        }
        assert states[b"a9"] == b"remove", "the snapshot may hold that follow"


def fields_of(client: redis.Redis, key: str) -> dict[bytes, bytes]:
    """The edges in a hash and their states."""
    found: dict[bytes, bytes] = client.hgetall(key)  # type: ignore[assignment]
    return {name: value for name, value in found.items() if b"|" in name}


class TestBlocks:
    def test_what_the_other_side_knows_of_one_is_its_last_state_in_whatever_order_it_is_told(
        self, redis_client: redis.Redis
    ) -> None:
        intake, about = EventIntake(redis_client, KEYS, OnlineSettings()), {"target_type": "author", "target_id": "a1"}
        states = []
        for kind in ("block", "unblock"):
            said = event(kind, type=kind, story_id=None, **about)
            assert intake.accept([said], NOW).accepted == 1
            states.append((Event.model_validate(said), *fields_of(redis_client, KEYS.refusals("u1")).values()))
        known = fields_of(redis_client, KEYS.blocked_by("a1"))
        for said, state in reversed(states):
            intake._act_on_the_other_side(said, state, NOW)
        assert fields_of(redis_client, KEYS.blocked_by("a1")) == known
        assert [state.split(b"|")[1] for state in known.values()] == [b"remove"]


class TestRefusals:
    def refusal(self, kind: str, number: int) -> dict[str, Any]:
        about = (
            {"story_id": None, "target_type": "author", "target_id": f"a{number}"} if kind in ("mute", "block") else {}
        )
        return event(f"{kind} {number}", type=kind, **({"story_id": f"s{number}"} | about))

    def test_have_room_when_follows_have_none(self, redis_client: redis.Redis) -> None:
        intake = EventIntake(redis_client, KEYS, OnlineSettings(ingest={"edges_kept": 1}))
        follow = TestEdges().follow
        assert intake.accept([follow("a1"), follow("a2")], NOW).accepted == 1
        refusals = [self.refusal(kind, 1) for kind in ("mute", "block", "hide", "report")]
        assert intake.accept(refusals, NOW).accepted == 4

    def test_that_find_no_room_are_refused_with_a_code_and_push_none_out(self, redis_client: redis.Redis) -> None:
        intake = EventIntake(redis_client, KEYS, OnlineSettings(ingest={"interactions_kept": 3, "refusals_kept": 4}))
        opens = [event(f"open {number}", story_id=f"s{number}") for number in range(150)]
        kinds = ("hide", "mute", "report", "block", "hide", "report")
        receipt = intake.accept([*(self.refusal(kind, n) for n, kind in enumerate(kinds)), *opens], NOW)
        refused = [(one.index, one.code) for one in receipt.rejected]
        assert refused == [(4, "too_many_refusals"), (5, "too_many_refusals")]
        kept = fields_of(redis_client, KEYS.refusals("u1"))
        assert {field.decode().split("|")[0] for field in kept} == {"hide", "mute", "report", "block"}
        assert redis_client.zcard(KEYS.interactions("u1")) == 3
        unhide = self.refusal("hide", 0) | {"type": "unhide", "event_id": "back"}
        assert intake.accept([unhide], NOW).accepted == 1, "taking back needs no room"


def wait_for_the_next_millisecond(client: redis.Redis, entry_id: bytes) -> None:
    while True:
        seconds, micros = client.time()
        if seconds * 1000 + micros // 1000 > int(entry_id.split(b"-")[0]):
            return


def test_documents_of_stories_go_with_the_entries_that_every_kept_snapshot_has(
    redis_client: redis.Redis, tmp_path: Path
) -> None:
    client = redis_client
    intake = StoryIntake(client, KEYS, SETTINGS)
    for name in ("s-old", "s-changed", "s-last"):
        intake.put(name, Story(published_at=NOW), NOW)
    archive(client, KEYS, tmp_path)
    made = content(STORIES, {}, NOW, positions=read_positions(tmp_path))
    publish_content(lambda: made, client, KEYS, now=NOW, kept=3)
    intake.put("s-changed", Story(published_at=NOW, title="Changed"), NOW)
    archive(client, KEYS, tmp_path)
    trim_streams(client, KEYS)
    kept: Any = client.hvals(KEYS.story_documents())
    assert sorted(orjson.loads(document)["story_id"] for document in kept) == ["s-changed", "s-last"]
    assert client.xlen(KEYS.story_stream()) == 2
