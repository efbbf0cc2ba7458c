"""Reads back the truth of a simulated lake: for evaluation only, nothing that ranks may use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.arrays import F32, I32
from features.errors import BadInput
from lake.simulator.world import Truth, read_truth


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
