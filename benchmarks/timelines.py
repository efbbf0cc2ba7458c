"""Delivery: what a push costs beside the bare command, what a celebrity's story costs, and a hybrid read in full."""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import redis
from rich.progress import Progress

from batch.publish import publish_content
from benchmarks.big_snapshot import AS_OF, big_content, drawn_model
from benchmarks.measuring import TracedMetrics, elapsed_ms, last_trace
from benchmarks.results import Result, measured
from features.keys import Keys, hash64
from features.lua import script
from features.settings import Settings
from features.times import micros
from online.components import default_components
from online.feed.preparing import FeedRequest
from online.ingest.stories import Story
from online.rankers.learned import ranker_for
from online.service_settings import OnlineSettings
from online.story_table.story_change import StoryChange, StoryVersion
from online.timelines.distributing import Distributor
from online.timelines.followers import OUTLIVES_S
from online.timelines.reconciling import Reconciler
from online.timelines.targets import Target
from online.timelines.timeline import VIA, encode_body
from online.wiring import AppState, wire
from rex.local.redis_server import server

STORIES = 500_000
USERS = 200
FOLLOWERS = 1_000
"""Of the author whose stories are pushed: the default threshold."""
PUSHED_STORIES = 20
CELEBRITIES = (1_000, 1_000_000)
"""Followers."""
CELEBRITY_THRESHOLD = 100
"""So far below both that neither crosses it, though every story drops some followers who are away: all are, here."""
CELEBRITY_STORIES = 30
PUSHED, PULLED, PAGE = 400, 50, 30
"""The field's textbook case of a hybrid read."""
READS, WARM_UP = 100, 10
READ_BAR_MS = 5.0
CHUNK = 10_000


def measure(progress: Progress) -> list[Result]:
    """All results, over one Redis and one snapshot of 500,000 stories."""
    with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as running, running.client() as client:
        rex = _loaded(client, running.url, Path(directory), progress)
        return [*_hybrid_read(rex, progress), *_fan_out(rex, progress), *_celebrity(rex, progress)]


def _loaded(client: redis.Redis, url: str, var: Path, progress: Progress) -> AppState:
    settings = Settings(var=var, lake=var / "lake", redis_url=url, redis_timeout_s=60)
    keys = Keys(settings.redis_prefix)
    content = big_content(STORIES, USERS, seed=0)
    publish_content(lambda: content, client, keys, now=AS_OF, kept=1, lease_ttl_s=60, progress=progress)
    rex = wire(client, settings, OnlineSettings(strict=True), default_components(), lambda: AS_OF, TracedMetrics())
    rex.live.refresh()
    return rex


def _reconciler(rex: AppState, online: OnlineSettings) -> Reconciler:
    return Reconciler(rex.client, rex.keys, online, rex.live, lambda: AS_OF)


def _distributor(rex: AppState, online: OnlineSettings) -> Distributor:
    return Distributor(rex.client, rex.keys, online, rex.live, _reconciler(rex, online))


def _story(ident: str, author: str, i: int) -> StoryChange:
    published_us = micros(AS_OF + timedelta(milliseconds=i))
    version = StoryVersion(author, None, (), "en", ident, published_us, 0, False)
    return StoryChange(ident, hash64(ident), version)


# Hybrid read.


def _hybrid_read(rex: AppState, progress: Progress) -> list[Result]:
    """A user with 400 stories pushed and 50 pulled, one cache-missing page of 30 after the other."""
    user = "user-0"
    _make_hybrid(rex, user)
    listed = rex.client.llen(rex.keys.timeline(user))
    assert listed == PUSHED, f"{listed} stories were pushed"
    times, stages = _reads(rex, user, 0, progress)
    rex.live.loaded().ranker = ranker_for(rex.online, drawn_model(), "drawn")
    learned, _ = _reads(rex, user, READS + WARM_UP, progress)
    rex.live.loaded().ranker = ranker_for(rex.online, None, "")
    p50, p95 = np.percentile(times, [50, 95])
    about = rex.client.memory_usage(rex.keys.timeline_about(user)) or 0
    registered = rex.client.memory_usage(rex.keys.registered(user)) or 0
    entries = rex.client.memory_usage(rex.keys.timeline(user), samples=0) or 0
    return [
        measured("hybrid_read_500k_p50", float(p50), "ms", bar=READ_BAR_MS),
        measured("hybrid_read_500k_p95", float(p95), "ms"),
        *(measured(f"hybrid_read_500k_{stage}_p50", float(np.median(ms)), "ms") for stage, ms in stages.items()),
        measured("hybrid_read_500k_learned_p50", float(np.median(learned)), "ms"),
        measured("timeline_entry_bytes", entries / PUSHED, "B"),
        measured("timeline_user_bytes", float(entries + about + registered), "B"),
    ]


