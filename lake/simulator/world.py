"""The whole truth of a simulated world, and the interest that follows from it; read back for evaluation only, nothing that ranks may use it."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from features.arrays import F32, I32, I64, Bools
from features.errors import BadInput
from lake.simulator.config import WorldConfig
from lake.simulator.edges import Edges, make_edges
from lake.simulator.stories import Stories, make_stories
from lake.simulator.users import Authors, SimulatedUsers, make_authors, make_users

BASE, TOPIC_WEIGHT, TASTE_WEIGHT, QUALITY_WEIGHT, AUTHOR_WEIGHT, BOND_WEIGHT = -3.2, 4.0, 1.2, 0.7, 0.4, 1.2
"""Weights of the logit of interest. Chosen so that mean interest is about 0.1, that a perfect list of twenty is worth
about twice what the best-liked stories are worth to everybody, and that topic > taste > quality."""
PARTS: dict[str, Any] = {"users": SimulatedUsers, "authors": Authors, "stories": Stories, "edges": Edges}


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything behaviour depends on."""

    config: WorldConfig
    users: SimulatedUsers
    authors: Authors
    stories: Stories
    edges: Edges
    bonds: I64
    """Sorted keys `user * len(authors) + author` of the follows that are meant."""

    def interest(self, user: I32, story: I32) -> F32:
        """P(opens | looks at it) of each pair of rows: int32[n], int32[n] → float32[n] in [0, 1].

        A logistic of topic match, taste, quality of story and author, and the bond to the author; 0 in a language the
        user does not read. Summed in a fixed order, so that a pair has the same bits in any company.
        """
        stories, users = self.stories, self.users
        author = stories.author[story]
        logit = np.full(len(story), BASE, np.float32)
        logit += np.float32(TOPIC_WEIGHT) * self.topic_match(user, story)
        for mine, its in zip(users.taste, stories.character, strict=True):
            logit += np.float32(TASTE_WEIGHT) * mine[user] * its[story]
        logit += np.float32(QUALITY_WEIGHT) * stories.quality[story]
        logit += np.float32(AUTHOR_WEIGHT) * self.authors.quality[author]
        logit += np.float32(BOND_WEIGHT) * self.bonded(user, author)
        chance = 1 / (1 + np.exp(-logit))
        return np.where(users.reads_language[user, stories.language[story]], chance, np.float32(0))

    def topic_match(self, user: I32, story: I32) -> F32:
        """Share-weighted liking of the stories' topics: float32[n] in [0, 1]."""
        topics, shares = self.stories.topics[story], self.stories.topic_shares()[story]
        match = np.zeros(len(story), np.float32)
        for slot in range(topics.shape[1]):  # a missing topic is -1 and has share 0
            match += self.users.topic_interest[user, topics[:, slot]] * shares[:, slot]
        return match

    def bonded(self, user: I32, author: I32) -> Bools:
        """Whether each user follows the author for good: bool[n]."""
        key = user.astype(np.int64) * len(self.authors.reach) + author
        place = np.searchsorted(self.bonds, key)
        return np.append(self.bonds, -1)[place] == key


def make_truth(config: WorldConfig) -> Truth:
    """The world of a config."""
    users = make_users(config)
    authors = make_authors(config, users)
    return _truth(config, users, authors, make_stories(config, users, authors), make_edges(config, users, authors))


def _truth(config: WorldConfig, users: SimulatedUsers, authors: Authors, stories: Stories, edges: Edges) -> Truth:
    meant = edges.at(edges.is_bond)
    bonds = np.sort(meant.user.astype(np.int64) * len(authors.reach) + meant.target)
    return Truth(config, users, authors, stories, edges, bonds)


def save_truth(truth: Truth, directory: Path) -> None:
    """Writes `world.json` (the config) and `latents.npz` (every array as `part.field`)."""
    directory.mkdir(parents=True)
    (directory / "world.json").write_text(truth.config.model_dump_json(indent=2) + "\n")
    arrays = {
        f"{part}.{field.name}": getattr(getattr(truth, part), field.name)
        for part, kind in PARTS.items()
        for field in fields(kind)
    }
    np.savez(directory / "latents.npz", **arrays)


def read_truth(directory: Path) -> Truth:
    """What `save_truth` wrote. FileNotFoundError when it did not."""
    config = WorldConfig.model_validate(json.loads((directory / "world.json").read_text()))
    with np.load(directory / "latents.npz") as arrays:
        parts = {
            part: kind(**{field.name: arrays[f"{part}.{field.name}"] for field in fields(kind)})
            for part, kind in PARTS.items()
        }
    return _truth(config, **parts)


@dataclass(frozen=True, slots=True)
class World:
    """The truth behind a lake, by ids."""

    truth: Truth

    def interest(self, user_ids: list[str], story_ids: list[str]) -> F32:
        """P(opens | looks at it) of every user and story: float32[users, stories] in [0, 1].

        The very function that made the behaviour. It knows no rules: a story that may not be shown has interest too,
        save one in a language the user does not read (0). BadInput for an id that this world does not have.
        """
        users = _rows(user_ids, "u", 6, self.truth.config.users)
        stories = _rows(story_ids, "s", 7, self.truth.config.stories)
        out = np.empty((len(users), len(stories)), np.float32)
        for index, user in enumerate(users):
            out[index] = self.truth.interest(np.full(len(stories), user), stories)
        return out


def load_world(lake: Path) -> World:
    """The world of a simulated lake; BadInput when the lake was not simulated."""
    try:
        return World(read_truth(lake / "world"))
    except FileNotFoundError as error:
        raise BadInput(f"{lake} has no world/ directory; true interest is known of simulated lakes only.") from error


def _rows(ids: list[str], letter: str, width: int, size: int) -> I32:
    for ident in ids:
        digits = ident[1:]
        if not (ident[:1] == letter and len(digits) == width and digits.isdecimal() and int(digits) < size):
            raise BadInput(f"The simulated world has no {ident!r}; its ids go up to {letter}{size - 1:0{width}d}.")
    return np.array([int(ident[1:]) for ident in ids], np.int32)
