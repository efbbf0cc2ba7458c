"""The columns of stories that came by the stream: what is known of a newcomer, and what a changed story keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, I32, Hashes
from features.formulas import NEWCOMER_RATES, gather, gather_mean
from features.near_duplicates import duplicate_key
from features.registry import BY_NAME, registered
from features.snapshot import ABSENT
from online.columns import Rows
from online.story_table.names import Names
from online.story_table.story_change import StoryVersion
from online.story_table.table import StoryTable

StoryRows = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class NamesNow:
    """The dictionaries, with the names that the new rows bring."""

    author: Names
    publication: Names
    topic: Names
    language: Names


def new_rows(
    story_table: StoryTable, names: NamesNow, versions: Sequence[StoryVersion], hashes: Hashes, origins: Rows
) -> StoryRows:
    """The m columns' values behind the rows of `story_table`: [m] or [m, …] each.

    `origins`, int32[m]: the row from which to take what was learned of the story: one in the story table, or that of its first
    version, which may be the row itself.
    """
    keys = [duplicate_key(version.title, int(h)) for version, h in zip(versions, hashes, strict=True)]
    stated: StoryRows = {
        "hashes": hashes,
        "author": names.author.find([version.author_id for version in versions]),
        "publication": names.publication.find([version.publication_id for version in versions]),
        "topics": _topics(names.topic, versions),
        "language": names.language.find([version.language for version in versions]),
        "published_at": np.array([version.published_us for version in versions], np.int64),
        "visibility": np.array([version.visibility for version in versions], np.int8),
        "members_only": np.array([version.members_only for version in versions], bool),
        "duplicate_key": np.array(keys, np.int64),
    }
    gathered = gathered_features(stated, names)
    return stated | gathered | _learned(story_table, gathered, origins)


def gathered_features(columns: StoryRows, names: NamesNow) -> dict[str, F32]:
    """float32[m] for every feature of the author, the publication, the language and the topics, by the indices in `columns`."""
    out: dict[str, F32] = {}
    for entity, of in (("author", names.author), ("publication", names.publication), ("language", names.language)):
        out |= {name: gather(values, columns[entity]) for name, values in of.features.items()}
    for name, values in names.topic.features.items():
        out[name] = gather_mean(values[:-1], columns["topics"], BY_NAME[name].default)
    return out


def _learned(story_table: StoryTable, gathered: dict[str, F32], origins: Rows) -> StoryRows:
    """What the batch has learned of a story stays its own when it is changed; of a newcomer nothing is known."""
    n, m = len(story_table), len(origins)
    known = np.flatnonzero(origins < n)
    first = np.where(origins < n, 0, origins - n)  # row among the new ones of a newcomer's first version
    width = story_table.similar.shape[1]
    columns: StoryRows = {
        "vectors": np.zeros((m, len(story_table.vectors)), np.float32),
        "similar": np.full((m, width), ABSENT, np.int32),
        "similarity": np.zeros((m, width), np.float32),
    }
    for feature in registered("story"):
        rate = NEWCOMER_RATES.get(feature.name)
        columns[feature.name] = gathered[rate][first] if rate else np.full(m, feature.default, np.float32)
    before = {
        "vectors": story_table.vectors.T,
        "similar": story_table.similar,
        "similarity": story_table.similarity,
        **story_table.static,
    }
    for name, column in columns.items():
        column[known] = before[name][origins[known]]
    return columns


def _topics(names: Names, versions: Sequence[StoryVersion]) -> I32:
    """int32[m, most topics of one], ABSENT at the end."""
    lengths = np.array([len(version.topics) for version in versions])
    out = np.full((len(versions), max(1, int(lengths.max()))), ABSENT, np.int32)
    out[np.arange(out.shape[1]) < lengths[:, None]] = names.find([topic for v in versions for topic in v.topics])
    return out
