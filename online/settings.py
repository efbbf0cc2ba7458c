"""Settings of the ranking, by stage: plain values. Bounds are checked where they come from outside (online/service_settings.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from features.errors import BadInput
from online.rankers.models.outcomes import weights_with


@dataclass(frozen=True, slots=True)
class AggregateSettings:
    """Which stories are brought."""

    surfaces: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"following": ("timeline",)})
    """Surface → the providers that bring its candidates, and no others; a surface not named here has all of them."""
    fresh_window_d: Annotated[float, Interval(gt=0, le=36_500)] = 14.0
    """The provider `fresh_stories` brings everything published within this many days."""
    history_stories: Annotated[int, Interval(ge=1, le=1_000_000)] = 2000
    """Stories that the provider `reading_history` brings: those with the highest ALS scores."""
    recent_reads: Annotated[int, Interval(ge=1, le=1000)] = 20
    """Number of latest reads whose similar stories are brought."""


@dataclass(frozen=True, slots=True)
class PreprocessSettings:
    """What is no candidate."""

    max_age_d: Annotated[float, Interval(gt=0, le=36_500)] = 365.0
    """Stories older than this are not candidates."""


@dataclass(frozen=True, slots=True)
class RankSettings:
    """Which candidates the models score, and what outcomes are worth."""

    top_k: Annotated[int, Interval(ge=1, le=100_000)] = 2000
    """Best candidates of the first-stage ranker that the models score, two per entry of the largest slate; the others rank below them."""
    value_weights: dict[str, float] = field(default_factory=dict)
    """Weights of outcomes that differ from the model's, for a variant: `{"read": 6}`."""

    def __post_init__(self) -> None:
        try:
            weights_with(self.value_weights)
        except BadInput as error:
            raise ValueError(f"value_weights: {error}") from error


@dataclass(frozen=True, slots=True)
class PostprocessSettings:
    """Blending, exploration, promotions and impression discounting."""

    page_block: Annotated[int, Interval(ge=1, le=1000)] = 20
    """Diversity holds in every block of this many entries: about one screenful of a default page."""
    max_per_author: Annotated[int, Interval(ge=1)] = 2
    """Entries of one author in a block; two in twenty is one in ten."""
    max_per_publication: Annotated[int, Interval(ge=1)] = 4
    """Entries of one publication in a block; one in five."""
    max_per_author_slate: Annotated[int, Interval(ge=1)] = 20
    """Entries of one author in a slate, as long as there are others: ten screenfuls' worth, and one in fifty of a whole slate."""
    max_per_publication_slate: Annotated[int, Interval(ge=1)] = 100
    """Entries of one publication in a slate, as long as there are others: one in ten of a whole slate."""
    max_per_author_day: Annotated[int, Interval(ge=1)] = 20
    """Entries of one author answered to a user on a UTC day, over all slates: ten screenfuls at the cap of a block."""
    max_per_publication_day: Annotated[int, Interval(ge=1)] = 60
    """Entries of one publication answered to a user on a UTC day, over all slates: fifteen screenfuls at the cap of a block."""
    share_followed: Annotated[float, Interval(ge=0, le=1)] = 0.25
    """Minimum share of a block for followed authors and publications, if there are enough stories: a follow is a promise to show."""
    share_topics: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Minimum share for followed topics: stated interest, but broad; the ranking adds more where they are good."""
    share_history: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Minimum share for stories similar to what was read: two in twenty, because the ranking itself knows these best."""
    share_discovery: Annotated[float, Interval(ge=0, le=1)] = 0.05
    """Minimum share for what none of these would bring: one in twenty, against filter bubbles. The costliest share: see decisions/blending.md."""
    new_author_share: Annotated[float, Interval(ge=0, le=1)] = 0.05
    """Minimum share of a block for new authors, if there are any: one in twenty, because nobody is read without being shown."""
    new_author_d: Annotated[float, Interval(ge=0, le=36_500)] = 30.0
    """How many days after the first story an author is new: a month is enough to be read by a handful of users."""
    explore_share: Annotated[float, Interval(ge=0, le=0.5)] = 0.05
    """Share of a list drawn at random among fresh stories that hardly anybody has read: one in twenty. 0: none."""
    explore_max_age_h: Annotated[float, Interval(gt=0, le=8760)] = 48.0
    """How long a story is fresh: two days, after which most have been read or are old news."""
    explore_max_users: Annotated[float, Interval(ge=0, le=1_000_000)] = 10.0
    """Reads (decayed) from which a story is known well enough to be ranked: by then some hundred users have seen it."""
    promoted_slots: tuple[int, ...] = (4, 14)
    """Places in a block for promoted stories, counted from 0: none at the top, two in twenty."""
    max_promoted: Annotated[int, Interval(ge=0, le=100)] = 10
    """Most promoted stories in a slate: those of its first five screenfuls; users who read on see no more."""
    impression_half_life_h: Annotated[float, Interval(gt=0, le=8760)] = 72.0
    """After this time an unopened impression counts half: three days, so that it is all but forgotten within the history's two weeks."""
    impression_discount: Annotated[float, Interval(ge=0, le=100)] = 1.0
    """What one unopened impression beyond the first costs, in interquartile ranges of the list's scores: from the top to the middle."""

    def __post_init__(self) -> None:
        shares = self.share_followed + self.share_topics + self.share_history + self.share_discovery
        if shares > 1 + 1e-9:
            raise ValueError(f"the four share_* settings add up to {shares:g}; they must not exceed 1")
        if any(slot < 0 for slot in self.promoted_slots) or len(set(self.promoted_slots)) < len(self.promoted_slots):
            raise ValueError(f"promoted_slots must be different places from 0 on; got {self.promoted_slots}")


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Slates, their pagination sessions, and who builds them."""

    slate_size: Annotated[int, Interval(ge=1, le=1000)] = 1000
    """Entries of a slate. A thousand is some fifty pages, more than users scroll, and about 20 kB."""
    slate_ttl_s: Annotated[int, Interval(ge=1, le=86_400)] = 600
    """How long a slate serves its cursors, plus or minus a tenth: ten minutes is a reading session with a story in the middle."""
    slate_fresh_s: Annotated[int, Interval(ge=0, le=86_400)] = 300
    """How long a slate serves first pages before a new one is built, plus or minus a tenth to spread the load."""
    stale_s: Annotated[int, Interval(ge=0, le=86_400)] = 180
    """How much longer it serves first pages while the next is built in the background; together with slate_fresh_s less than slate_ttl_s."""
    build_wait_s: Annotated[float, Interval(ge=0, le=60)] = 2.0
    """How long a request waits for a slate that another request is building for the same user; then it builds one itself."""
    build_lease_s: Annotated[float, Interval(gt=0, le=60)] = 5.0
    """After this time a builder counts as dead and the next request builds; far longer than any ranking takes."""
    pagination_session_ttl_s: Annotated[int, Interval(ge=60, le=2_592_000)] = 86_400
    """How long a pagination session can continue after its slate has expired; longer than slate_ttl_s. A day, so that a user can return after a night's sleep."""
    pagination_session_cap: Annotated[int, Interval(ge=1, le=100_000)] = 5000
    """Stories a pagination session consumes before it ends: five slates, and at most some 48 kB of hashes."""

    def __post_init__(self) -> None:
        if self.pagination_session_ttl_s < 2 * self.slate_ttl_s:
            raise ValueError(
                "pagination_session_ttl_s must be at least twice slate_ttl_s, or a pagination session could go before its slate"
            )