def _reads(rex: AppState, user: str, first: int, progress: Progress) -> tuple[list[float], dict[str, list[float]]]:
    """Milliseconds of each read and of each stage, once warm; `first`: the second after AS_OF of the first one."""
    bar = progress.add_task("hybrid reads", total=READS + WARM_UP)
    times, found = [], set()
    stages: dict[str, list[float]] = {}
    for i in range(first, first + READS + WARM_UP):
        request = FeedRequest(user, limit=PAGE, surface="following", fresh=True)
        started = time.perf_counter()
        page = rex.feeds.feed(request, micros(AS_OF) + i * 1_000_000)
        times.append((time.perf_counter() - started) * 1000)
        assert len(page["items"]) == PAGE, f"a page of {len(page['items'])}"
        found.add(page["slate"]["candidates"])
        for report in last_trace(rex).stages:
            stages.setdefault(report.stage, []).append(report.ms)
        progress.advance(bar)
    assert found == {PUSHED + PULLED}, f"candidates: {found}"
    return times[WARM_UP:], {stage: ms[WARM_UP:] for stage, ms in stages.items()}


def _make_hybrid(rex: AppState, user: str) -> None:
    """New stories: 400 by followed authors who are pushed, 50 by one who is pulled; everything older is unfollowed.

    The authors are new ones, so that the user follows nothing else that has stories.
    """
    for number in range(40):
        _follow(rex, user, f"pushed-{number}", number)
    _follow(rex, user, "pulled", 40)
    reading = rex.feeds.context(user, micros(AS_OF)).user.state
    story_table = rex.live.get()
    names = {"author": story_table.authors, "publication": story_table.publications}
    count = 41
    for target_type, of in names.items():
        for index in of.by_hash.known(reading.edges("follow", target_type)).tolist():
            ident = str(of.id(index))
            if not ident.startswith("pu") or target_type == "publication":
                _edge(rex, user, "unfollow", target_type, ident, count)
                count += 1
    rex.client.sadd(rex.keys.pulled(), Target("author", hash64("pulled")).name)
    rex.client.incr(rex.keys.pulled_version())
    for i in range(PUSHED + PULLED):
        author = f"pushed-{i % 40}" if i < PUSHED else "pulled"
        at = AS_OF - timedelta(minutes=10 * i)
        story = Story(author_id=author, language="en", title=f"Story {i}", published_at=at, topics=[f"topic-{i % 30}"])
        rex.stories.put(f"new-{i}", story, AS_OF)
    _reconciler(rex, rex.online).reconcile(user)


def _follow(rex: AppState, user: str, author: str, i: int) -> None:
    _edge(rex, user, "follow", "author", author, i)


def _edge(rex: AppState, user: str, kind: str, target_type: str, target: str, i: int) -> None:
    event = {
        "event_id": f"{user}-{i}",
        "user_id": user,
        "type": kind,
        "target_type": target_type,
        "target_id": target,
        "occurred_at": AS_OF.isoformat(),
    }
    receipt = rex.events.accept([event], AS_OF)
    assert receipt.accepted == 1, receipt


# Fan-out.


