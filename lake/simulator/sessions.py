"""Sessions of one chunk of users, day after day: who comes when, what is shown and from which provider, what they do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, F64, I32, I64, Bools
from features.times import DAY_US
from lake.simulator.behaviour import CODE, EventColumns, Shown, respond
from lake.simulator.edges import AUTHOR, FOLLOW, PUBLICATION, TOPIC, Edges
from lake.simulator.policy import Beliefs, day_weights, live_rows
from lake.simulator.users import HOURS_FROM_UTC, times_of_day
from lake.simulator.world import Truth

USERS_PER_CHUNK = 256
"""Chunks are the unit of parallel work and of chance, so this is part of the world: changing it changes every lake."""
WEIGHTS_AT_ONCE = 1 << 20
"""Weights (users × live stories) per batch: 4 MB of float32 and 8 MB of their sums, near enough to the cache."""
SHORTEST_LIST, LONGEST_LIST = 5, 20
EVENTS_PER_SESSION = 16.0
"""First guess only: from the second day on a chunk goes by what its sessions yielded the day before."""
SOURCES = ("followed_authors", "followed_publications", "followed_topics", "trending", "fresh_stories")
TRENDING_SHARE = 0.1
"""Best-liked share of stories that is called trending when no follow explains it."""
NONE = -1
"""In a row of lists: the list is over."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many events each chunk should have made by the end of each day."""

    chunk_targets: F64
    """float64[chunks, days], cumulative"""
    expected: F64
    """float64[users, days]: relative number of sessions"""


def make_plan(truth: Truth, events: float) -> Plan:
    """Activity of everyone from the moment they join, scaled to `events`."""
    config = truth.config
    day_ends = config.starts_us + (np.arange(config.days) + 1) * DAY_US
    present = np.clip((day_ends - truth.users.created_us[:, None]) / DAY_US, 0, 1)
    expected = present * truth.users.activity[:, None]
    chunks = np.add.reduceat(expected, np.arange(0, config.users, USERS_PER_CHUNK), axis=0)
    return Plan(np.cumsum(chunks, axis=1) * (events / expected.sum()), expected)


def simulate_chunk(truth: Truth, beliefs: Beliefs, plan: Plan, chunk: int) -> dict[int, EventColumns]:
    """All events of a chunk of users, by UTC day number (days since 1970)."""
    users = np.arange(chunk * USERS_PER_CHUNK, min((chunk + 1) * USERS_PER_CHUNK, truth.config.users), dtype=np.int32)
    edges = truth.edges.at((truth.edges.user >= users[0]) & (truth.edges.user <= users[-1]))
    gone = (np.empty(0, np.int32), np.empty(0, np.int32))
    by_day: defaultdict[int, list[EventColumns]] = defaultdict(list)
    made, per_session = 0, EVENTS_PER_SESSION
    for day in range(truth.config.days):
        wanted = max(0, round((plan.chunk_targets[chunk, day] - made) / per_session))
        events = _one_day(truth, beliefs, plan, users, edges, gone, (chunk, day, wanted))
        made += len(events["story"])
        per_session = max(1.0, len(events["story"]) / wanted) if wanted else per_session
        ended = np.isin(events["type"], (CODE["read"], CODE["hide"], CODE["report"]))
        gone = (np.append(gone[0], events["user"][ended]), np.append(gone[1], events["story"][ended]))
        for number, part in _split_by_day(events):
            by_day[number].append(part)
    return {day: {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} for day, parts in by_day.items()}


