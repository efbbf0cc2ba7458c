"""A snapshot in memory without Redis: the same tables and users that a publisher would write, as the service holds them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import duckdb

from batch.schedule import REFITTED
from batch.snapshot_content import READS, Content, read_content
from batch.snapshot_tables import read_promotions, read_tables
from batch.snapshot_users import Users, read_users
from features.duckdb_sql import literal
from features.duckdb_views import partition_name
from features.keys import hash64
from features.paths import duckdb_path
from features.snapshot import PROFILE, TARGETS_SCHEMA, Manifest, digest, schema_hash
from online.components import Components
from online.context import Context, Trace
from online.rankers.learned import ranker_for
from online.rankers.models.model import Model
from online.rankers.models.model_file import decode
from online.rankers.protocol import Ranker
from online.settings import RankingSettings
from online.story_table.build import build_story_table
from online.story_table.table import StoryTable
from online.user.user import EMPTY_PROFILE, User, UserState

VALIDATED = ("valid_stories", "valid_promotions")
"""Datasets that one run of many moments writes at its latest only, with the interval of moments that see each row."""


@dataclass(frozen=True)
class OfflineWorld:
    """The story table and everybody's profile, as of one moment."""

    story_table: StoryTable
    users: Users
    model: Model | None = None
    """What the snapshot would be ranked with unless another ranker is given."""
    digest: str = ""

    @cached_property
    def _places(self) -> dict[int, int]:
        return {int(value): place for place, value in enumerate(self.users.hashes)}

    def user(self, user_id: str) -> UserState:
        """What a server would read for them right after the snapshot was published: their profile and nothing since."""
        user_hash = hash64(user_id)
        place = self._places.get(user_hash)
        profile = EMPTY_PROFILE if place is None else PROFILE.decode(self.users.profile(place))
        return UserState(user_id, user_hash, profile)

    def context(self, user_id: str, now_us: int, settings: RankingSettings, components: Components) -> Context:
        """A request of theirs at `now_us`."""
        user, ranker = User(self.user(user_id), self.story_table), components.ranker or self._ranker(settings)
        wanted = frozenset(ranker.inputs)
        return Context(
            self.story_table,
            user,
            now_us,
            settings,
            ranker,
            wanted=wanted,
            sources=components.providers,
            trace=Trace(strict=settings.strict),
        )

    def _ranker(self, settings: RankingSettings) -> Ranker:
        return ranker_for(settings, self.model, self.digest)


def load(lake: Path, as_of: datetime) -> OfflineWorld:
    """The snapshot that `rex publish` would make of `as_of`. BadInput when its batch has not finished."""
    return _offline(read_content(lake, as_of))


def load_of_many(lake: Path, as_of: datetime, latest: datetime, fitted: datetime) -> OfflineWorld:
    """As `load`, out of a run of many moments: `latest` of that run; `fitted`, not after `as_of`: of REFITTED."""
    partitions = {name: as_of for name in READS} | dict.fromkeys(VALIDATED, latest) | dict.fromkeys(REFITTED, fitted)
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as db:
        db.execute("SET TimeZone = 'UTC'")
        for name, partition in partitions.items():
            _show(db, lake / "features" / name / partition_name(partition), name, as_of)
        tables, factors = read_tables(db, as_of)
        tables["targets"] = TARGETS_SCHEMA.empty_table()  # nobody is told of edges here
        tables["promotions"], left_out = read_promotions(db, as_of)
        return _offline(Content(as_of, {}, factors, tables, read_users(db, factors), left_out))


def _show(db: duckdb.DuckDBPyConnection, partition: Path, name: str, as_of: datetime) -> None:
    """A view of one partition of a derived dataset; of a validated one, the rows that `as_of` sees."""
    files = ", ".join(literal(duckdb_path(path)) for path in sorted(partition.glob("*.parquet")))
    at = f"make_timestamptz({round(as_of.timestamp()) * 1_000_000})"
    seen = f"valid_from <= {at} AND (valid_until IS NULL OR {at} < valid_until)" if name in VALIDATED else "true"
    db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{files}], hive_partitioning = false) WHERE {seen}")


def _offline(content: Content) -> OfflineWorld:
    as_of = content.as_of.astimezone(UTC).isoformat()
    manifest = Manifest(
        version=f"offline-{as_of}",
        as_of=as_of,
        built_at=as_of,
        schema_hash=schema_hash(content.factors),
        factors=content.factors,
        positions=content.positions,
        counts={},
        tables={},
        users=[],
        size_bytes=0,
    )
    story_table, data = build_story_table(manifest, content.tables), content.model
    if data is None:
        return OfflineWorld(story_table, content.users)
    return OfflineWorld(story_table, content.users, decode(data, digest(data)), digest(data))
