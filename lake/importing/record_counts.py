"""How many records a text file has, counted by other means than those that read them: what is read must be as many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pa_csv

from features.errors import BadInput
from lake.importing.source_files import SourceFile, open_bytes, text_chunks
from lake.importing.text_dialect import LINE_END, Dialect

MAX_CELL = 16 << 20
"""Characters of one cell. No text of a story is longer; a quote that is never closed is."""
_BLOCK = 1 << 20
"""Bytes that PyArrow parses at once, unless a record is longer; it holds some dozen blocks at a time."""


def count_records(source: SourceFile, encoding: str, dialect: Dialect, width: int, longest: int) -> int:
    """Records of `width` cells and at most `longest` characters: by PyArrow where cells may be quoted, by line ends where they may not."""
    if dialect.quote or dialect.escape:
        return _count_quoted(source, encoding, dialect, width, max(_BLOCK, 5 * longest)) - dialect.header
    keeps_blank = width == 1 and not dialect.skips_blank
    lines = islice(_lines(text_chunks(source, encoding)), dialect.skip, None)
    return sum(1 for line in lines if line or keeps_blank) - dialect.header


def _count_quoted(source: SourceFile, encoding: str, dialect: Dialect, width: int, block: int) -> int:
    names = [str(i) for i in range(width)]
    is_doubled = dialect.escape == dialect.quote
    read = pa_csv.ReadOptions(
        column_names=names, block_size=block, skip_rows=dialect.skip, encoding=encoding.removesuffix("-sig")
    )
    parse = pa_csv.ParseOptions(
        delimiter=dialect.delim,
        quote_char=dialect.quote or False,
        double_quote=is_doubled,
        escape_char=False if is_doubled or not dialect.escape else dialect.escape,
        newlines_in_values=True,
        ignore_empty_lines=width > 1,
    )
    convert = pa_csv.ConvertOptions(include_columns=names[:1], column_types={names[0]: pa.binary()})
    try:
        with open_bytes(source) as file:
            reader = pa_csv.open_csv(file, read_options=read, parse_options=parse, convert_options=convert)
            return sum(batch.num_rows for batch in reader)
    except pa.ArrowInvalid as error:
        raise BadInput(
            f"{source.name}: a second look at its records failed ({error}); state its quote and escape, or write it again."
        ) from error


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    held = ""
    for piece in pieces:
        text = held + piece
        cut = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1  # a return at the end may be half a line end
        yield from LINE_END.split(text[:cut])[:-1]
        held = text[cut:]
    rest = LINE_END.split(held)
    yield from rest if rest[-1] else rest[:-1]
