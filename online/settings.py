"""Settings of the feed service. Each field can be set as an environment variable `REX_ONLINE_<NAME>`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from features.errors import BadInput
from learning.outcomes import weights_with

Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/?#\s]+)$")]
"""As browsers send it: scheme, host, and the port unless it is the scheme's own; no path."""


class OnlineSettings(BaseSettings):
    """How feeds are made and served. Checked at start; a bad value stops the program with its name and bound."""

    model_config = SettingsConfigDict(env_prefix="REX_ONLINE_", env_ignore_empty=True, extra="ignore", frozen=True)

    slate_size: int = Field(default=1000, ge=1, le=1000)
    """Entries of a slate. A thousand is some fifty pages, more than users scroll, and about 20 kB."""
    slate_ttl_s: int = Field(default=600, ge=1, le=86_400)
    """How long a slate serves its cursors, give or take a tenth; ten minutes is a reading session with a story in the middle."""
    slate_fresh_s: int = Field(default=300, ge=0, le=86_400)
    """How long a first page comes from a slate without a new one being built, give or take a tenth, to spread the load."""
    stale_s: int = Field(default=180, ge=0, le=86_400)
    """How much longer a first page is still answered from it while the next is built in the background; with the above less than slate_ttl_s."""
    build_wait_s: float = Field(default=2.0, ge=0, le=60)
    """How long a request waits for the slate that another is building for the same user; then it builds one itself."""
    build_lease_s: float = Field(default=5.0, gt=0, le=60)
    """After this a builder counts as dead and the next request builds; far longer than any ranking takes."""
    pagination_session_ttl_s: int = Field(default=86_400, ge=60, le=2_592_000)
    """How long a pagination session can go on after its slate has expired; longer than slate_ttl_s. A day: back after a night's sleep."""
    pagination_session_cap: int = Field(default=5000, ge=1, le=100_000)
    """Stories a pagination session passes before it ends; five slates, and some 48 kB of hashes at most."""
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
    max_per_author_slate: int = Field(default=20, ge=1)
    """Entries of one author in a slate, as long as there are others: ten screenfuls' worth, and one in fifty of a whole slate."""
    max_per_publication_slate: int = Field(default=100, ge=1)
    """Entries of one publication in a slate, as long as there are others: one in ten of a whole slate."""
    max_per_author_day: int = Field(default=20, ge=1)
    """Entries of one author answered to a user on a UTC day, over all slates: ten screenfuls at the cap of a block."""
    max_per_publication_day: int = Field(default=60, ge=1)
    """Entries of one publication answered to a user on a UTC day, over all slates: fifteen screenfuls at the cap of a block."""
    share_followed: float = Field(default=0.25, ge=0, le=1)
    """Least share of a block for whom the user follows, where there is enough: a follow is a promise to show."""
    share_topics: float = Field(default=0.1, ge=0, le=1)
    """Least share for followed topics: stated interest, but broad; the ranking brings more of it where it is good."""
    share_history: float = Field(default=0.1, ge=0, le=1)
    """Least share for what is like what was read; two in twenty, for the ranking knows this best by itself."""
    share_discovery: float = Field(default=0.05, ge=0, le=1)
    """Least share for what none of these would bring: one in twenty, against a closed circle. The costliest one: see decisions/blending.md."""
    new_author_share: float = Field(default=0.05, ge=0, le=1)
    """Least share of a block for new authors, where there are any: one in twenty, for without a first showing nobody is ever read."""
    new_author_d: float = Field(default=30.0, ge=0, le=36_500)
    """An author is new for so many days from the first story on: a month is what a handful of users needs to gather."""
    explore_share: float = Field(default=0.05, ge=0, le=0.5)
    """Share of a list that is drawn at random among fresh stories that hardly anybody has read: one in twenty. 0: none is."""
    explore_max_age_h: float = Field(default=48.0, gt=0, le=8760)
    """A story is fresh for so long: two days, after which most have found their readers or are old news."""
    explore_max_users: float = Field(default=10.0, ge=0, le=1_000_000)
    """Reads (decayed) from which a story is known well enough to be ranked: by then some hundred users have seen it."""
    promoted_slots: tuple[int, ...] = (4, 14)
    """Places in a block for promoted stories, counted from 0: none at the top, two in twenty."""
    max_promoted: int = Field(default=10, ge=0, le=100)
    """Promoted stories in a slate: those of its first five screenfuls; who reads on is not to be held up."""
    impression_half_life_h: float = Field(default=72.0, gt=0, le=8760)
    """After so long an unopened impression counts half: three days, so that within the history's two weeks it is all but forgotten."""
    impression_discount: float = Field(default=1.0, ge=0, le=100)
    """What one unopened impression beyond the first costs, in spreads (quartile to quartile) of the list's scores: from top to middle."""
    push_threshold: int = Field(default=1000, ge=0, le=1_000_000_000)
    """Active followers up to which stories are pushed into timelines; those of more popular ones are pulled. 0: all are."""
    timeline_length: int = Field(default=800, ge=1, le=5000)
    """Stories of a timeline, the newest; rolling windows of 500 to 800 are what large feeds keep."""
    timeline_ttl_s: int = Field(default=2_592_000, ge=172_800, le=15_552_000)
    """Without a feed for so long a user counts as away: nothing is pushed, and the return rebuilds. A month."""
    fanout_every_s: float = Field(default=0.25, gt=0, le=60)
    """How often a process looks for stories and follows to deliver; one process at a time does it."""
    surfaces: dict[str, tuple[str, ...]] = {"following": ("timeline",)}
    """Surface → the providers that bring its candidates, and no others; a surface not named here has all of them."""
    rank_top_k: int = Field(default=2000, ge=1, le=100_000)
    """Best candidates of the first-stage ranker that the models score: two per entry of the largest slate; the rest stay below."""
    value_weights: dict[str, float] = {}
    """Worth of outcomes where it differs from the model's, for a variant: `{"read": 6}`."""
    root_path: str = Field(default="", pattern=r"^(/[^/?#]+)*$")
    """Prefix under which a proxy offers the API, as `/rex`; the proxy takes it off before it asks."""
    model_service_url: str = ""
    """Where models are hosted (`http://…`); empty: they run in this process."""
    model_timeout_ms: float = Field(default=100.0, gt=0, le=10_000)
    """Longest wait for the model service: some five times what it takes; then the feed is in the first-stage ranker's order."""
    strict: bool = False
    """Whether a request fails where it would be answered without a part: for measuring and testing, never for users."""
    variant: str = Field(default="control", pattern=r"^[a-z0-9_-]{1,32}$")
    """Name of this configuration, written on every slate."""
    rankings_at_once: int = Field(default=2, ge=1, le=256)
    """Rankings that run side by side; more wait, so that cached pages are never stuck behind them."""
    poll_s: float = Field(default=1.0, gt=0, le=60)
    """How often a process looks whether another snapshot is current, and follows the story stream when nobody asks it."""
    archive_every_s: float = Field(default=10.0, gt=0, le=3600)
    """How often accepted events are moved from Redis to the lake by a serving process; one of them at a time does it."""
    served_flush_s: float = Field(default=0.2, gt=0, le=60)
    """How often what was answered is written to its log and to users' histories; a killed process loses as much."""
    served_features_rate: float = Field(default=0.01, ge=0, le=1)
    """Share of slates whose feature vectors are logged; they make a page of the log five times as large (6 kB)."""
    history_pages: int = Field(default=100, ge=1, le=10_000)
    """Pages kept per user as served history: a week of fourteen a day; 28 kB with twenty items each."""
    history_ttl_s: int = Field(default=1_209_600, ge=3600, le=31_536_000)
    """Life of a user's served history after the last page: two weeks, after which nobody remembers what was shown."""
    event_window_s: int = Field(default=172_800, ge=172_800, le=2_592_000)
    """How long an event_id is remembered: a client may retry for 48 hours."""
    state_ttl_s: int = Field(default=15_552_000, ge=2_592_000)
    """Life of a user's online changes; half a year, far longer than the gap between two snapshots may ever be."""
    interactions_kept: int = Field(default=2000, ge=1, le=100_000)
    """Opens and reads kept online per user; beyond it the oldest go first. The snapshot has more."""
    edges_kept: int = Field(default=10_000, ge=1, le=1_000_000)
    """Changed follows kept online per user, some 1.8 MB; more are refused until a snapshot holds the earlier ones."""
    refusals_kept: int = Field(default=10_000, ge=1, le=1_000_000)
    """Changed mutes, blocks, hides and reports kept online per user, beside edges_kept; more are refused likewise."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins whose pages may call the service from a browser, `["https://shop.example"]`; `["*"]` allows any origin, empty only the service's own."""
    cursor_keys: tuple[str, ...] = ()
    """Keys that sign cursors, newest last; old ones still verify. Empty: one is made once under `var/`."""
    as_if: datetime | None = None
    """Serve as if the process had started at this moment (UTC): for data that ends in the past, and for replays."""

    @model_validator(mode="after")
    def _lives_fit(self) -> OnlineSettings:
        if self.pagination_session_ttl_s < 2 * self.slate_ttl_s:
            raise ValueError(
                "pagination_session_ttl_s must be at least twice slate_ttl_s, or a pagination session could go before its slate"
            )
        return self

    @model_validator(mode="after")
    def _weights_are_of_outcomes(self) -> OnlineSettings:
        try:
            weights_with(self.value_weights)
        except BadInput as error:
            raise ValueError(f"value_weights: {error}") from error
        return self

    @model_validator(mode="after")
    def _blocks_fit(self) -> OnlineSettings:
        shares = self.share_followed + self.share_topics + self.share_history + self.share_discovery
        if shares > 1 + 1e-9:
            raise ValueError(f"the four share_* settings add up to {shares:g}; they must not exceed 1")
        if any(slot < 0 for slot in self.promoted_slots) or len(set(self.promoted_slots)) < len(self.promoted_slots):
            raise ValueError(f"promoted_slots must be different places from 0 on; got {self.promoted_slots}")
        return self
