"""Every component of the feed, listed once, in order. A third party adds one through an entry point.

Entry point groups: `rex.providers`, `rex.rules`, `rex.annotators`, `rex.postprocessors`; each names a class without
arguments. They come after the ones here, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import BadInput
from online.annotators.affinity import Affinity
from online.annotators.history import History
from online.annotators.recency import Recency
from online.annotators.story import StoryFeatures
from online.postprocessors.blend import Blend
from online.postprocessors.discount_impressions import DiscountImpressions
from online.postprocessors.near_duplicate import NearDuplicate
from online.postprocessors.promoted import PlacePromoted
from online.protocols import Annotator, Postprocessor, Provider, Rule, Validator
from online.providers.followed_authors import FollowedAuthors
from online.providers.followed_publications import FollowedPublications
from online.providers.followed_topics import FollowedTopics
from online.providers.fresh_stories import FreshStories
from online.providers.groups import groups_by_bit
from online.providers.promoted import Promoted
from online.providers.reading_history import ReadingHistory
from online.providers.similar_to_read import SimilarToRead
from online.providers.timeline import TimelineStories
from online.providers.trending import Trending
from online.rankers.protocol import Ranker
from online.rankers.weighted import Weighted
from online.rules.already_read import AlreadyRead
from online.rules.blocked import Blocked
from online.rules.hidden import Hidden
from online.rules.language import Language
from online.rules.members_only import MembersOnly
from online.rules.muted import Muted
from online.rules.newer_than_session import NewerThanSession
from online.rules.own import Own
from online.rules.reported import Reported
from online.rules.served_in_session import ServedInSession
from online.rules.too_old import TooOld
from online.rules.visibility import Visibility
from online.rules.withdrawn import Withdrawn
from online.validators.promotion_ended import PromotionEnded
from online.validators.rule_still_holds import RuleStillHolds
from online.validators.unfollowed import Unfollowed

MAX_PROVIDERS = 32
"""Sources are bits of a uint32."""
MAX_RULES = 255
"""The rule that dropped a candidate is a uint8."""


def _plugged_in(group: str) -> tuple[Any, ...]:
    found = sorted(entry_points(group=f"rex.{group}"), key=lambda entry: entry.name)
    return tuple(entry.load()() for entry in found)


@dataclass(frozen=True)
class Components:
    """What one pipeline is made of. Order matters: it decides source bits, drop reasons and the reason that is told."""

    providers: tuple[Provider, ...]
    """Highest-priority reason first: an entry with several sources tells the first."""
    rules: tuple[Rule, ...]
    annotators: tuple[Annotator, ...]
    postprocessors: tuple[Postprocessor, ...]
    ranker: Ranker | None = None
    """In place of every snapshot's own; None: each snapshot brings the one that it was published with."""

    def __post_init__(self) -> None:
        names = [provider.name for provider in self.providers]
        if len(names) > MAX_PROVIDERS or len(set(names)) < len(names):
            raise ValueError(f"at most {MAX_PROVIDERS} providers, each with its own name; got {names}")
        if len(self.rules) > MAX_RULES:
            raise ValueError(f"at most {MAX_RULES} rules; got {len(self.rules)}")
        self.check_ranker(self.ranker or Weighted())

    def check_ranker(self, ranker: Ranker) -> None:
        """ValueError when it needs features that no annotator provides."""
        missing = set(ranker.inputs) - {name for annotator in self.annotators for name in annotator.features}
        if missing:
            raise ValueError(f"ranker {ranker.name} needs {sorted(missing)}, which no annotator provides")

    def check_surfaces(self, surfaces: Mapping[str, Sequence[str]]) -> None:
        """BadInput when a surface is to have candidates of a provider that there is not."""
        for surface, names in surfaces.items():
            unknown = sorted(set(names) - set(self.bits))
            if unknown or not names:
                raise BadInput(
                    f"Surface {surface} is to be filled by {unknown or 'no provider'}; choose among {', '.join(self.bits)} "
                    "in REX_ONLINE_AGGREGATE_SURFACES."
                )

    @cached_property
    def bits(self) -> dict[str, int]:
        """Provider name → bit number."""
        return {provider.name: bit for bit, provider in enumerate(self.providers)}

    @cached_property
    def groups(self) -> NDArray[np.int16]:
        """int16[providers], by bit: the group that each source belongs to when a feed is blended."""
        return groups_by_bit(self.providers)

    @cached_property
    def validators(self) -> tuple[Validator, ...]:
        """What is checked on every read of a slate: every rule again, and the follows and the promotions."""
        return (*(RuleStillHolds(rule) for rule in self.rules), Unfollowed(self.bits), PromotionEnded())


def default_components(ranker: Ranker | None = None) -> Components:
    """The feed as it is shipped, plus what entry points bring."""
    return Components(
        providers=(
            FollowedAuthors(),
            FollowedPublications(),
            TimelineStories(),
            FollowedTopics(),
            SimilarToRead(),
            ReadingHistory(),
            Trending(),
            FreshStories(),
            *_plugged_in("providers"),
            Promoted(),  # last: it tells the least of why a story is there
        ),
        rules=(
            Withdrawn(),
            Visibility(),
            Blocked(),
            Muted(),
            Reported(),
            Hidden(),
            AlreadyRead(),
            Own(),
            MembersOnly(),
            Language(),
            TooOld(),
            ServedInSession(),
            NewerThanSession(),
            *_plugged_in("rules"),
        ),
        annotators=(StoryFeatures(), Affinity(), History(), Recency(), *_plugged_in("annotators")),
        postprocessors=(
            PlacePromoted(),
            NearDuplicate(),
            DiscountImpressions(),
            Blend(),
            *_plugged_in("postprocessors"),
        ),
        ranker=ranker,
    )
