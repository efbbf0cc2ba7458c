"""A slate: one immutable ranked list for one user, as it lies in Redis."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from features.arrays import F32, Hashes
from features.packing import CorruptValue, Layout
from features.registry import FEATURES
from online.columns import Bits

SLATE = Layout(
    "slate",
    6,
    (
        ("story", "<i8"),  # hashes
        ("score", "<f4"),
        ("sources", "<u4"),  # provider bits
        ("promotion", "<i8"),  # hash of the promotion that placed it, ORGANIC: none; empty: none has one
        ("propensity", "<f4"),  # empty: all 1
        ("features", "<f4"),  # m rows in registry order, NaN where not computed; empty: not sampled
        ("about", "u1"),  # what the slate says about itself, JSON
    ),
)
ORGANIC = 0
"""In place of a promotion's hash: the story was ranked there."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """What was newest when a pagination session began."""

    published_us: int
    """published_at of the newest story; 0: there was none."""
    story_id: str
    """Its story_id, by which equal times are ordered."""
    seq: int
    """The timeline's sequence number, to tell from a cursor what was pushed by then; 0: no timeline."""


@dataclass(frozen=True, slots=True)
class SlateInfo:
    """What a slate says about itself."""

    id: str
    built_at_us: int
    snapshot: str
    made_for: str
    """`online.slates.freshness.made_for` when it was built."""
    hint: tuple[int, ...]
    """Codes of the languages of the Accept-Language header that decided what is in it; empty: none did."""
    model: str
    variant: str
    candidates: int
    """Stories that aggregation found."""
    sources: tuple[str, ...]
    """Provider names by bit."""
    watermark_us: int
    """published_at of the newest story when the pagination session began that this slate serves."""
    watermark_id: str
    """Its story_id; empty: there was no story."""
    timeline_seq: int
    """The timeline's sequence number when the pagination session began; 0: no timeline."""
    consumed_before: int
    """Stories that earlier slates of the pagination session had consumed; 0: a session begins with this slate."""
    degraded: tuple[str, ...]
    """Parts that failed while it was built."""
    suitable_for: str = ""
    """What every entry, with all its sources, was found suitable for when it was written; empty: not every one was."""
    suitable_until_us: int = 0
    """Until when that is so, exclusive. A page of it within that time, and for that, needs no other look."""


@dataclass(frozen=True, slots=True)
class Slate:
    """Entries by position; m ≤ 1,000."""

    info: SlateInfo
    stories: Hashes
    scores: F32
    sources: Bits
    promotions: Hashes = field(default_factory=lambda: np.empty(0, np.int64))
    """int64[m] or empty."""
    propensities: F32 = field(default_factory=lambda: np.empty(0, np.float32))
    """float32[m]: P(this story here | the request, the entries above), as the slate was built; empty: all 1."""
    features: F32 = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """float32[m, registered features] or empty: sampled for the log."""

    def __len__(self) -> int:
        return len(self.stories)

    @property
    def watermark(self) -> Watermark:
        """What was newest when the pagination session began that this slate serves."""
        return Watermark(self.info.watermark_us, self.info.watermark_id, self.info.timeline_seq)

    def encode(self) -> bytes:
        """Packed bytes, equal for equal slates."""
        about: dict[str, Any] = {name: getattr(self.info, name) for name in SlateInfo.__slots__}
        return SLATE.encode(
            {
                "story": self.stories,
                "score": self.scores,
                "sources": self.sources,
                "promotion": self.promotions,
                "propensity": self.propensities,
                "features": self.features.ravel(),
                "about": np.frombuffer(orjson.dumps(about), np.uint8),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Slate:
        """CorruptValue when `data` is not a slate."""
        arrays = SLATE.decode(data)
        n = len(arrays["story"])
        fits = {"score": (n,), "sources": (n,), "promotion": (0, n), "features": (0, n * len(FEATURES))}
        if wrong := [name for name, lengths in fits.items() if len(arrays[name]) not in lengths]:
            raise CorruptValue(f"slate: {', '.join(wrong)} not of {n} entries; another release may have written it")
        try:
            about = orjson.loads(arrays["about"].tobytes())
            info = SlateInfo(**about | {name: tuple(about[name]) for name in ("hint", "sources", "degraded")})
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptValue(f"slate: {error}") from error
        return cls(
            info,
            stories=arrays["story"],
            scores=arrays["score"],
            sources=arrays["sources"],
            promotions=arrays["promotion"],
            propensities=arrays["propensity"],
            features=arrays["features"].reshape(-1, len(FEATURES)),
        )


def identify(*parts: object) -> str:
    """A short id made of what it identifies: equal parts, equal ids. 96 bits, URL-safe."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=12).hexdigest()
