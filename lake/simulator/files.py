"""The world, and one day's events of everybody, as raw datasets: ids, times and strings as Arrow tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.arrays import I32, I64
from features.interactions import EVENT_TYPES
from features.raw_datasets import EDGE_KINDS, TARGET_TYPES, VISIBILITIES
from features.schema import TS
from features.times import DAY_US
from lake.simulator.behaviour import EventColumns
from lake.simulator.config import LANGUAGES, WorldConfig
from lake.simulator.sessions import SOURCES
from lake.simulator.stories import NEVER
from lake.simulator.users import SimulatedUsers
from lake.simulator.vocabulary import TOPICS, titles, vary
from lake.simulator.world import Truth

Codes = NDArray[Any]
LATE_SHARE, REPEATED_SHARE = 0.02, 0.005
"""Share of events that arrive hours or days late, and of those sent twice."""
LATE_MEAN_H = 14.0


def user_ids(n: int) -> pa.Array:
    """`u000042`, by row of user."""
    return pa.array([f"u{row:06d}" for row in range(n)])


def story_ids(n: int) -> pa.Array:
    """`s0001234`, by row of story."""
    return pa.array([f"s{row:07d}" for row in range(n)])


def publication_ids(n: int) -> pa.Array:
    """`p012`, by row of publication."""
    return pa.array([f"p{row:03d}" for row in range(n)])


def _times(us: I64) -> pa.Array:
    return pa.array(us, TS, mask=us == NEVER)


def named(names: tuple[str, ...], codes: Codes) -> pa.Array:
    return pa.array(names).take(pa.array(codes))


def _listed(names: tuple[str, ...], row: Codes, code: Codes, n: int) -> pa.Array:
    """list<string>[n]: of each row the names of its codes, in the given (sorted by row) order."""
    offsets = np.searchsorted(row, np.arange(n + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), named(names, code))


def users_table(users: SimulatedUsers) -> pa.Table:
    """Raw `users`."""
    n = len(users.created_us)
    row, language = np.nonzero(users.reads_language)
    return pa.table(
        {
            "user_id": user_ids(n),
            "created_at": _times(users.created_us),
            "languages": _listed(LANGUAGES, row, language, n),
            "is_member": users.is_member,
        }
    )


def stories_table(truth: Truth) -> pa.Table:
    """Raw `stories`: every version, by version time. An edited story gets a new title, a withdrawn one a `deleted_at`."""
    stories, n = truth.stories, truth.config.stories
    row, slot = np.nonzero(stories.topics >= 0)
    names = titles(truth.config, stories.language, stories.topics[:, 0], stories.copy_of)
    first = pa.table(
        {
            "story_id": story_ids(n),
            "author_id": user_ids(truth.config.users).take(pa.array(truth.authors.user[stories.author])),
            "publication_id": publication_ids(len(truth.authors.publication_topics)).take(
                pa.array(stories.publication, mask=stories.publication < 0)
            ),
            "topics": _listed(TOPICS, row, stories.topics[row, slot], n),
            "language": named(LANGUAGES, stories.language),
            "title": names,
            "published_at": _times(stories.published_us),
            "updated_at": _times(stories.published_us),
            "reading_time_s": stories.reading_time_s,
            "visibility": named(VISIBILITIES, stories.visibility),
            "members_only": stories.members_only,
            "deleted_at": pa.nulls(n, TS),
        }
    )
    edited = np.nonzero((stories.edited_us != NEVER) & (stories.edited_us < stories.withdrawn_us))[0]
    new_titles = pa.array([vary(names[row], 1) for row in edited], pa.string())
    second = _version(first, edited, "title", new_titles, stories.edited_us)
    withdrawn = np.nonzero(stories.withdrawn_us != NEVER)[0]
    third = _version(first, withdrawn, "deleted_at", _times(stories.withdrawn_us[withdrawn]), stories.withdrawn_us)
    return pa.concat_tables([first, second, third]).sort_by([("updated_at", "ascending"), ("story_id", "ascending")])


def _version(first: pa.Table, rows: Codes, column: str, values: pa.Array, moments: I64) -> pa.Table:
    chosen = first.take(pa.array(rows))
    chosen = chosen.set_column(chosen.column_names.index(column), column, values)
    return chosen.set_column(chosen.column_names.index("updated_at"), "updated_at", _times(moments[rows]))


def edges_table(truth: Truth) -> pa.Table:
    """Raw `edges`: a log of additions and removals, by time."""
    edges = truth.edges
    removed = np.nonzero(edges.removed_us != NEVER)[0]
    rows = np.append(np.arange(len(edges.user)), removed)
    moment = np.append(edges.added_us, edges.removed_us[removed])
    order = np.argsort(moment, kind="stable")
    chosen = edges.at(rows[order])
    return pa.table(
        {
            "event_id": numbered("g", np.arange(len(rows))),
            "user_id": user_ids(truth.config.users).take(pa.array(chosen.user)),
            "kind": named(EDGE_KINDS, chosen.kind),
            "target_type": named(TARGET_TYPES, chosen.target_type),
            "target_id": _target_ids(truth).take(pa.array(_target_rows(truth, chosen.target_type, chosen.target))),
            "op": named(("add", "remove"), (order >= len(edges.user)).astype(np.int8)),
            "occurred_at": _times(moment[order]),
        }
    )


def _target_ids(truth: Truth) -> pa.Array:
    authors = user_ids(truth.config.users).take(pa.array(truth.authors.user))
    return pa.concat_arrays([authors, publication_ids(len(truth.authors.publication_topics)), pa.array(TOPICS)])


def _target_rows(truth: Truth, target_type: Codes, target: I32) -> I64:
    authors, publications = len(truth.authors.reach), len(truth.authors.publication_topics)
    return np.asarray(np.array((0, authors, authors + publications), np.int64)[target_type] + target)


def numbered(prefix: str, numbers: I64) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(numbers), pa.string()), "")


def event_table_maker(config: WorldConfig) -> Callable[[int, EventColumns], pa.Table]:
    """A function (UTC day number, events of that day) → raw `events`, by time, with late and repeated ones."""
    users, stories = user_ids(config.users), story_ids(config.stories)

    def make(day: int, events: EventColumns) -> pa.Table:
        rng = config.random("arrival", day)
        order = np.argsort(events["occurred_us"], kind="stable")
        of = {name: values[order] for name, values in events.items()}
        n = len(order)
        table = pa.table(
            {
                "event_id": numbered(f"e{day - config.starts_us // DAY_US}-", np.arange(n)),
                "user_id": users.take(pa.array(of["user"])),
                "story_id": stories.take(pa.array(of["story"])),
                "type": named(EVENT_TYPES, of["type"]),
                "occurred_at": pa.array(of["occurred_us"], TS),
                "received_at": pa.array(_received(config, rng, of["occurred_us"]), TS),
                "dwell_s": pa.array(of["dwell_s"], mask=np.isnan(of["dwell_s"])),
                "claps": pa.array(of["claps"], mask=of["claps"] == 0),
                "request_id": numbered("r", of["request"]),
                "position": of["position"],
                "source": named(SOURCES, of["source"]),
                "propensity": pa.array(of["propensity"], mask=np.isnan(of["propensity"])),
            }
        )
        repeats = np.nonzero(rng.random(n) < REPEATED_SHARE)[0]
        return table.take(pa.array(np.sort(np.append(np.arange(n), repeats))))

    return make


def _received(config: WorldConfig, rng: np.random.Generator, occurred_us: Codes) -> I64:
    """A second or two later; some hours or days later, unless that would be after the interval."""
    n = len(occurred_us)
    usual = occurred_us + (rng.gamma(2.0, 0.4e6, n)).astype(np.int64)
    late = occurred_us + ((1 + rng.exponential(LATE_MEAN_H, n)) * 3.6e9).astype(np.int64)
    is_late = (rng.random(n) < LATE_SHARE) & (late < config.ends_us)
    return np.asarray(np.minimum(np.where(is_late, late, usual), config.ends_us - 1))