def _fan_out(rex: AppState, progress: Progress) -> list[Result]:
    """Microseconds per insert: the worker's, and those of a pipelined loop of the same command with everything prepared."""
    users = [f"follower-{i}" for i in range(FOLLOWERS)]
    online = OnlineSettings(timelines={"push_threshold": FOLLOWERS})
    _make_active(rex, users, "pushed-author")
    distributor = _distributor(rex, online)
    bar = progress.add_task("fan-out", total=2 * PUSHED_STORIES)
    worker, bare, plain = [], [], []
    for i in range(PUSHED_STORIES):
        story = _story(f"w{i}", "pushed-author", 3 * i)
        worker.append(elapsed_ms(partial(distributor.distribute, story, f"{i}-1", _later())))
        progress.advance(bar)
        bare.append(_bare_push(rex.client, rex.keys, users, 3 * i + 1))
        plain.append(_bare_list(rex.client, users, 3 * i + 2))
        progress.advance(bar)
    lengths = {rex.client.llen(rex.keys.timeline(user)) for user in users}
    assert lengths == {2 * PUSHED_STORIES}, f"lengths of the timelines: {lengths}"
    each, least, list_push = (1e3 * float(np.median(times)) / FOLLOWERS for times in (worker, bare, plain))
    return [
        measured("fan_out_insert", each, "µs", baseline=least, bar=3 * least),
        measured("fan_out_insert_beside_lpush", each, "µs", baseline=list_push, aim=3 * list_push),
        measured("fan_out_inserts_per_s", 1e6 / each, "1/s"),
    ]


def _later() -> int:
    return micros(AS_OF + timedelta(days=1))


def _make_active(rex: AppState, users: list[str], author: str) -> None:
    """Users with empty timelines who follow the author."""
    target = Target("author", hash64(author))
    pipe = rex.client.pipeline(transaction=False)
    for user in users:
        _, about, registered = rex.keys.timeline_keys(user)
        pipe.hset(about, mapping={"seq": 0, "snapshot": "none", "follows": ""})
        pipe.expire(about, 1_000_000)
        pipe.sadd(registered, target.name)
        pipe.sadd(rex.keys.followers(*target), user)
    pipe.execute()


def _bare_push(client: redis.Redis, keys: Keys, users: list[str], i: int) -> float:
    """Milliseconds of the command alone: keys are known, answers are not looked at."""
    name = Target("author", hash64("pushed-author")).name
    published_us = micros(AS_OF + timedelta(milliseconds=i))
    body = encode_body(published_us, hash64(f"b{i}"), VIA["author"], f"b{i}")
    sha = client.script_load(script("online.timelines", "order", "push"))
    commands: list[tuple[Any, ...]] = [
        (*keys.timeline_keys(user), body, 800, OUTLIVES_S, name, "", "", 1) for user in users
    ]

    def loop() -> None:
        pipe = client.pipeline(transaction=False)
        for command in commands:
            pipe.evalsha(sha, 3, *command)
        assert pipe.execute() == [[1]] * len(users)

    return elapsed_ms(loop)


def _bare_list(client: redis.Redis, users: list[str], i: int) -> float:
    """Milliseconds of the least that any timeline needs: LPUSH, without order, duplicates, or a cap."""
    body = encode_body(i, i, 1, f"p{i}")
    names = [f"bare:{user}" for user in users]

    def loop() -> None:
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.lpush(name, body)
        pipe.execute()

    return elapsed_ms(loop)


# A celebrity.


def _celebrity(rex: AppState, progress: Progress) -> list[Result]:
    """Milliseconds of publishing for authors with so many followers, taken in turns: the least, for it is some round trips."""
    distributor = _distributor(rex, OnlineSettings(timelines={"push_threshold": CELEBRITY_THRESHOLD}))
    authors = {followers: f"celebrity-{followers}" for followers in CELEBRITIES}
    for followers, author in authors.items():
        _fill(rex, author, followers, progress)
    times: dict[int, list[float]] = {followers: [] for followers in CELEBRITIES}
    for i in range(CELEBRITY_STORIES):
        for followers, author in authors.items():
            story = _story(f"c{i}-{followers}", author, i)
            times[followers].append(elapsed_ms(partial(distributor.distribute, story, f"{i}-2", _later())))
    few, many = (min(times[followers]) for followers in CELEBRITIES)
    return [
        measured("celebrity_publish_1k", few, "ms"),
        measured("celebrity_publish_1m", many, "ms", baseline=few, bar=1.5 * few),
    ]


def _fill(rex: AppState, author: str, followers: int, progress: Progress) -> None:
    """A follower set, a chunk at a time."""
    key = rex.keys.followers("author", hash64(author))
    bar = progress.add_task(f"{followers:,} followers", total=followers)
    for start in range(0, followers, CHUNK):
        users = [f"fan-{i}" for i in range(start, min(start + CHUNK, followers))]
        rex.client.sadd(key, *users)
        progress.advance(bar, len(users))
