"""How big a simulated world is, and the streams of chance it is made from."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from features.times import DAY_US

LANGUAGES = ("en", "es", "pt", "de", "fr")


class WorldConfig(BaseModel):
    """Size and seed of a world. Equal configs make byte-identical lakes. A bad value raises pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: int = Field(default=5_000, ge=20, le=999_999)
    """Users with an account, those new on the last day included; one in ten writes. 20 is where topics still differ."""
    stories: int = Field(default=20_000, ge=50, le=9_999_999)
    """Stories published over the interval."""
    events: int = Field(default=1_000_000, ge=100, le=2_000_000_000)
    """Events wanted, repeats included; what comes out is within 2 % from about 10,000 on."""
    days: int = Field(default=30, ge=2, le=366)
    """Length of the interval in whole UTC days."""
    seed: int = Field(default=7, ge=0, le=2**63 - 1)
    """Everything random follows from it."""
    ends_at: AwareDatetime
    """First moment after the interval, a UTC midnight; nothing in the lake is later."""

    @field_validator("ends_at")
    @classmethod
    def _midnight(cls, value: datetime) -> datetime:
        utc = value.astimezone(UTC)
        if (utc.hour, utc.minute, utc.second, utc.microsecond) != (0, 0, 0, 0):
            raise ValueError("must be a UTC midnight, such as 2026-11-20T00:00:00Z")
        return utc

    @property
    def starts_us(self) -> int:
        """First moment of the interval, microseconds since 1970."""
        return self.ends_us - self.days * DAY_US

    @property
    def ends_us(self) -> int:
        """First moment after the interval, microseconds since 1970."""
        return (self.ends_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def random(self, stream: str, *keys: int) -> np.random.Generator:
        """The stream of chance called `stream`; `keys` distinguish its parts (days, chunks)."""
        return np.random.default_rng([self.seed, zlib.crc32(stream.encode()), *keys])


@dataclass(frozen=True, slots=True)
class WorldSummary:
    """What was written."""

    users: int
    stories: int
    edges: int
    events: int
    """Rows under `raw/events`, repeats included."""
    impressions: int
    requests: int
    """Sessions in which a list was shown."""
