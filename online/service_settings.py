"""Settings of the feed service, from the environment: `REX_ONLINE_<GROUP>_<NAME>`, or `REX_ONLINE_<NAME>` for those without a group."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from annotated_types import Interval
from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from features.settings import CheckedSettings
from online.settings import (
    AggregateSettings,
    CacheSettings,
    PostprocessSettings,
    PreprocessSettings,
    RankingSettings,
    RankSettings,
    ServedSettings,
    TimelinesSettings,
)
from online.user.user import INTERACTIONS_KEPT

PREFIX = "REX_ONLINE_"
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/?#\s]+)$")]
"""As browsers send it: scheme, host, and the port unless it is the scheme's own; no path."""


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """What is kept online of what users do."""

    event_window_s: Annotated[int, Interval(ge=172_800, le=2_592_000)] = 172_800
    """How long an event_id is remembered: a client may retry for 48 hours."""
    state_ttl_s: Annotated[int, Interval(ge=2_592_000)] = 15_552_000
    """How long a user's online changes are kept: half a year, far longer than any gap between two snapshots."""
    interactions_kept: Annotated[int, Interval(ge=1, le=100_000)] = INTERACTIONS_KEPT
    """Opens and reads kept online per user; the oldest are dropped first. The snapshot has more."""
    edges_kept: Annotated[int, Interval(ge=1, le=1_000_000)] = 10_000
    """Changed follows kept online per user, some 1.8 MB; more are refused until a snapshot holds the earlier ones."""
    refusals_kept: Annotated[int, Interval(ge=1, le=1_000_000)] = 10_000
    """Changed mutes, blocks, hides and reports kept online per user, besides edges_kept; more are refused likewise."""


@dataclass(frozen=True, slots=True)
class StreamsSettings:
    """How often the streams are looked at."""

    poll_s: Annotated[float, Interval(gt=0, le=60)] = 1.0
    """How often a process checks whether another snapshot is current, and follows the story stream between requests."""
    archive_every_s: Annotated[float, Interval(gt=0, le=3600)] = 10.0
    """How often a serving process moves accepted events from Redis to the lake; one process at a time does it."""


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """Where models run."""

    service_url: str = ""
    """Address of the model service (`http://…`); empty: models run in this process."""
    timeout_ms: Annotated[float, Interval(gt=0, le=10_000)] = 100.0
    """Longest wait for the model service, some five times what it takes; after that, the feed is in first-stage order."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The API and its callers."""

    root_path: Annotated[str, Field(pattern=r"^(/[^/?#]+)*$")] = ""
    """Prefix under which a proxy serves the API, such as `/rex`; the proxy strips it."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins whose pages may call the service from a browser, `["https://shop.example"]`; `["*"]` allows any origin, empty only the service's own."""
    cursor_keys: tuple[str, ...] = ()
    """Keys that sign cursors, newest last; old ones still verify. Empty: one is made once under `var/`."""
    rankings_at_once: Annotated[int, Interval(ge=1, le=256)] = 2
    """Rankings that run at the same time; others wait, so that cached pages are never stuck behind them."""


class OnlineSettings(CheckedSettings):
    """How feeds are made and served. Checked at start; a bad value stops the program with its name and bound."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    aggregate: AggregateSettings = AggregateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    rank: RankSettings = RankSettings()
    postprocess: PostprocessSettings = PostprocessSettings()
    cache: CacheSettings = CacheSettings()
    timelines: TimelinesSettings = TimelinesSettings()
    served: ServedSettings = ServedSettings()
    ingest: IngestSettings = IngestSettings()
    streams: StreamsSettings = StreamsSettings()
    models: ModelsSettings = ModelsSettings()
    http: HttpSettings = HttpSettings()
    strict: bool = False
    """Fail a request instead of answering it without a part that failed: for measuring and testing, never for users."""
    variant: str = Field(default="control", pattern=r"^[a-z0-9_-]{1,32}$")
    """Name of this configuration, written on every slate."""
    as_if: datetime | None = None
    """Serve as if the process had started at this moment (UTC): for data that ends in the past, and for replays."""

    @field_validator("*", mode="before")
    @classmethod
    def _lists_are_json(cls, given: Any) -> Any:
        """In a group from the environment, lists and mappings are still text."""
        return {name: _decoded(value) for name, value in given.items()} if isinstance(given, dict) else given

    @property
    def ranking(self) -> RankingSettings:
        """The part that lists depend on."""
        return RankingSettings(
            aggregate=self.aggregate,
            preprocess=self.preprocess,
            rank=self.rank,
            postprocess=self.postprocess,
            cache=self.cache,
            timelines=self.timelines,
            served=self.served,
            strict=self.strict,
            variant=self.variant,
        )


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        with suppress(ValueError):  # what is no JSON is refused as text, with its name
            return json.loads(value)
    return value