@dataclass(frozen=True, slots=True)
class TimelinesSettings:
    """What is pushed to whom."""

    push_threshold: Annotated[int, Interval(ge=0, le=1_000_000_000)] = 1000
    """Active followers up to which an author's or publication's stories are pushed into timelines; above, they are pulled. 0: all are pulled."""
    length: Annotated[int, Interval(ge=1, le=5000)] = 800
    """Number of newest stories in a timeline; large feeds keep rolling windows of 500 to 800."""
    ttl_s: Annotated[int, Interval(ge=172_800, le=15_552_000)] = 2_592_000
    """After this time without a feed a user counts as away: nothing is pushed, and the timeline is rebuilt on return. A month."""
    fanout_every_s: Annotated[float, Interval(gt=0, le=60)] = 0.25
    """How often a process looks for stories and follows to deliver; one process at a time does it."""


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """What is noted of answered pages."""

    flush_s: Annotated[float, Interval(gt=0, le=60)] = 0.2
    """How often answered pages are written to the served log and to users' histories; a killed process loses as much."""
    features_rate: Annotated[float, Interval(ge=0, le=1)] = 0.01
    """Share of slates whose feature vectors are logged; they make a page of the log five times as large (6 kB)."""
    history_pages: Annotated[int, Interval(ge=1, le=10_000)] = 100
    """Pages kept per user as served history: a week of fourteen a day; 28 kB with twenty items each."""
    history_ttl_s: Annotated[int, Interval(ge=3600, le=31_536_000)] = 1_209_600
    """How long a user's served history is kept after the last page: two weeks, after which nobody remembers what was shown."""


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """All that a list depends on besides the data and the moment."""

    aggregate: AggregateSettings = AggregateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    rank: RankSettings = RankSettings()
    postprocess: PostprocessSettings = PostprocessSettings()
    cache: CacheSettings = CacheSettings()
    timelines: TimelinesSettings = TimelinesSettings()
    served: ServedSettings = ServedSettings()
    strict: bool = False
    variant: str = "control"
