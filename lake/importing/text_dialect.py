"""How a text file writes records: stated in the SQL of the import, never guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from features.errors import BadInput
from features.schema import by_name

BYTE_ORDER_MARK = "\ufeff"
LINE_END = re.compile(r"\r\n|\r|\n")
_VALUE = re.compile(r"[-+]?\d+([.,]\d+)?|\d{4}-\d{2}-\d{2}.*")
"""What is a number or a date, and so no name of a column."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The form of one file."""

    delim: str = ","
    """Between cells; empty: the line is one cell."""
    quote: str = '"'
    """Around cells; empty: no quoting."""
    escape: str = '"'
    """Before a quote, a delimiter or itself inside a cell; empty: none."""
    header: bool = True
    columns: tuple[str, ...] = ()
    """Names where there is no header."""
    skip: int = 0
    """Lines before the header or the first record."""
    encoding: str = "utf-8"
    multiline: bool = False
    """Whether cells may look as if they had swallowed whole records."""
    skips_blank: bool = False
    """Whether a blank line is no record where there is one column; where there are more it never is."""

    def check(self, where: str) -> None:
        """BadInput for what contradicts itself."""
        if self.quote and (len(self.delim) != 1 or not self.delim.isascii()):
            raise BadInput(f"{where}: a delimiter such as {self.delim!r} goes with quote := '' only.")
        if any(len(mark) > 1 for mark in (self.quote, self.escape)):
            raise BadInput(f"{where}: quote and escape are one character each, or '' for none.")
        if LINE_END.search(self.delim):
            raise BadInput(f"{where}: a delimiter cannot be the end of a line.")
        if self.delim and self.delim in (self.quote, self.escape):
            raise BadInput(f"{where}: {self.delim!r} cannot be the delimiter and the quote or escape at once.")
        if self.header and self.columns:
            raise BadInput(
                f"{where}: columns are named by the header; rename them in the SELECT, or set header := false (and skip := 1)."
            )
        if not self.header and not self.columns:
            raise BadInput(f"{where}: without a header the columns need names: columns := ['user', 'item', …].")
        if not all(name.strip() for name in self.columns):
            raise BadInput(f"{where}: every one of the columns needs a name.")
        by_name(where, self.columns)

    @property
    def is_plain(self) -> bool:
        """Whether neither quotes nor escapes mean anything."""
        return not self.quote and not self.escape


def header_names(where: str, cells: Sequence[str]) -> tuple[str, ...]:
    """The columns that a header names. BadInput when it looks like a record or does not name each one differently."""
    names = tuple(cell.strip() for cell in cells)
    if names and names[0].startswith((BYTE_ORDER_MARK, "ï»¿")):
        raise BadInput(
            f"{where}: the header begins with a byte order mark that the encoding does not take; set another encoding."
        )
    for name in names:
        if not name or _VALUE.fullmatch(name):
            what = f"{name!r} is a value" if name else "one cell is empty"
            raise BadInput(
                f"{where}: this is not a header, because {what}: {shown(','.join(cells))}. If the file has none, set header := false and "
                "columns := ['user', 'item', …]; to replace a bad one, set skip := 1 as well."
            )
    if len(names) == 1 and (others := [mark for mark in ";,\t|" if mark in names[0]]):
        raise BadInput(
            f"{where}: the header is one cell, {names[0]!r}; set delim := {others[0]!r}, if that stands between cells."
        )
    by_name(where, names, "name them yourself with header := false, skip := 1, columns := […]")
    return names


def shown(text: str) -> str:
    """A piece of a file on one line of a message."""
    text = text.rstrip("\r\n").replace("\r", "␍").replace("\n", "⏎")
    return f"`{text[:80]}…`" if len(text) > 80 else f"`{text}`"
