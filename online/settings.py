"""Settings of the feed service. Each field can be set as an environment variable `REX_ONLINE_<NAME>`."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class OnlineSettings(BaseSettings):
    """How feeds are made and served. Checked at start; a bad value stops the program with its name and bound."""

    model_config = SettingsConfigDict(env_prefix="REX_ONLINE_", extra="ignore", frozen=True)

    slate_size: int = Field(default=1000, ge=1, le=1000)
    """Entries of a slate. A thousand is some fifty pages, more than people scroll, and about 20 kB."""
    slate_ttl_s: int = Field(default=600, ge=1, le=86_400)
    """How long a slate serves its cursors; ten minutes is a reading session with a story in the middle."""
    max_age_d: float = Field(default=365.0, gt=0, le=36_500)
    """Stories older than this are not candidates."""
    fresh_window_d: float = Field(default=14.0, gt=0, le=36_500)
    """The provider of fresh stories brings everything published within this many days."""
    history_stories: int = Field(default=2000, ge=1, le=1_000_000)
    """Stories that the reading-history provider brings: the greatest products of the ALS vectors."""
    recent_reads: int = Field(default=20, ge=1, le=1000)
    """Latest reads whose similar stories are brought."""
    page_block: int = Field(default=20, ge=1, le=1000)
    """Diversity holds in every block of this many entries: about one screenful of a default page."""
    max_per_author: int = Field(default=2, ge=1)
    """Entries of one author in a block; two in twenty is one in ten."""
    max_per_publication: int = Field(default=4, ge=1)
    """Entries of one publication in a block; one in five."""
    rank_top_k: int = Field(default=2000, ge=1, le=100_000)
    """Best candidates of the light ranker that the models score: two per entry of the largest slate; the rest stay below."""
    value_weights: dict[str, float] = {}
    """Worth of outcomes where it differs from the model's, for a variant: `{"read": 6}`."""
    model_service_url: str = ""
    """Where models are hosted (`http://…`); empty: they run in this process."""
    model_timeout_ms: float = Field(default=100.0, gt=0, le=10_000)
    """Longest wait for the model service: some five times what it takes; then the feed is in the light ranker's order."""
    variant: str = Field(default="control", pattern=r"^[a-z0-9_-]{1,32}$")
    """Name of this configuration, written on every slate."""
    rankings_at_once: int = Field(default=2, ge=1, le=256)
    """Rankings that run side by side; more wait, so that cached pages are never stuck behind them."""
    poll_s: float = Field(default=1.0, gt=0, le=60)
    """How often a process looks whether another snapshot is current."""
    archive_every_s: float = Field(default=10.0, gt=0, le=3600)
    """How often accepted events are moved from Redis to the lake by a serving process; one of them at a time does it."""
    served_flush_s: float = Field(default=0.2, gt=0, le=60)
    """How often what was answered is written to its log and to people's histories; a killed process loses as much."""
    served_features_rate: float = Field(default=0.01, ge=0, le=1)
    """Share of slates whose feature vectors are logged; a vector is some ten times as large as the rest of an entry."""
    history_pages: int = Field(default=100, ge=1, le=10_000)
    """Pages kept per person as served history: a week of fourteen a day; some 30 kB with twenty items each."""
    history_ttl_s: int = Field(default=1_209_600, ge=3600, le=31_536_000)
    """Life of a person's served history after the last page: two weeks, after which nobody remembers what was shown."""
    event_window_s: int = Field(default=172_800, ge=172_800, le=2_592_000)
    """How long an event_id is remembered: a client may retry for 48 hours."""
    state_ttl_s: int = Field(default=15_552_000, ge=2_592_000)
    """Life of a person's online changes; half a year, far longer than the gap between two snapshots may ever be."""
    acts_kept: int = Field(default=2000, ge=1, le=100_000)
    """Opens, reads, hides and reports kept online per person, newest first; the snapshot holds older ones."""
    cursor_keys: tuple[str, ...] = ()
    """Keys that sign cursors, newest last; old ones still verify. Empty: one is made once under `var/`."""
    as_if: datetime | None = None
    """Serve as if the process had started at this moment (UTC): for data that ends in the past, and for replays."""
