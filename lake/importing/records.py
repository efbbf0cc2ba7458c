"""Records of a text file, cell by cell and exactly: nothing is guessed, nothing is repaired, every refusal names the line."""

from __future__ import annotations

import csv
import gc
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from features.errors import BadInput
from lake.importing.record_counts import MAX_CELL, count_records
from lake.importing.source_files import SourceFile, check_encoding, damaged, open_text, refuse_undecodable
from lake.importing.text_dialect import BYTE_ORDER_MARK, Dialect, header_names, shown

BLOCK_CHARS = 4 << 20
"""Held in memory at once, some ten times as much as objects; enough for PyArrow to be fast."""
EXAMPLES = 3

_BLANK = re.compile(r"(?:\A|\n|\r(?!\n))(?:\r\n|\r|\n)")
"""A line without a character."""


@dataclass
class Records:
    """The records of one file, in batches. `columns`, `rows` and `spanning` are known when all batches are taken."""

    source: SourceFile
    dialect: Dialect
    columns: tuple[str, ...] = ()
    rows: int = 0
    spanning: int = 0
    """Records that take several lines."""
    _longest: int = 0
    """Characters of the longest record."""
    _bad: list[str] = field(default_factory=list)
    _bad_rows: int = 0

    def batches(self) -> Iterator[tuple[pa.Array, list[pa.Array]]]:
        """int64[n], the lines on which n records begin, and string[n] a column.

        BadInput for a file that is not as its dialect says, or of which a second, independent count finds another number of records.
        """
        encoding = check_encoding(self.source, self.dialect.encoding)
        try:
            with open_text(self.source, encoding) as file:
                yield from self._batches(file)
        except UnicodeDecodeError:
            refuse_undecodable(self.source, encoding)
        except OSError as error:
            damaged(self.source, error)
        if self._bad:
            raise BadInput(self._bad_widths())
        counted = count_records(self.source, encoding, self.dialect, len(self.columns), self._longest)
        if counted != self.rows:
            raise BadInput(
                f"{self.source.name}: {self.rows:,} records were read where {counted:,} were counted; something in it is ambiguous. "
                "State its quote and escape, or write it again."
            )

    def _batches(self, file: io.TextIOWrapper) -> Iterator[tuple[pa.Array, list[pa.Array]]]:
        number = sum(1 for _ in zip(range(self.dialect.skip), iter(file.readline, ""), strict=False))
        self.columns = self.dialect.columns
        if self.dialect.header:
            lines = _Lines(iter(file.readline, ""), number, self.dialect)
            self.columns = self._header(lines)
            number = lines.number
        while block := file.readlines(BLOCK_CHARS):
            self._longest = max(self._longest, *map(len, block))
            if (columns := self._split(block)) is not None:
                starts, number = np.arange(number + 1, number + len(block) + 1), number + len(block)
                yield self._counted(pa.array(starts), columns)
                continue
            lines = _Lines(chain(block, iter(file.readline, "")), number, self.dialect)
            with _no_collection():
                batch = self._parse(lines, number + len(block))
            number = lines.number
            if not self._bad:
                yield self._counted(*batch)

    def _counted(self, starts: pa.Array, columns: list[pa.Array]) -> tuple[pa.Array, list[pa.Array]]:
        self.rows += len(starts)
        marked = pc.index(pc.starts_with(columns[0], BYTE_ORDER_MARK), True).as_py() if columns else -1
        if marked >= 0:
            raise BadInput(
                f"{self.source.name}, line {starts[marked]}: a byte order mark stands inside the file, as where two files were "
                "joined; take it out."
            )
        return starts, columns

    def _header(self, lines: _Lines) -> tuple[str, ...]:
        for start, cells in _cells(self.source.name, lines, self.dialect):
            if cells:
                return header_names(f"{self.source.name}, line {start}", cells)
        raise BadInput(f"{self.source.name} has no header: it holds nothing but blank lines.")

    def _split(self, block: list[str]) -> list[pa.Array] | None:
        """The columns of a block where every line is a record and no character is special; None: look closer."""
        text = "".join(block)
        special = self.dialect.quote + self.dialect.escape
        if len(self.dialect.delim) != 1 or not self.dialect.delim.isascii() or any(mark in text for mark in special):
            return None
        if text.startswith(BYTE_ORDER_MARK):
            return None  # which PyArrow would drop
        if len(self.columns) > 1 and _BLANK.search(text):
            return None  # which is no record, and PyArrow would make one of it
        names = [str(i) for i in range(len(self.columns))]
        try:
            table = pa_csv.read_csv(
                pa.py_buffer(text.encode()),
                read_options=pa_csv.ReadOptions(column_names=names, block_size=4 * MAX_CELL),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self.dialect.delim, quote_char=False, ignore_empty_lines=False
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=False,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid:
            return None
        return [column.combine_chunks() for column in table.columns] if table.num_rows == len(block) else None

    def _parse(self, lines: _Lines, until: int) -> tuple[pa.Array, list[pa.Array]]:
        """Records up to the one that takes line number `until`."""
        width, starts, records = len(self.columns), [], []
        for start, cells in _cells(self.source.name, lines, self.dialect):
            if cells or (width == 1 and not self.dialect.skips_blank):
                if len(lines.pending) > 1:
                    self._spans(start, lines.pending)
                if len(cells or [""]) != width:
                    self._misfit(start, len(cells), lines.pending)
                starts.append(start)
                records.append(cells or [""])
            lines.pending.clear()
            if lines.number >= until:
                break
        if self._bad:
            return pa.array([]), []
        across = list(zip(*records, strict=True)) or [()] * width
        return pa.array(starts, pa.int64()), [pa.array(values, pa.string()) for values in across]

    def _spans(self, start: int, lines: Sequence[str]) -> None:
        """Counts a record of several lines; refuses it where a line of it looks like a record of its own."""
        self.spanning += 1
        self._longest = max(self._longest, sum(map(len, lines)))
        if self.dialect.multiline:
            return
        for number, line in enumerate(lines[1:], start + 1):
            if line.count(self.dialect.delim) == len(self.columns) - 1:
                raise BadInput(
                    f"{self.source.name}, line {start}: a quoted cell goes on over line {number}, which looks like a record of its own "
                    f"({shown(line)}). If a quote was never closed, set quote := ''; if the text is as it should be, multiline := true."
                )

    def _misfit(self, start: int, cells: int, lines: Sequence[str]) -> None:
        self._bad_rows += 1
        if len(self._bad) < EXAMPLES:
            self._bad.append(f"line {start} has {cells} ({shown(''.join(lines))})")

    def _bad_widths(self) -> str:
        first = "the header has" if self.dialect.header else "`columns` names"
        more = f" and {self._bad_rows - len(self._bad):,} more" if self._bad_rows > len(self._bad) else ""
        return (
            f"{self.source.name}: {first} {len(self.columns)} cells, but {', '.join(self._bad)}{more}; correct these lines, or "
            "state its delim, quote and escape where they are others."
        )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Lists of cells make no cycles, and looking for some in so many objects takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Lines:
    """Lines of a file from number + 1 on, and those taken since the last record."""

    def __init__(self, lines: Iterator[str], number: int, dialect: Dialect) -> None:
        self._lines, self.number, self._escape = lines, number, dialect.escape
        self.pending: list[str] = []
        special = re.escape(f"{dialect.quote}{dialect.escape}{dialect.delim}")
        apart = dialect.escape not in ("", dialect.quote)
        self._stray = re.compile(rf"{re.escape(dialect.escape)}([{special}\r\n]|)") if apart else None

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            self.pending.append(line)
            if self._stray and self._escape in line:
                yield self._stray.sub(self._doubled, line)
            else:
                yield line

    def _doubled(self, found: re.Match[str]) -> str:
        """An escape before an ordinary character, as in `\\N`, stands for itself."""
        return found[0] if found[1] else 2 * self._escape


def _cells(name: str, lines: _Lines, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """First line and cells of every record; no cells: a blank line."""
    if dialect.is_plain:
        for line in lines:
            text = line.rstrip("\r\n")
            yield lines.number, (text.split(dialect.delim) if dialect.delim else [text]) if text else []
        return
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(
        lines,
        delimiter=dialect.delim,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        doublequote=dialect.escape == dialect.quote,
        escapechar=dialect.escape if dialect.escape not in ("", dialect.quote) else None,
        strict=True,
    )
    start, well_quoted = lines.number + 1, _well_quoted(dialect)
    try:
        for cells in reader:
            record = "".join(lines.pending)
            if well_quoted is not None and dialect.quote in record and not well_quoted.fullmatch(record.rstrip("\r\n")):
                raise csv.Error("a stray quote")
            yield start, cells
            start = lines.number + 1
    except csv.Error as error:
        raise BadInput(f"{name}, line {start}: {_reason(str(error), ''.join(lines.pending[:2]), dialect)}") from error


def _well_quoted(dialect: Dialect) -> re.Pattern[str] | None:
    """A record in which every closing quote ends its cell. Python's reader checks that itself only where quotes are doubled; elsewhere
    it takes what follows for text, and changes the cell. None: it checks."""
    if not dialect.quote or dialect.escape in ("", dialect.quote):
        return None
    quote, escape, delim = map(re.escape, (dialect.quote, dialect.escape, dialect.delim))
    escaped = rf"{escape}(?:[\s\S]|$)"
    quoted_cell = rf"{quote}(?:[^{quote}{escape}]++|{escaped})*+{quote}"
    plain_cell = rf"(?!{quote})(?:[^{delim}{escape}]++|{escaped})*+"
    cell = rf"(?:{quoted_cell}|{plain_cell})"
    return re.compile(rf"{cell}(?:{delim}{cell})*")


def _reason(said: str, line: str, dialect: Dialect) -> str:
    off = "if quotes mean nothing in this file, set quote := ''."
    if "unexpected end" in said or "field larger" in said:
        return f"a quote that opens here is never closed ({shown(line)}); {off}"
    hint = "set escape := '\\'." if f"\\{dialect.quote}" in line and dialect.escape != "\\" else off
    return f"something other than a delimiter follows a closing quote ({shown(line)}); {hint}"
