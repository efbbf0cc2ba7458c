"""Whom a user follows, as delivery sees it: authors and publications. Topics are always pulled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from features.arrays import Hashes
from online.story_table.lookup import one_of
from online.user.user import UserState


class Target(NamedTuple):
    """An author or a publication, whose stories are delivered to its followers."""

    type: str
    hash: int

    @property
    def name(self) -> str:
        """As it stands in Redis' sets."""
        return f"{self.type}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Follows:
    """Hashes of the authors and publications of one user, int64[m] each."""

    authors: Hashes
    """Followed, and neither muted nor blocked."""
    publications: Hashes
    refused_authors: Hashes
    """Muted or blocked: their stories are in no timeline of the user, whatever brought them."""
    refused_publications: Hashes

    def digest(self) -> bytes:
        """Equal for equal follows; tells whether a timeline was reconciled with them."""
        parts = (self.authors, self.publications, self.refused_authors, self.refused_publications)
        counted = b"".join(len(part).to_bytes(4, "little") + np.sort(part).astype("<i8").tobytes() for part in parts)
        return hashlib.blake2b(counted, digest_size=8).digest()

    def targets(self) -> list[Target]:
        """Everything whose stories are to be delivered to the user."""
        return [
            *(Target("author", one) for one in self.authors.tolist()),
            *(Target("publication", one) for one in self.publications.tolist()),
        ]

    def refusals(self) -> set[str]:
        """Names of what is muted or blocked, marked as such."""
        authors = {refusal("author", one) for one in self.refused_authors.tolist()}
        return authors | {refusal("publication", one) for one in self.refused_publications.tolist()}


def refusal(target_type: str, target: int) -> str:
    """The mark, among a user's targets, that stories of this one are kept out."""
    return f"!{target_type}:{target}"


def follows_of(state: UserState) -> Follows:
    """From the edges in force."""
    refused = {kind: np.concatenate((state.edges("mute", kind), state.edges("block", kind))) for kind in _TYPES}
    followed = {kind: less(state.edges("follow", kind), refused[kind]) for kind in _TYPES}
    return Follows(followed["author"], followed["publication"], refused["author"], refused["publication"])


def less(hashes: Hashes, others: Hashes) -> Hashes:
    """int64[≤ m]: `hashes` that are not among `others`, in their order."""
    return hashes[~one_of(hashes, others)] if len(hashes) and len(others) else hashes


def _none() -> Hashes:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Pulled:
    """The pulled targets at one version."""

    version: int = 0
    names: frozenset[str] = frozenset()
    authors: Hashes = field(default_factory=_none)
    publications: Hashes = field(default_factory=_none)

    def __contains__(self, target: Target) -> bool:
        return target.name in self.names

    def of(self, follows: Follows) -> Follows:
        """The part of `follows` that is pulled."""
        authors = follows.authors[one_of(follows.authors, self.authors)]
        publications = follows.publications[one_of(follows.publications, self.publications)]
        return Follows(authors, publications, follows.refused_authors, follows.refused_publications)

    def pushed(self, follows: Follows) -> Follows:
        """The part of `follows` that is pushed."""
        authors, publications = less(follows.authors, self.authors), less(follows.publications, self.publications)
        return Follows(authors, publications, follows.refused_authors, follows.refused_publications)

    def without(self, target: Target) -> Pulled:
        """As if the target were pushed already."""
        return made(self.version, self.names - {target.name})


def made(version: int, names: frozenset[str]) -> Pulled:
    """From the members of the set, `type:hash`."""
    by_type: dict[str, list[int]] = {"author": [], "publication": []}
    for name in names:
        kind, _, target = name.partition(":")
        by_type[kind].append(int(target))
    authors, publications = (np.array(sorted(by_type[kind]), np.int64) for kind in ("author", "publication"))
    return Pulled(version, names, authors, publications)


_TYPES = ("author", "publication")
