"""A snapshot's tables, decoded and indexed; the only place that knows both forms."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.arrays import I32
from features.registry import registered
from features.snapshot import ABSENT, Manifest
from features.streams import START
from online.columns import Rows
from online.story_table.lookup import EdgeTargets, FormerKeys, Grouping, HashIndex
from online.story_table.names import Names
from online.story_table.new_rows import NamesNow, StoryRows, gathered_features
from online.story_table.story_columns import StoryColumns
from online.story_table.table import Promotions, StoryTable
from online.story_table.updates import counted, earliest


def build_story_table(manifest: Manifest, tables: dict[str, pa.Table], position: str = START) -> StoryTable:
    """The story table of a snapshot; `position`: up to where in the story stream its lake is complete."""
    stories = tables["stories"]
    names = NamesNow(
        author=Names("author", tables["authors"]),
        publication=Names("publication", tables["publications"]),
        topic=Names("topic", tables["topics"]),
        language=Names("language", tables["languages"]),
    )
    column = _columns(stories, names)
    columns, n = StoryColumns(column), len(stories)
    row_of_topic = np.repeat(np.arange(n, dtype=np.int32), column["topics"].shape[1])
    return StoryTable(
        manifest=manifest,
        position=position,
        snapshot_rows=n,
        snapshot_ids=stories["story_id"].combine_chunks(),
        snapshot_titles=stories["title"].combine_chunks(),
        snapshot_updated_at=stories["updated_at"].to_numpy(),
        columns=columns,
        **columns.fields(n),
        by_hash=HashIndex(column["hashes"]),
        authors=names.author,
        publications=names.publication,
        topic_names=names.topic,
        languages=names.language,
        rows_by_language=counted(np.zeros(1, np.int32), len(names.language), column),
        rows_by_author=Grouping(column["author"], len(names.author)),
        rows_by_publication=Grouping(column["publication"], len(names.publication)),
        rows_by_topic=Grouping(column["topics"].ravel(), len(names.topic), row_of_topic),
        top=_top(tables["top"]),
        author_since=earliest(np.empty(1, np.int64), len(names.author), column["author"], column["published_at"]),
        superseded=np.empty(0, np.int32),
        withdrawn=None,
        promotions=_promotions(tables["promotions"]),
        former_keys=FormerKeys(*(tables["former_keys"][name].to_numpy() for name in ("hash", "key"))),
        targets=EdgeTargets(tables["targets"]["hash"].to_numpy(), tables["targets"]["id"].combine_chunks()),
    )


_SERVED = ("author", "publication", "language", "published_at", "visibility", "members_only", "duplicate_key")


def _columns(stories: pa.Table, names: NamesNow) -> StoryRows:
    taken = (*_SERVED, *(feature.name for feature in registered("story")))
    columns = {
        "hashes": stories["story_hash"].to_numpy(),
        **{name: stories[name].to_numpy() for name in taken},
        "topics": _padded(stories["topics"]),
        "vectors": np.asfortranarray(_matrix(stories["vector"], len(stories))),
        "similar": _matrix(stories["similar"], len(stories)),
        "similarity": _matrix(stories["similarity"], len(stories)),
    }
    return columns | gathered_features(columns, names)


def _matrix(column: pa.ChunkedArray, n: int) -> np.ndarray:
    """A fixed-size list column as [n, width]."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(n, column.type.list_size)


def _padded(column: pa.ChunkedArray) -> I32:
    """A list column as [n, longest], ABSENT after each row's end."""
    lists = column.combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy())
    width = int(lengths.max(initial=1))
    out = np.full((len(lists), width), ABSENT, np.int32, order="F")  # by column, as gather_mean reads it
    out[np.arange(width) < lengths[:, None]] = lists.flatten().to_numpy(zero_copy_only=False)
    return out


def _top(table: pa.Table) -> dict[int, Rows]:
    language, rows = table["language"].to_numpy(), table["row"].to_numpy()
    return {int(value): rows[language == value] for value in np.unique(language)}


def _promotions(table: pa.Table) -> Promotions:
    """From a table of `features.snapshot.PROMOTIONS_SCHEMA`."""
    column = {name: table[name].to_numpy() for name in ("hash", "row", "starts_at", "ends_at", "daily_cap")}
    return Promotions(column["hash"], column["row"], column["starts_at"], column["ends_at"], column["daily_cap"])