def _one_day(
    truth: Truth,
    beliefs: Beliefs,
    plan: Plan,
    users: I32,
    edges: Edges,
    gone: tuple[I32, I32],
    what: tuple[int, int, int],
) -> EventColumns:
    chunk, day, wanted = what
    rng = truth.config.random("day", chunk, day)
    start = truth.config.starts_us + day * DAY_US
    user, at = _arrivals(truth, rng, users, plan.expected[users, day], start, wanted)
    in_force = edges.in_force(start)
    active = np.unique(user)
    low, high = live_rows(truth, start)
    step = max(1, WEIGHTS_AT_ONCE // max(1, high - low))
    shown = []
    for first in range(0, len(active), step):
        some = active[first : first + step]
        mine = (user >= some[0]) & (user <= some[-1])
        theirs = np.isin(gone[0], some)
        edges_now = in_force.at(np.isin(in_force.user, some))
        weights = day_weights(truth, beliefs, some, start, edges_now, (gone[0][theirs], gone[1][theirs]))
        lists = _lists(truth, rng, weights, np.searchsorted(some, user[mine]), at[mine], low)
        shown.append(_entries(lists, user[mine], at[mine], np.nonzero(mine)[0]))
    joined = _join(truth, beliefs, in_force, shown, ((chunk << 10) + day) << 24)
    events = respond(truth, rng, joined)
    kept = events["occurred_us"] < truth.config.ends_us
    return {name: values[kept] for name, values in events.items()}


def _arrivals(
    truth: Truth, rng: np.random.Generator, users: I32, expected: F64, start_us: int, wanted: int
) -> tuple[I32, I64]:
    """Sessions sorted by user: who and when, never before the account was made."""
    counts = rng.multinomial(wanted, expected / expected.sum()) if expected.sum() else np.zeros(len(users), np.int64)
    user = np.repeat(users, counts)
    offsets = np.array(HOURS_FROM_UTC, np.float64)[truth.users.home_language[user]]
    at = start_us + times_of_day(rng, offsets)
    created = truth.users.created_us[user]
    end = start_us + DAY_US
    later = created + ((end - created) * rng.random(len(user))).astype(np.int64)
    return user, np.where(at < created, later, at)


def _lists(truth: Truth, rng: np.random.Generator, weights: F32, rows: I64, at: I64, low: int) -> tuple[I64, F64]:
    ends = np.searchsorted(truth.stories.published_us, at) - low
    lengths = rng.integers(SHORTEST_LIST, LONGEST_LIST + 1, len(rows))
    columns, propensity = draw_lists(rng, weights, rows, ends, lengths)
    return np.where(columns == NONE, NONE, columns + low), propensity


def _entries(lists: tuple[I64, F64], user: I32, at: I64, session: I64) -> EventColumns:
    story, propensity = lists
    row, position = np.nonzero(story != NONE)
    return {
        "user": user[row],
        "story": story[row, position].astype(np.int32),
        "position": position.astype(np.int32),
        "request": session[row],
        "started_us": at[row],
        "propensity": propensity[row, position],
    }


def _join(truth: Truth, beliefs: Beliefs, in_force: Edges, parts: list[EventColumns], request_base: int) -> Shown:
    names = ("user", "story", "position", "request", "started_us", "propensity")
    empty: EventColumns = {name: np.empty(0, np.float64 if name == "propensity" else np.int64) for name in names}
    columns = {name: np.concatenate([part[name] for part in (parts or [empty])]) for name in names}
    columns["request"] = columns["request"] + request_base
    source = sources(truth, beliefs, in_force, columns["user"], columns["story"])
    return Shown(source=source, **columns)


def _split_by_day(events: EventColumns) -> list[tuple[int, EventColumns]]:
    number = events["occurred_us"] // DAY_US
    return [(int(day), {name: values[number == day] for name, values in events.items()}) for day in np.unique(number)]


def sources(truth: Truth, beliefs: Beliefs, in_force: Edges, user: I32, story: I32) -> NDArray[np.int8]:
    """Index into SOURCES: the nearest explanation of each impression."""
    stories = truth.stories
    follows = in_force.at(in_force.kind == FOLLOW)
    trending = beliefs.popularity >= np.quantile(beliefs.popularity, 1 - TRENDING_SHARE)
    source = np.where(trending[story], 3, 4).astype(np.int8)
    for slot in range(3):
        source[_follows(follows, TOPIC, user, stories.topics[story, slot])] = 2
    source[_follows(follows, PUBLICATION, user, stories.publication[story])] = 1
    source[_follows(follows, AUTHOR, user, stories.author[story])] = 0
    return source


def _follows(follows: Edges, target_type: int, user: I32, target: NDArray[np.signedinteger]) -> Bools:
    chosen = follows.at(follows.target_type == target_type)
    keys = (chosen.user.astype(np.int64) << 32) + chosen.target
    return np.isin((user.astype(np.int64) << 32) + target, keys)


def draw_lists(rng: np.random.Generator, weights: F32, rows: I64, ends: I64, lengths: I64) -> tuple[I64, F64]:
    """Lists of s sessions: columns int64[s, longest] (NONE where a list is over) and propensity float64[s, longest].

    Session i draws `lengths[i]` distinct columns of `weights[rows[i], :ends[i]]`, each time in proportion to the
    weights of what is left; fewer when fewer have weight. Drawing with replacement and skipping what is already in
    the list is the same as drawing without.
    """
    width = weights.shape[1]
    total = np.zeros(weights.size + 1)
    np.cumsum(weights.ravel(), dtype=np.float64, out=total[1:])
    low, high = total[rows * width], total[rows * width + ends]
    lengths = np.minimum(lengths, _eligible(weights, rows, ends))
    flat = _distinct(rng, total, low, high, lengths)
    shown = flat != NONE
    weight = np.where(shown, weights.ravel()[flat], 0).astype(np.float64)
    above = np.cumsum(weight, axis=1) - weight
    left = np.where(shown, (high - low)[:, None] - above, 1.0)
    return np.where(shown, flat - rows[:, None] * width, NONE), weight / left


def _eligible(weights: F32, rows: I64, ends: I64) -> I64:
    counts = (np.count_nonzero(weights[row, :end]) for row, end in zip(rows.tolist(), ends.tolist(), strict=True))
    return np.fromiter(counts, np.int64, len(rows))


def _distinct(rng: np.random.Generator, total: F64, low: F64, high: F64, lengths: I64) -> I64:
    """Flat positions int64[s, longest], distinct within a row, drawn by inverse distribution function."""
    chosen = np.full((len(lengths), int(lengths.max(initial=0))), NONE)
    filled = np.zeros(len(lengths), np.int64)
    while (open_rows := np.nonzero(filled < lengths)[0]).size:
        span = (high - low)[open_rows]
        at = low[open_rows] + rng.random((chosen.shape[1], len(open_rows))) * span
        at = np.minimum(at, np.nextafter(high[open_rows], 0))  # rounding must not step into the next user's weights
        for drawn in np.searchsorted(total, at, side="right") - 1:
            fresh = (filled[open_rows] < lengths[open_rows]) & (chosen[open_rows] != drawn[:, None]).all(axis=1)
            chosen[open_rows[fresh], filled[open_rows[fresh]]] = drawn[fresh]
            filled[open_rows[fresh]] += 1
    return chosen
