"""The mapping file of `rex import table`: which file holds which dataset, and which column is which.

derive_stories = true              # make stories of what events name: published when first touched

[[table]]
file = "clicks.csv"                # CSV (with a header) or Parquet; relative to this file
dataset = "events"                 # stories, users, edges, events or promotions
columns = { user_id = "reader", story_id = "post", type = "action", occurred_at = "ts" }   # ours = theirs
constants = { source = "email" }   # ours = the same value in every row
times = { occurred_at = "unix_ms" }            # unix_s, unix_ms or iso (the default; without a zone it is UTC)
values = { type = { view = "read", like = "clap" } }   # theirs = ours; every value must be named
lists = { topics = "|" }           # separator of a list in one cell; the default is a comma
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.datasets import dataset
from features.errors import BadInput


class TableMapping(BaseModel):
    """One source file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    """CSV or Parquet; relative to the mapping file."""
    dataset: Literal["stories", "users", "edges", "events", "promotions"]
    """Which raw dataset it fills; several files may fill one."""
    columns: dict[str, str]
    """Our column → source column."""
    constants: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Our column → the same value in every row."""
    times: dict[str, Literal["unix_s", "unix_ms", "iso"]] = Field(default_factory=dict)
    """Our column → how the source writes the time."""
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Our column → source value → our value."""
    lists: dict[str, str] = Field(default_factory=dict)
    """Our column → separator."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What stands between the cells of a CSV; not guessed, because guesses change with the content."""

    def check(self, where: str) -> None:
        """BadInput for a column that the dataset does not have, or a mandatory one that is not mapped."""
        declared = dataset(self.dataset)
        known = [name for name in declared.names if name not in declared.partition_by]
        given = {**self.columns, **self.constants}
        for name in (*given, *self.times, *self.values, *self.lists):
            if name not in known:
                raise BadInput(f"{where}: dataset {self.dataset} has no column {name!r}; it has {', '.join(known)}.")
        for name in (*self.times, *self.values, *self.lists):
            if name not in self.columns:
                raise BadInput(f"{where}: {name!r} is described but not mapped; add it to `columns`.")
        if both := sorted(set(self.columns) & set(self.constants)):
            raise BadInput(f"{where}: {both[0]!r} is both in `columns` and in `constants`; keep one.")
        for column in declared.columns:
            if column.required and column.name not in given:
                raise BadInput(f"{where}: dataset {self.dataset} needs {column.name!r} ({column.meaning}); map it.")


class Mapping(BaseModel):
    """A whole mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: list[TableMapping] = Field(min_length=1)
    derive_stories: bool = False
    """Make a story of every story_id that events name and no table describes."""


def load_mapping(path: Path) -> Mapping:
    """The mapping in file `path`, checked; BadInput says what is wrong with it."""
    try:
        mapping = Mapping.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BadInput(f"There is no mapping file {path}.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path} is not a readable TOML file: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    for table in mapping.table:
        table.check(f"{path}, table {table.file}")
    filled = {table.dataset for table in mapping.table}
    if "stories" not in filled and not (mapping.derive_stories and "events" in filled):
        raise BadInput(f"{path} fills no stories; map a table to them, or map events and set derive_stories = true.")
    return mapping
