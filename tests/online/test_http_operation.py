"""Users, metrics and what lies in Redis, over real HTTP."""

from __future__ import annotations

import redis

from rex.local.redis import UNKNOWN, doubts, info_of
from tests.online.conftest import FeedServer


def test_a_user_is_told_as_known_now(served: FeedServer) -> None:
    served.send(
        served.event("e1", "u-fan", "follow", target_type="author", target_id="a1"),
        served.event("e2", "u-fan", "read", story_id="s05"),
    )
    user = served.http.get("/v1/users/u-fan").json()
    assert user["follows"]["author"] == ["a1", "a3"] or user["follows"]["author"] == ["a3", "a1"]
    assert user["recent_reads"] == ["s05", "s00"]
    assert (user["is_member"], user["known"], user["profile_age_s"] > 0) == (True, True, True)
    assert served.http.get("/v1/users/never-seen").json()["known"] is False


def test_metrics_count_pages_drops_and_problems(served: FeedServer) -> None:
    served.feed("u-fan")
    served.http.get("/v1/users/u-fan/feed?limit=0")
    text = served.http.get("/metrics").text
    assert 'rex_pages_total{cached="false"} 1.0' in text
    assert 'rex_dropped_total{reason="already_read",stage="preprocess"} 1.0' in text
    assert 'rex_problems_total{type="invalid_request"} 1.0' in text


def test_a_redis_that_would_forget_is_named(redis_client: redis.Redis) -> None:
    assert doubts(info_of(redis_client)) == []
    redis_client.config_set("appendonly", "no")
    try:
        told = doubts(info_of(redis_client))
    finally:
        redis_client.config_set("appendonly", "yes")
    assert len(told) == 1
    assert "would not survive" in told[0]


def test_a_redis_that_does_not_tell_its_policy_is_doubted(redis_client: redis.Redis) -> None:
    redis_client.execute_command("ACL", "SETUSER", "managed", "on", ">secret", "~*", "+@all", "-info")
    path = redis_client.connection_pool.connection_kwargs["path"]
    with redis.Redis(unix_socket_path=path, username="managed", password="secret") as managed:
        assert doubts(info_of(managed)) == [UNKNOWN]
    redis_client.execute_command("ACL", "DELUSER", "managed")


def test_every_key_but_the_snapshots_has_a_ttl(served: FeedServer) -> None:
    served.feed("u-fan")
    served.send(
        served.event("e1", "u-fan", "follow", target_type="author", target_id="a1"),
        served.event("e2", "u-fan", "read", story_id="s05"),
    )
    served.http.delete("/v1/stories/s01")
    kept = (
        "{snap}",
        "snap:",
        "blob:",
        "users:",
        ":events",
        ":served",
        "{stories}:stream",
        "{delivery}:returns",
    )  # bounded by snapshots_kept, trimming and caps
    for key in served.client.scan_iter("*"):
        if not any(part in key.decode() for part in kept):
            assert served.client.ttl(key) > 0, f"{key!r} has no TTL"
