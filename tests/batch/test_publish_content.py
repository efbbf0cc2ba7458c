"""What stands in a snapshot, as read back from Redis: rows, indices, defaults and profiles."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from batch.publish import publish
from features.errors import BadInput
from features.keys import Keys, hash64
from features.languages import language_code
from features.registry import BY_NAME
from features.snapshot import ABSENT, NO_CAP, PROFILE, Manifest
from features.snapshot_reader import profile_place, read_bucket, read_tables
from tests.batch.feature_lake import AS_OF, HOUR, Row, Rows, many, story, user, vector, write_features
from tests.online.colliding_ids import colliding_ids

pytest_plugins = ["tests.fixtures_redis"]
KEYS = Keys()


def published(lake: Path, rows: Rows, client: redis.Redis) -> Manifest:
    write_features(lake, rows)
    return publish(lake, AS_OF, client, KEYS, now=AS_OF + HOUR, kept=3)


def stories_of(lake: Path, rows: Rows, client: redis.Redis) -> dict[str, Row]:
    table = read_tables(client, KEYS, published(lake, rows, client))["stories"]
    return {row["story_id"]: row for row in table.to_pylist()}


def profile_of(client: redis.Redis, manifest: Manifest, user_id: str) -> dict[str, np.ndarray]:
    piece, field = profile_place(manifest, hash64(user_id))
    return PROFILE.decode(read_bucket(client, KEYS, piece)[field])


class TestWhichStoriesAreIn:
    def test_the_version_in_force_counts(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        versions = [
            story("s", 9, title="first", valid_until=AS_OF - HOUR),
            story("s", 9, title="second", updated_at=AS_OF - HOUR, valid_until=AS_OF + HOUR),
            story("s", 9, title="from after as_of", updated_at=AS_OF + HOUR),
        ]
        found = stories_of(tmp_path, {"valid_stories": versions}, redis_client)
        assert [row["title"] for row in found.values()] == ["second"]

    def test_withdrawn_ones_and_those_not_known_yet_are_out(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        rows = [
            story("withdrawn", 9, deleted_at=AS_OF),
            story("withdrawn later", 9, deleted_at=AS_OF + timedelta(microseconds=1)),
            story("from after as_of", -1),
        ]
        assert list(stories_of(tmp_path, {"valid_stories": rows}, redis_client)) == ["withdrawn later"]

    def test_scheduled_ones_are_in_with_their_authors_rates(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        """No stream tells of them when their time comes. Until then the rule `too_old` keeps them back."""
        rows: Rows = {
            "valid_stories": [story("scheduled", -1, updated_at=AS_OF - HOUR, author_id="a"), story("out", 1)],
            "author_features": [{"author_id": "a", "author_open_rate": 0.5, "author_read_rate": 0.25}],
        }
        found = stories_of(tmp_path, rows, redis_client)
        assert list(found) == ["out", "scheduled"]
        rates = [found["scheduled"][name] for name in ("story_open_rate", "story_read_rate", "story_popularity")]
        assert rates == [0.5, 0.25, BY_NAME["story_popularity"].default]

    def test_rows_stand_by_time_then_id(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        rows = [story("new", 1), story("b", 5), story("a", 5), story("é", 5), story("z", 5)]
        found = stories_of(tmp_path, {"valid_stories": rows}, redis_client)
        assert list(found) == ["a", "b", "z", "é", "new"]


class TestStoryColumns:
    def test_what_is_not_known_has_its_default(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        rows = {"valid_stories": [story("bare", 1, visibility=None, members_only=None)]}
        bare = stories_of(tmp_path, rows, redis_client)["bare"]
        assert bare["author"] == bare["publication"] == bare["language"] == ABSENT
        assert bare["topics"] == []
        assert bare["title"] is None
        assert np.isnan(bare["reading_time_s"])
        assert bare["updated_at"] == bare["published_at"]
        assert bare["visibility"] == 0, "unknown visibility must mean public"
        assert bare["members_only"] is False
        assert bare["story_read_rate"] == pytest.approx(BY_NAME["story_read_rate"].default)
        assert bare["vector"] == [], "no vectors at all: of length 0"
        assert bare["similar"] == [ABSENT] * 10
        assert bare["similarity"] == [0.0] * 10

    def test_names_are_indices_into_sorted_tables(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        rows: Rows = {
            "valid_stories": [
                story("s", 2, author_id="b", publication_id="p", topics=["y", "x"], language="en"),
                story(
                    "t",
                    1,
                    updated_at=AS_OF - HOUR / 2,
                    author_id="c",
                    visibility="unlisted",
                    members_only=True,
                    language="de",
                ),
            ],
            # `a` has no story now, but may publish one before the next snapshot.
            "author_features": [
                {"author_id": "a", "author_open_rate": 0.5},
                {"author_id": "c", "author_open_rate": 0.7},
            ],
            # All of the Portuguese ones are withdrawn.
            "language_features": [
                {"language": "en", "language_open_rate": 0.4},
                {"language": "pt", "language_open_rate": 0.2},
            ],
        }
        tables = read_tables(redis_client, KEYS, published(tmp_path, rows, redis_client))
        assert tables["authors"]["id"].to_pylist() == ["a", "b", "c"]
        assert tables["authors"]["hash"].to_pylist() == [hash64(a) for a in "abc"]
        assert tables["authors"]["author_open_rate"].to_pylist() == pytest.approx([0.5, 0.1, 0.7])
        assert tables["topics"]["id"].to_pylist() == ["x", "y"]
        assert tables["languages"]["id"].to_pylist() == ["de", "en", "pt"]
        assert tables["languages"]["language_open_rate"].to_pylist() == pytest.approx([0.1, 0.4, 0.2])
        s, t = tables["stories"].to_pylist()
        assert (s["author"], s["publication"], s["topics"], s["language"]) == (1, 0, [1, 0], 1)
        assert (t["author"], t["publication"], t["topics"], t["language"]) == (2, ABSENT, [], 0)
        assert (t["visibility"], t["members_only"]) == (2, True)
        assert t["updated_at"] == int((AS_OF - HOUR / 2).timestamp() * 1e6)

    def test_features_and_vectors_go_to_their_story(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        rows: Rows = {
            "valid_stories": [story("a", 3), story("b", 2), story("c", 1)],
            "story_features": [{"story_id": "c", "story_momentum": 3.0}, {"story_id": "a", "story_momentum": 1.0}],
            "als_vectors": [vector("story", "b", 1, 2), vector("story", "gone", 3, 4), vector("user", "a", 5, 6)],
        }
        found = stories_of(tmp_path, rows, redis_client)
        assert [row["story_momentum"] for row in found.values()] == [1.0, 0.0, 3.0]
        assert [row["vector"] for row in found.values()] == [[0, 0], [1, 2], [0, 0]]

    def test_neighbours_are_live_rows_without_gaps(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        pairs = [("a", 0, "gone", 0.9), ("a", 1, "c", 0.8), ("a", 2, "b", 0.7), ("c", 0, "a", 0.6)]
        rows: Rows = {
            "valid_stories": [story("a", 3), story("b", 2), story("c", 1)],
            "similar_stories": [
                {"story_id": s, "rank": rank, "similar_story_id": other, "similarity": similarity}
                for s, rank, other, similarity in pairs
            ],
        }
        found = stories_of(tmp_path, rows, redis_client)
        assert found["a"]["similar"][:3] == [2, 1, ABSENT]
        assert found["a"]["similarity"][:3] == pytest.approx([0.8, 0.7, 0.0])
        assert found["b"]["similar"][0] == ABSENT
        assert found["c"]["similar"][:2] == [0, ABSENT]

    def test_top_stories_keep_their_order_within_a_language(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        ranked = [("*", 0, "b", 9.0), ("*", 1, "gone", 8.0), ("*", 2, "a", 7.0), ("en", 0, "a", 7.0)]
        rows: Rows = {
            "valid_stories": [story("a", 3, language="en"), story("b", 2)],
            "top_stories": [{"language": lang, "rank": r, "story_id": s, "heat": h} for lang, r, s, h in ranked],
        }
        top = read_tables(redis_client, KEYS, published(tmp_path, rows, redis_client))["top"]
        assert list(zip(*top.to_pydict().values(), strict=True)) == [(ABSENT, 1, 9.0), (ABSENT, 0, 7.0), (0, 0, 7.0)]


class TestPromotions:
    def promotion(self, promotion_id: str, story_id: str, ends_in_h: float = 1, **more: Any) -> Row:
        interval = {"starts_at": AS_OF - HOUR, "ends_at": AS_OF + ends_in_h * HOUR, "valid_from": AS_OF - HOUR}
        return {"promotion_id": promotion_id, "story_id": story_id, "priority": 0} | interval | more

    def test_they_stand_by_priority_then_id_with_the_rows_of_their_stories(
        self, tmp_path: Path, redis_client: redis.Redis
    ) -> None:
        rows: Rows = {
            "valid_stories": [story("a", 3), story("b", 2)],
            "valid_promotions": [
                self.promotion("p-2", "a"),
                self.promotion("p-1", "b"),
                self.promotion("p-3", "a", priority=5, daily_cap_per_user=2),
            ],
        }
        found = read_tables(redis_client, KEYS, published(tmp_path, rows, redis_client))["promotions"].to_pydict()
        assert found["promotion_id"] == ["p-3", "p-1", "p-2"]
        assert found["row"] == [0, 1, 0]
        assert found["daily_cap"] == [2, NO_CAP, NO_CAP]
        assert found["hash"] == [hash64("p-3"), hash64("p-1"), hash64("p-2")]

    def test_ended_ones_and_those_of_stories_that_are_not_live_are_out_and_the_latter_counted(
        self, tmp_path: Path, redis_client: redis.Redis
    ) -> None:
        rows: Rows = {
            "valid_stories": [story("a", 3), story("gone", 3, deleted_at=AS_OF - HOUR), story("later", -1)],
            "valid_promotions": [
                self.promotion("p-ended", "a", ends_in_h=0),  # its end is the first moment after it
                self.promotion("p-scheduled", "a", starts_at=AS_OF + HOUR / 2),
                self.promotion("p-unheard", "a", valid_from=AS_OF + HOUR / 2),
                self.promotion("p-gone", "gone"),
                self.promotion("p-later", "later"),
                self.promotion("p-unknown", "nowhere"),
            ],
        }
        manifest = published(tmp_path, rows, redis_client)
        assert read_tables(redis_client, KEYS, manifest)["promotions"]["promotion_id"].to_pylist() == ["p-scheduled"]
        assert manifest.counts["promotions_without_story"] == 3


class TestUsers:
    def test_a_profile_holds_all_that_is_known(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        created_at = AS_OF - 100 * HOUR
        ada = user(
            "ada",
            created_at=created_at,
            updated_at=created_at + HOUR,
            is_member=True,
            languages=["de", "en"],
            follow_authors=["a", "b"],
            block_topics=["t"],
            read=[{"story_id": "s2", "at": AS_OF - HOUR}, {"story_id": "s1", "at": AS_OF - 2 * HOUR}],
            hidden=["s3"],
            seen=[{"story_id": "s4", "times": 3}],
        )
        rows: Rows = {
            "user_profiles": [user("before ada"), ada, user("bob")],
            "user_author_affinity": [
                {"user_id": "bob", "author_id": "b", "affinity": -0.5, "weight": 1.0},
                {"user_id": "ada", "author_id": "b", "affinity": 0.5, "weight": 1.0},
                {"user_id": "ada", "author_id": "a", "affinity": 0.25, "weight": 1.0},
                {"user_id": "nobody", "author_id": "a", "affinity": 0.25, "weight": 1.0},
            ],
            "user_topic_affinity": [
                {
                    "user_id": "ada",
                    "topic_id": "t",
                    "affinity": 0.75,
                    "weight": 6.0,
                    "engagement": 5.0,
                    "impressions": 9.0,
                }
            ],
            "als_vectors": [vector("user", "bob", 1, 2), vector("user", "ada", 3, 4), vector("story", "ada", 5, 6)],
        }
        manifest = published(tmp_path, rows, redis_client)
        assert manifest.counts["users"] == 3
        got = {name: values.tolist() for name, values in profile_of(redis_client, manifest, "ada").items()}
        an_hour_before = int((AS_OF - HOUR).timestamp() * 1e6)
        expected = {name: [] for name, _ in PROFILE.fields} | {
            "created_at": [int(created_at.timestamp() * 1e6)],
            "updated_at": [int((created_at + HOUR).timestamp() * 1e6)],
            "is_member": [1],
            "languages": [language_code("de"), language_code("en")],
            "follow_author": [hash64("a"), hash64("b")],
            "follow_author_at": [an_hour_before] * 2,
            "block_topic": [hash64("t")],
            "block_topic_at": [an_hour_before],
            "author_affinity_ids": [hash64("a"), hash64("b")],
            "author_affinity": [0.25, 0.5],
            "topic_affinity_ids": [hash64("t")],
            "topic_affinity": [0.75],
            "topic_engagement": [5.0],
            "topic_impressions": [9.0],
            "vector": [3.0, 4.0],
            "read": [hash64("s2"), hash64("s1")],
            "read_at": [int((AS_OF - HOUR).timestamp() * 1e6), int((AS_OF - 2 * HOUR).timestamp() * 1e6)],
            "hidden": [hash64("s3")],
            "hidden_at": [an_hour_before],
            "seen": [hash64("s4")],
            "seen_times": [3],
        }
        assert got == expected
        bob = profile_of(redis_client, manifest, "bob")
        assert bob["author_affinity"].tolist() == [-0.5]
        assert bob["vector"].tolist() == [1.0, 2.0]
        assert bob["created_at"].size == 0, "an unknown date must not become 1970"

    def test_everyone_is_found_in_one_of_several_buckets(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        manifest = published(tmp_path, many(10, 700), redis_client)
        assert len(manifest.users) == 4, "700 users at 256 a bucket, rounded up to a power of two"
        for i in range(700):
            profile = profile_of(redis_client, manifest, f"p{i}")
            assert profile["vector"].tolist() == [1.0, i]
            assert profile["follow_author"].tolist() == [hash64(f"a{i % 10}")]


class TestNothing:
    def test_an_empty_lake_makes_an_empty_snapshot(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        manifest = published(tmp_path, {}, redis_client)
        assert set(manifest.counts.values()) == {0}
        assert manifest.users == [""]
        assert read_tables(redis_client, KEYS, manifest)["stories"].num_rows == 0


class TestRefused:
    def refuses(self, lake: Path, rows: Rows, client: redis.Redis, message: str) -> None:
        with pytest.raises(BadInput, match=message):
            published(lake, rows, client)
        assert client.keys(KEYS.manifest("*")) == [], "something was staged before the input was refused"

    def test_two_stories_of_one_hash(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        rows = [story("a", 1, story_hash=7), story("b", 2, story_hash=7), story("c", 3)]
        self.refuses(tmp_path, {"valid_stories": rows}, redis_client, "stories 'a' and 'b' have the same 64-bit hash")

    def test_two_users_of_one_hash(
        self, tmp_path: Path, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("batch.snapshot_users.hash64_many", lambda ids: np.full(len(ids), 7))
        rows = {"user_profiles": [user("ada"), user("bob")]}
        self.refuses(tmp_path, rows, redis_client, "users 'ada' and 'bob' have the same 64-bit hash")

    def test_vectors_of_two_lengths(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        rows = {"als_vectors": [vector("user", "a", 1.0), vector("user", "b", 1.0, 2.0)]}
        self.refuses(tmp_path, rows, redis_client, "als_vectors holds vectors of 2 lengths")

    def test_an_as_of_without_a_finished_run(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        write_features(tmp_path, {})
        with pytest.raises(BadInput, match=r"No batch run of 2026-01-31T01:00:00.* has finished.*rex batch --as-of"):
            publish(tmp_path, AS_OF + HOUR, redis_client, KEYS, now=AS_OF, kept=3)

    def test_a_run_that_lacks_a_dataset(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        write_features(tmp_path, {})
        folder = tmp_path / "features" / "top_stories"
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(BadInput, match="has no top_stories for 2026-01-31"):
            publish(tmp_path, AS_OF, redis_client, KEYS, now=AS_OF, kept=3)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"positions": 3}'])
    def test_a_damaged_run_file(self, tmp_path: Path, redis_client: redis.Redis, content: str) -> None:
        write_features(tmp_path, {})
        next((tmp_path / "features" / "_runs").iterdir()).write_text(content)
        with pytest.raises(BadInput, match="is damaged"):
            publish(tmp_path, AS_OF, redis_client, KEYS, now=AS_OF, kept=3)

    def test_a_file_that_is_not_parquet(self, tmp_path: Path, redis_client: redis.Redis) -> None:
        write_features(tmp_path, {})
        path = next((tmp_path / "features" / "top_stories").rglob("*.parquet"))
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises(BadInput, match="top_stories cannot be read"):
            publish(tmp_path, AS_OF, redis_client, KEYS, now=AS_OF, kept=3)


class TestFormerKeys:
    def test_are_those_of_earlier_versions_and_of_stories_that_are_gone(
        self, tmp_path: Path, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows: Rows = {
            "valid_stories": [
                story("same", 9, duplicate_key=1, valid_until=AS_OF - HOUR),
                story("same", 9, duplicate_key=1, updated_at=AS_OF - HOUR),
                story("edited", 9, duplicate_key=2, valid_until=AS_OF - HOUR),
                story("edited", 9, duplicate_key=3, updated_at=AS_OF - HOUR, valid_until=AS_OF + HOUR),
                story("edited", 9, duplicate_key=4, updated_at=AS_OF + HOUR),  # nobody has seen that one yet
                story("gone", 9, duplicate_key=5, valid_until=AS_OF - HOUR),
                story("gone", 9, duplicate_key=5, updated_at=AS_OF - HOUR, deleted_at=AS_OF - HOUR),
            ]
        }
        tables = read_tables(redis_client, KEYS, published(tmp_path, rows, redis_client))
        found = {(row["hash"], row["key"]) for row in tables["former_keys"].to_pylist()}
        assert found == {(hash64("edited"), 2), (hash64("gone"), 5)}
        assert tables["former_keys"]["hash"].to_pylist() == sorted(one for one, _ in found)


class TestTargets:
    def test_ids_that_edges_name_and_stories_do_not_are_kept_by_hash(
        self, tmp_path: Path, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("batch.snapshot_tables.MAX_TARGETS", 5)
        one, other = colliding_ids()  # anybody can follow such a pair: no reason not to publish
        rows: Rows = {
            "valid_stories": [story("s", 1, author_id="a", topics=["t"])],
            "user_profiles": [
                user("ada", follow_authors=["a", "quiet", one], mute_topics=["a", "t"], block_publications=["p"]),
                user("bob", follow_authors=["quiet", one, other, "z-only-one-follows-beyond-the-cap"]),
                user("cy", follow_authors=[other], block_publications=["p"], mute_topics=["a"]),
            ],
        }
        tables = read_tables(redis_client, KEYS, published(tmp_path, rows, redis_client))
        kept = ["a", min(one, other), "p", "quiet"]  # `a` is an author with a story, but no topic of one
        assert tables["targets"].to_pylist() == sorted(
            ({"hash": hash64(ident), "id": ident} for ident in kept), key=lambda row: row["hash"]
        )
        assert tables["authors"]["id"].to_pylist() == ["a"]
