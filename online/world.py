"""One snapshot as the serving process holds it: the story table as arrays, dictionaries of names, row indices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.formulas import gather, gather_mean
from features.registry import BY_NAME, registered
from features.snapshot import ABSENT, Manifest
from online.columns import Bools, Floats, Grouping, Hashes, HashIndex, Ints, Micros, Rows


class Names:
    """Authors, publications, topics or languages of a snapshot: position ↔ id, with the entity's features."""

    def __init__(self, entity: str, table: pa.Table) -> None:
        self.ids: pa.Array = table["id"].combine_chunks()
        self.by_hash = HashIndex(table["hash"].to_numpy())
        self.features: dict[str, Floats] = {
            f.name: np.append(table[f.name].to_numpy(), np.float32(f.default)) for f in registered(entity)
        }
        """float32[k + 1] each: the last value is the default, which index -1 finds."""

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, index: int) -> str | None:
        """The id at `index`; None for -1."""
        return None if index == ABSENT else self.ids[index].as_py()

    def scatter(self, hashes: Hashes, values: Floats | float) -> Floats:
        """float32[k + 1] of zeros with `values` at the known ones of `hashes`; the last entry stands for absent."""
        out = np.zeros(len(self) + 1, np.float32)
        found = self.by_hash.find(hashes)
        known = found >= 0
        out[found[known]] = values if np.isscalar(values) else np.asarray(values)[known]
        return out


@dataclass(frozen=True, slots=True)
class World:
    """Immutable. Rows are by (published_at, story_id); N stories, A authors, P publications, T topics, L languages."""

    manifest: Manifest
    ids: pa.Array  # string[N]
    titles: pa.Array  # string[N], nullable
    hashes: Hashes
    by_hash: HashIndex
    author: Ints
    publication: Ints
    topics: Ints  # [N, t], ABSENT at the end
    language: Ints
    published_at: Micros
    visibility: np.ndarray  # int8[N]
    members_only: Bools
    duplicate_key: Hashes
    vectors: Floats  # [factors, N]
    similar: Rows  # [N, SIMILAR_KEPT]
    similarity: Floats  # [N, SIMILAR_KEPT]
    static: dict[str, Floats]
    """Features that do not depend on the person, float32[N] each, those of author, publication and topics included."""
    authors: Names
    publications: Names
    topic_names: Names
    languages: Names
    rows_by_author: Grouping
    rows_by_publication: Grouping
    rows_by_topic: Grouping
    top: dict[int, Rows]
    """Language → trending rows, hottest first; ABSENT: over all languages."""

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def version(self) -> str:
        return self.manifest.version


def build_world(manifest: Manifest, tables: dict[str, pa.Table]) -> World:
    """The arrays of a snapshot, decoded and indexed; the only place that knows both forms."""
    stories = tables["stories"]
    column = {
        name: stories[name].to_numpy() for name in stories.column_names if _is_flat(stories.schema.field(name).type)
    }
    topics = _padded(stories["topics"])
    names = {entity: Names(entity, tables[table]) for entity, table in _NAME_TABLES.items()}
    n = len(stories)
    row_of_topic = np.repeat(np.arange(n, dtype=np.int32), topics.shape[1])
    return World(
        manifest=manifest,
        ids=stories["story_id"].combine_chunks(),
        titles=stories["title"].combine_chunks(),
        hashes=column["story_hash"],
        by_hash=HashIndex(column["story_hash"]),
        author=column["author"],
        publication=column["publication"],
        topics=topics,
        language=column["language"],
        published_at=column["published_at"],
        visibility=column["visibility"],
        members_only=column["members_only"],
        duplicate_key=column["duplicate_key"],
        vectors=np.ascontiguousarray(_matrix(stories["vector"], n).T),
        similar=_matrix(stories["similar"], n),
        similarity=_matrix(stories["similarity"], n),
        static=_static(column, topics, names),
        authors=names["author"],
        publications=names["publication"],
        topic_names=names["topic"],
        languages=names["language"],
        rows_by_author=Grouping(column["author"], len(names["author"])),
        rows_by_publication=Grouping(column["publication"], len(names["publication"])),
        rows_by_topic=Grouping(topics.ravel(), len(names["topic"]), row_of_topic),
        top=_top(tables["top"]),
    )


_NAME_TABLES = {"author": "authors", "publication": "publications", "topic": "topics", "language": "languages"}


def _is_flat(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_boolean(kind))


def _matrix(column: pa.ChunkedArray, n: int) -> np.ndarray:
    """A fixed-size list column as [n, width]."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(n, column.type.list_size)


def _padded(column: pa.ChunkedArray) -> Ints:
    """A list column as [n, longest], ABSENT after each row's end."""
    lists = column.combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy())
    width = int(lengths.max(initial=1))
    out = np.full((len(lists), width), ABSENT, np.int32, order="F")  # by column, as gather_mean reads it
    out[np.arange(width) < lengths[:, None]] = lists.flatten().to_numpy(zero_copy_only=False)
    return out


def _static(column: dict[str, np.ndarray], topics: Ints, names: dict[str, Names]) -> dict[str, Floats]:
    static = {feature.name: column[feature.name] for feature in registered("story")}
    for entity in ("author", "publication"):
        static |= {name: gather(values, column[entity]) for name, values in names[entity].features.items()}
    for name, values in names["topic"].features.items():
        static[name] = gather_mean(values[:-1], topics, BY_NAME[name].default)
    return static


def _top(table: pa.Table) -> dict[int, Rows]:
    language, rows = table["language"].to_numpy(), table["row"].to_numpy()
    return {int(value): rows[language == value] for value in np.unique(language)}
