"""What a user can take back, and when a change of it takes effect: one rule for the service and the batch.

A refusal (mute, block, hide, report) applies on arrival, however its clock is set. Any other change applies unless the
last change that applied to the same edge occurred later; at equal times the later arrival wins. The service folds changes
as they arrive (online/ingest/events.py, in Lua), a reader of a snapshot continues that fold (online/user/user.py), and the batch
does the same with windows over the order of arrival (batch/changes.py).
"""

from __future__ import annotations

import hashlib

from features.interactions import REVERSIBLE
from features.raw_datasets import EDGE_KINDS, TARGET_TYPES

EDGE_TYPES = {
    "follow": ("follow", "add"),
    "unfollow": ("follow", "remove"),
    "mute": ("mute", "add"),
    "unmute": ("mute", "remove"),
    "block": ("block", "add"),
    "unblock": ("block", "remove"),
}
"""Event type → kind and operation of the edge; rows of the raw dataset `edges`."""
STORY_CHOICES = {event: (one.name, op) for one in REVERSIBLE for event, op in ((one.name, "add"), (one.undo, "remove"))}
"""The same for stories, which are events in the raw lake."""
CHOICES = EDGE_TYPES | STORY_CHOICES
REFUSALS = ("mute", "block", *(one.name for one in REVERSIBLE))
"""Kinds whose `add` protects the user: it applies on arrival."""

BLOCKED_BY = "blocked_by"
"""Kind of the edge from a user to each of those who have blocked them; it is their block, seen from the other side."""
HELD = {
    **{(kind, target): f"{kind}_{target}" for kind in EDGE_KINDS for target in TARGET_TYPES},
    **{(one.name, "story"): one.held for one in REVERSIBLE},
    (BLOCKED_BY, "author"): BLOCKED_BY,
}
"""Kind and type of target → the array of a profile with the targets of the edges in force; `<name>_at`, beside it, says
when each was last changed (µs)."""
ENDED = {("follow", target): f"unfollow_{target}" for target in TARGET_TYPES}
"""The same for follows that have ended: a late `follow` must not begin another. Of refusals the profile holds no such
list, for an `add` applies on arrival and a `remove` changes nothing where there is no edge."""

ENDS_FOLLOWS = ("block", "author")
"""Kind and type of target of the edge that ends the follows between its two users, at the block's time and on arrival."""


def applies_on_arrival(kind: str, op: str) -> bool:
    """Whether the change takes effect whatever its time is. So does the end of a follow that comes of a block."""
    return op == "add" and kind in REFUSALS


def ended_by(user_id: str, event_id: str, side: int) -> str:
    """event_id of the end of a follow that comes of the block `event_id` by `user_id`: of theirs (side 0), or of the follow
    by the user whom they have blocked (side 1). `batch/jobs/validated.py` makes the same of columns."""
    name = hashlib.md5("\x1f".join((user_id, event_id)).encode(), usedforsecurity=False).hexdigest()
    return f"block-{name}-{side}"
