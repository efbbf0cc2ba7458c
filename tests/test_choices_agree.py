"""The service and the batch make the same of any history of changes: late, early, at equal times, across a publish."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import redis
from pyspark.sql import Row, SparkSession

from batch.io import read_raw
from batch.jobs.user_profiles import user_profiles
from batch.jobs.validated import valid_edges, valid_events, valid_stories, valid_users
from batch.point_in_time import RunContext
from batch.settings import BatchSettings
from batch.snapshot_users import LISTS
from features.choices import BLOCKED_BY, CHOICES, EDGE_TYPES, HELD
from features.datasets import dataset
from features.keys import PARTITIONS, Keys, hash64
from features.snapshot import PROFILE, Manifest
from features.snapshot_reader import profile_field
from features.times import micros
from online.ingest.events import EventIntake
from online.service_settings import OnlineSettings
from online.streams.archiver import archive
from online.user.store import UserStore
from tests.batch.conftest import one_partition
from tests.fixtures_redis import redis_client, redis_server
from tests.lakes import NOON, ago, story, write_lake

__all__ = ["one_partition", "redis_client", "redis_server"]

KEYS = Keys("agree:")
HISTORIES = (1, 2, 3)
"""Seeds of histories, each among users of its own."""
USERS = {seed: tuple(f"u{seed}-{number}" for number in range(24)) for seed in HISTORIES}
EVERYONE = tuple(user for users in USERS.values() for user in users)
BEGIN, MIDDLE = ago(hours=2), ago(hours=1)
"""When the first events arrive, and the as_of of the snapshot between."""
TIMES = [ago(days=5) + timedelta(hours=hours) for hours in range(4)]
"""So few that many changes of one edge have equal times."""
Edges = dict[tuple[str, str, str], list[int]]
"""(user, kind, type of target) → hashes of the targets of the edges in force, sorted."""


def change(rng: random.Random, users: tuple[str, ...], number: int, now: datetime) -> dict[str, Any]:
    """A random change of one of a few edges; now and then as it happens, mostly of long ago."""
    user, kind = rng.choice(users), rng.choice(sorted(CHOICES))
    at = now if rng.random() < 0.2 else rng.choice(TIMES)
    about = {"event_id": f"e{rng.random()}-{number}", "user_id": user, "type": kind, "occurred_at": at.isoformat()}
    if kind not in EDGE_TYPES:
        return about | {"story_id": rng.choice(("s0", "s1"))}
    target_type = rng.choice(("author", "author", "topic"))
    return about | {"target_type": target_type, "target_id": rng.choice(users[:3])}


def arrive(client: redis.Redis, rng: random.Random, users: tuple[str, ...], start: datetime) -> None:
    """Some 700 changes in batches of 1 to 8; many arrive at the same moment as those before, and now and then the clock steps
    back."""
    intake, now = EventIntake(client, KEYS, OnlineSettings()), start
    for number in range(160):
        now += timedelta(microseconds=rng.choice((0, 0, 1_000_000, 2_000_000, -1_500_000)))
        sent = [change(rng, users, number, now) for _ in range(rng.randint(1, 8))]
        receipt = intake.accept(sent, now)
        assert receipt.accepted == len(sent), receipt


def in_streams(client: redis.Redis) -> dict[str, str]:
    """Position of each event stream now."""
    streams = [KEYS.event_stream(partition) for partition in range(PARTITIONS)]
    lasts: dict[str, Any] = {stream: client.xrevrange(stream, count=1) for stream in streams}
    return {stream: last[0][0].decode() for stream, last in lasts.items() if last}


def served(client: redis.Redis, profiles: dict[str, bytes], positions: dict[str, str]) -> Edges:
    """What requests of the service go by, over a snapshot of these profiles that is complete up to these positions."""
    snapshot = Manifest("v", "", "", "", 0, positions, {}, {}, ["all"], 0)
    client.delete(KEYS.users("all"))
    client.hset(KEYS.users("all"), mapping={profile_field(hash64(EVERYONE[0])): PROFILE.encode({})})
    for user, profile in profiles.items():
        client.hset(KEYS.users("all"), profile_field(hash64(user)), profile)  # type: ignore[arg-type]
    client.zadd(KEYS.versions(), {snapshot.version: 1})
    found = {}
    for user in EVERYONE:
        state = UserStore(client, KEYS).read_state(snapshot, user)
        found |= {(user, *edge): sorted(state.edges(*edge).tolist()) for edge in HELD}
    return found


def packed(row: Row) -> bytes:
    """The profile of a row of `user_profiles`, as a snapshot holds it."""
    arrays = {}
    for name, column in LISTS.items():
        arrays[name] = np.array([hash64(ident) for ident in row[column]], np.int64)
        arrays[f"{name}_at"] = np.array(
            [micros(at.replace(tzinfo=at.tzinfo or UTC)) for at in row[f"{column}_at"]], np.int64
        )
    return PROFILE.encode(arrays)


def of_batch(spark: SparkSession, lake: Path) -> dict[datetime, dict[str, bytes]]:
    """Profiles of everyone at MIDDLE and NOON, computed in one pass from the raw lake."""
    context = RunContext((MIDDLE, NOON), NOON, BatchSettings())
    raw = {name: read_raw(spark, lake, dataset(name)) for name in ("stories", "users", "edges", "events")}
    stories = valid_stories(raw["stories"], context=context).where("reason IS NULL")
    edges = valid_edges(raw["edges"], context=context).persist()  # asked twice
    events = valid_events(raw["events"], stories, context=context)
    users = valid_users(raw["users"], context=context)
    assert edges.where("reason IS NOT NULL").isEmpty()
    found: dict[datetime, dict[str, bytes]] = {MIDDLE: {}, NOON: {}}
    for row in user_profiles(users, edges, events.where("reason IS NULL"), context=context).collect():
        as_of = row["as_of"].replace(tzinfo=NOON.tzinfo) if row["as_of"].tzinfo is None else row["as_of"]
        found[as_of][row["user_id"]] = packed(row)
    return found


def test_of_any_history_service_and_batch_show_the_same_edges(
    spark: SparkSession, one_partition: None, redis_client: redis.Redis, tmp_path: Path
) -> None:
    write_lake(tmp_path, stories=[story("s0"), story("s1")], users=[{"user_id": "u0", "created_at": ago(days=9)}])
    for seed, users in USERS.items():
        arrive(redis_client, random.Random(seed), users, BEGIN)
    positions = in_streams(redis_client)
    for seed, users in USERS.items():
        arrive(redis_client, random.Random(1000 + seed), users, MIDDLE + timedelta(minutes=1))
    alone = served(redis_client, {}, {})
    archive(redis_client, KEYS, tmp_path)
    profiles = of_batch(spark, tmp_path)
    of_the_batch = served(redis_client, profiles[NOON], in_streams(redis_client))
    across = served(redis_client, profiles[MIDDLE], positions)
    assert sum(map(len, alone.values())) > 100, "the histories must leave edges in force"
    assert any(alone[user, BLOCKED_BY, "author"] for user in EVERYONE)
    assert different(alone, of_the_batch) == {}, "the service without a snapshot, and the batch"
    assert different(across, of_the_batch) == {}, "the service over a snapshot of the middle, and the batch"


def different(one: Edges, other: Edges) -> dict[Any, Any]:
    return {edge: (held, other[edge]) for edge, held in one.items() if held != other[edge]}
