"""Every component of the feed, listed once, in order. Another package adds one through an entry point.

Entry point groups: `rex.providers`, `rex.rules`, `rex.annotators`, `rex.rankers`, `rex.postprocessors`, `rex.validators`; each
names a class without arguments, of the kind that online/protocols.py describes. They stand, by name, where the lists below say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from inspect import get_annotations
from typing import Any

from features.errors import BadInput
from online.annotators.affinity import Affinity
from online.annotators.history import History
from online.annotators.recency import Recency
from online.annotators.story import StoryFeatures
from online.context import GROUPS
from online.postprocessors.blend import Blend
from online.postprocessors.discount_impressions import DiscountImpressions
from online.postprocessors.explore import ExplorationPool
from online.postprocessors.near_duplicate import NearDuplicate
from online.postprocessors.promoted import PlacePromoted
from online.protocols import Annotator, Postprocessor, Provider, Rule, Selector, Validator
from online.providers.followed_authors import FollowedAuthors
from online.providers.followed_publications import FollowedPublications
from online.providers.followed_topics import FollowedTopics
from online.providers.fresh_stories import FreshStories
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
from online.validators.still_holds import RuleStillHolds, SourceStillHolds

MAX_PROVIDERS = 32
"""Sources are bits of a uint32."""
MAX_RULES = 255
"""The rule that dropped a candidate is a uint8."""


@cache
def _plugged_in(protocol: type) -> tuple[Any, ...]:
    """What other packages bring of a kind, by name. BadInput when one cannot be made, or lacks what its kind must have."""
    made, group = [], f"rex.{protocol.__name__.lower()}s"
    must = {name for base in protocol.__mro__ for name in (*vars(base), *get_annotations(base)) if name[0] != "_"}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        plugin = f"The plug-in {entry.name} = {entry.value} (entry point group {group})"
        try:
            made.append(entry.load()())
        except Exception as error:
            raise BadInput(f"{plugin} cannot be loaded: {error}. Fix or uninstall its package.") from error
        if lacks := sorted(name for name in must if not hasattr(made[-1], name)):
            raise BadInput(f"{plugin} lacks {', '.join(lacks)}; see {protocol.__name__} in {protocol.__module__}.")
    return tuple(made)


@dataclass(frozen=True)
class Components:
    """What one pipeline is made of. Order matters: it decides source bits, drop reasons and the reason that is given."""

    providers: tuple[Provider, ...]
    """Highest-priority reason first: an entry with several sources tells the first."""
    rules: tuple[Rule, ...]
    annotators: tuple[Annotator, ...]
    selectors: tuple[Selector, ...]
    postprocessors: tuple[Postprocessor, ...]
    checks: tuple[Validator, ...]
    """Beside the rules and the providers, which are asked again on every read."""
    ranker: Ranker | None = None
    """In place of every snapshot's own; None: each snapshot brings the one that it was published with."""

    def __post_init__(self) -> None:
        names = [provider.name for provider in self.providers]
        if len(names) > MAX_PROVIDERS or len(set(names)) < len(names):
            raise ValueError(f"at most {MAX_PROVIDERS} providers, each with its own name; got {names}")
        if len(self.rules) > MAX_RULES:
            raise ValueError(f"at most {MAX_RULES} rules; got {len(self.rules)}")
        if unknown := sorted({provider.group for provider in self.providers} - set(GROUPS)):
            raise ValueError(
                f"there is no group {unknown[0]!r} of sources; a provider names one of {', '.join(GROUPS)}"
            )
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
    def validators(self) -> tuple[Validator, ...]:
        """What is checked on every read of a slate: every rule and every source again, and `checks`."""
        return (*map(RuleStillHolds, self.rules), SourceStillHolds(self.providers), *self.checks)


def default_components(ranker: Ranker | None = None) -> Components:
    """The feed as it is shipped, plus what entry points bring. BadInput when more than one brings a ranker."""
    rankers = _plugged_in(Ranker)
    if len(rankers) > 1:
        raise BadInput(f"Several packages bring a ranker ({', '.join(r.name for r in rankers)}); install one of them.")
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
            *_plugged_in(Provider),
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
            *_plugged_in(Rule),
        ),
        annotators=(StoryFeatures(), Affinity(), History(), Recency(), *_plugged_in(Annotator)),
        selectors=(PlacePromoted(), ExplorationPool()),
        postprocessors=(
            PlacePromoted(),
            NearDuplicate(),
            DiscountImpressions(),
            *_plugged_in(Postprocessor),
            Blend(),  # last: slots, caps, shares and propensities are those of the order that it makes
        ),
        checks=(PromotionEnded(), *_plugged_in(Validator)),
        ranker=ranker or (rankers[0] if rankers else None),
    )
