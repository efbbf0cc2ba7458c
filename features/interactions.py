"""What a user can do with a story, declared once, and what each says about liking.

Event types, strengths, labels, counters, the codes of the online state, validation and the pages under docs/ come from
INTERACTIONS and OUTCOMES: a new interaction is one entry here, and a new outcome is one entry and the interactions that
name it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing that a user does with a story, or, for an impression, that happens to them."""

    name: str
    """The event type."""
    done: str
    """What the user did, as in "the user clapped for it"."""
    strength: float
    """What it says about liking, in reads: a whole read is 1. Weighs affinities and ALS."""
    why: str
    """The reason of the strength."""
    evaluated: float = 0.0
    """Its strength for the baselines of an evaluation; 0: they do not look at it. From `read` on the values of DeskDrop's
    own notebook (view 1, like 2, bookmark 2.5, comment 4), so that its published figures can be compared."""
    outcome: str = ""
    """The outcome that it counts for, beside those of what it implies."""
    implies: tuple[str, ...] = ()
    """Interactions that must have come before, also in a lake that does not record them."""
    counter: str = ""
    """What story_counters calls the sum of it; empty: it is not counted."""
    amount: str = ""
    """Column of an event that says how often it was done (null: once); empty: always once."""
    online_code: int = 0
    """Its code in the user's online state; 0: it changes nothing there that a feed is made from before the next snapshot."""
    undo: str = ""
    """Event type that takes it back. One that can be taken back refuses the story: it applies on arrival."""
    held: str = ""
    """Field of a profile that holds the stories it is in force for; needed with `undo`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What may come of an impression, a label that models learn. `name` is also its column in the training set."""

    name: str
    weight: float
    why: str
    """The reason of the weight."""

    @property
    def meaning(self) -> str:
        """What the user did."""
        *most, last = (one.done for one in INTERACTIONS if one.outcome == self.name)
        return f"{', '.join(most)} or {last}" if most else last


INTERACTIONS: tuple[Interaction, ...] = (
    Interaction(
        "impression",
        "was shown it",
        0.0,
        "nothing by itself; affinities weigh it against what impressions yield on average",
        counter="impressions",
    ),
    Interaction(
        "open",
        "opened it",
        0.3,
        "a title that tempted; about a third of opens become reads",
        evaluated=0.3,
        outcome="open",
        counter="opens",
        online_code=1,
    ),
    Interaction(
        "read",
        "read it",
        1.0,
        "the unit",
        evaluated=1.0,
        outcome="read",
        implies=("open",),
        counter="reads",
        online_code=2,
    ),
    Interaction(
        "clap",
        "clapped for it",
        1.0,
        "as good as a second read; counted once however long the button is held",
        evaluated=2.0,
        outcome="positive_feedback",
        implies=("open",),
        counter="claps",
        amount="claps",
    ),
    Interaction(
        "save",
        "saved it",
        1.5,
        "means to come back, or to keep",
        evaluated=2.5,
        outcome="positive_feedback",
        implies=("open",),
    ),
    Interaction(
        "share",
        "shared it",
        2.0,
        "puts one's own name to it",
        evaluated=4.0,
        outcome="positive_feedback",
        implies=("open",),
    ),
    Interaction(
        "comment",
        "commented on it",
        2.0,
        "as public as a share and more work, but some comments object",
        evaluated=4.0,
        outcome="positive_feedback",
        implies=("open",),
    ),
    Interaction(
        "hide",
        "hid it",
        -2.0,
        "asked to see less: outweighs a read and a clap",
        outcome="negative_feedback",
        undo="unhide",
        held="hidden",
    ),
    Interaction(
        "report",
        "reported it",
        -4.0,
        "offended: outweighs anything done in passing",
        outcome="negative_feedback",
        undo="unreport",
        held="reported",
    ),
)

OUTCOMES: tuple[Outcome, ...] = (
    Outcome("open", 1.0, "the unit: one sign of interest in a title"),
    Outcome("read", 4.0, "what a feed is for: opened and left is worth a fifth of opened and read"),
    Outcome("positive_feedback", 8.0, "costs an effort, and a share brings other users"),
    Outcome("negative_feedback", -20.0, "users who hide stories leave; worth four good reads lost"),
)
"""In this order the contributions of outcomes add up to the expected value."""

_BY_NAME = {one.name: one for one in INTERACTIONS}
REVERSIBLE = tuple(one for one in INTERACTIONS if one.undo)
"""What can be taken back."""
EVENT_TYPES = (*_BY_NAME, *(one.undo for one in REVERSIBLE))
"""Every type of an event about a story."""
LIKING = tuple(one.name for one in INTERACTIONS if one.strength > 0)
"""Events that say a story was liked at least a little; each implies that it was opened."""
LABELS = {
    outcome.name: tuple(
        one.name
        for one in INTERACTIONS
        if outcome.name in (one.outcome, *(_BY_NAME[implied].outcome for implied in one.implies))
    )
    for outcome in OUTCOMES
}
"""Outcome → the events that make it true."""
COUNTERS = {one.counter: one for one in INTERACTIONS if one.counter}
"""What story_counters counts."""
ONLINE_CODES = {one.name: one.online_code for one in INTERACTIONS if one.online_code}
"""Event type → code in the user's online state."""
