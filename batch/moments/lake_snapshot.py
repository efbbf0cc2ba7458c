"""Snapshots without Redis: of an `as_of`, the tables and profiles that `rex publish` would write, in a file that is read in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from batch.moments.arrow_file import Tables, column, read_tables, written
from batch.snapshot_content import checked_model, content_of, partitions_at
from batch.snapshot_users import Ragged, Users
from features.arrays import I64
from features.keys import hash64
from features.lake_layout import partition_name
from features.snapshot import PROFILE, Manifest, digest, schema_hash
from online.components import Components
from online.context import Context, Trace
from online.rankers.learned import ranker_for
from online.rankers.models.model import Model
from online.rankers.models.model_file import decode
from online.settings import RankingSettings
from online.story_table.build import build_story_table
from online.story_table.table import StoryTable
from online.user.user import EMPTY_PROFILE, User, UserState

USERS, ABOUT = "users", "about"
"""Tables beside the snapshot's own: everyone's PROFILE (`hash`, and one list column an array); as_of and number of factors."""


@dataclass(frozen=True)
class LakeSnapshot:
    """The story table and everybody's profile, as of one moment."""

    story_table: StoryTable
    users: Users
    model: Model | None = None
    """What the snapshot would be ranked with unless another ranker is given."""
    digest: str = ""

    @cached_property
    def _by_hash(self) -> I64:
        return np.argsort(self.users.hashes)

    def user(self, user_id: str) -> UserState:
        """What a server would read for them right after the snapshot was published: their profile and nothing since."""
        user_hash, profile = hash64(user_id), EMPTY_PROFILE
        at = int(np.searchsorted(self.users.hashes, user_hash, sorter=self._by_hash))
        if at < len(self._by_hash) and self.users.hashes[place := int(self._by_hash[at])] == user_hash:
            profile = {name: values.of(place) for name, values in self.users.fields.items()}
        return UserState(user_id, user_hash, profile)

    def context(self, user_id: str, now_us: int, settings: RankingSettings, components: Components) -> Context:
        """A request of theirs at `now_us`."""
        ranker = components.ranker or ranker_for(settings, self.model, self.digest)
        return Context(
            self.story_table,
            User(self.user(user_id), self.story_table),
            now_us,
            settings,
            ranker,
            wanted=frozenset(ranker.inputs),
            sources=components.providers,
            trace=Trace(strict=settings.strict),
        )


def load(lake: Path, as_of: datetime) -> LakeSnapshot:
    """The snapshot that `rex publish` would make of `as_of`, with the released model. BadInput when its batch has not finished."""
    model, snapshot = checked_model(lake), open_snapshot(write_snapshot(lake, as_of, partitions_at(as_of)))
    return snapshot if model is None else replace(snapshot, model=decode(model, digest(model)), digest=digest(model))


def write_snapshot(lake: Path, as_of: datetime, partitions: Mapping[str, datetime]) -> Path:
    """The file of the snapshot of `as_of` from these partitions, without a model. BadInput as `content_of`."""

    def make() -> Tables:
        content = content_of(lake, as_of, partitions)
        about = pa.table({"as_of": [as_of.astimezone(UTC).isoformat()], "factors": [content.factors]})
        return {**content.tables, USERS: _table_of(content.users), ABOUT: about}

    return written(lake, partition_name(as_of), partitions, make)


def open_snapshot(path: Path) -> LakeSnapshot:
    """The snapshot in a file; profiles are read where they lie. BadInput when it is damaged."""
    tables = read_tables(path)
    [about] = tables[ABOUT].to_pylist()
    manifest = Manifest(
        version=f"offline-{about['as_of']}",
        as_of=about["as_of"],
        built_at=about["as_of"],
        schema_hash=schema_hash(about["factors"]),
        factors=about["factors"],
        positions={},
        counts={},
        tables={},
        users=[],
        size_bytes=0,
    )
    lists = {name: column(tables[USERS], name) for name, _ in PROFILE.fields}
    fields = {name: Ragged(of.values.to_numpy(), of.offsets.to_numpy()) for name, of in lists.items()}
    return LakeSnapshot(build_story_table(manifest, tables), Users(column(tables[USERS], "hash").to_numpy(), fields))


def _table_of(users: Users) -> pa.Table:
    columns: dict[str, pa.Array] = {"hash": pa.array(users.hashes)}
    nothing = Ragged(np.empty(0), np.zeros(len(users.hashes) + 1, np.int64))
    for name, dtype in PROFILE.fields:
        of = users.fields.get(name, nothing)
        values = pa.array(np.ascontiguousarray(of.values, np.dtype(dtype)))
        columns[name] = pa.LargeListArray.from_arrays(pa.array(of.offsets), values)
    return pa.table(columns)
