"""The SQL of an import: which files it reads, by Rex's own readers, and which statements it holds. Nothing is run here."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from features.duckdb_sql import quoted
from features.errors import BadInput
from lake.importing.text_dialect import shown

READERS = ("csv", "tsv", "jsonl", "parquet", "lines")
"""Functions that stand for a file."""
_OF_DUCKDB = (
    "read_csv", "read_csv_auto", "sniff_csv", "read_json", "read_json_auto", "read_ndjson", "read_ndjson_auto", "read_json_objects",
    "read_ndjson_objects", "read_parquet", "parquet_scan", "read_text", "read_blob", "glob", "arrow_scan", "read_duckdb",
)  # fmt: skip
OWN_READERS = "csv('…'), tsv('…'), jsonl('…'), parquet('…') or lines('…')"
OWN_NAMES = "rex_"
"""What views and macros of Rex's own are called."""
_LITERALS = {"true": True, "false": False}
_MODIFIERS = ("or", "replace", "temp", "temporary", "if", "not", "exists")
"""Between CREATE and the name of what is created."""
_CREATE = duckdb.StatementType.CREATE
_SELECT = duckdb.StatementType.SELECT


@dataclass(frozen=True, slots=True)
class Call:
    """One reader with its arguments: `csv('x.csv', delim := ';')`."""

    reader: str
    source: str | tuple[str, ...] | None
    """A name or a list of names; None: `pattern` finds them."""
    pattern: str
    options: tuple[tuple[str, Any], ...]
    text: str
    """As it stands in the SQL; also the name of the table that takes its place."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, ready to run once the calls' tables are there."""

    sql: str
    line: int
    """Of the file of SQL, on which it begins."""
    view: str | None = None
    """The view that it creates, in lower case."""
    macro: str | None = None
    """The macro that it creates, in lower case."""

    @property
    def is_query(self) -> bool:
        """Whether it gives a result and makes nothing."""
        return not self.view and not self.macro


@dataclass(frozen=True, slots=True)
class Script:
    """What a file of SQL says."""

    calls: tuple[Call, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    start: int
    end: int
    text: str
    kind: str


def read_script(sql: str) -> Script:
    """The calls and statements of `sql`. BadInput for other readers, other statements, and arguments that are no literals."""
    tokens, raw = _tokens(sql), sql.encode()
    calls: list[Call] = []
    pieces, at, i = [], 0, 0
    while i < len(tokens):
        token, following = tokens[i], tokens[i + 1].text if i + 1 < len(tokens) else ""
        name, before = token.text.lower(), tokens[i - 1].text.lower() if i else ""
        if following == "(" and before != "." and name in _OF_DUCKDB:
            raise BadInput(f"{_line(raw, token)}: {name} guesses what a file means; read it with {OWN_READERS}.")
        if following == "(" and before != "." and name in READERS:
            call, end = _call(tokens, i, raw)
            calls.append(call)
            pieces += [raw[at : token.start], quoted(call.text).encode()]
            at, i = tokens[end].end, end + 1
            continue
        if following == "(" and name == "time" and before not in ("::", "as"):  # else DuckDB takes it for the type
            pieces += [raw[at : token.start], b'"time"']
            at = token.end
        i += 1
    pieces.append(raw[at:])
    return Script(tuple(dict.fromkeys(calls)), _statements(b"".join(pieces).decode()))


def _tokens(sql: str) -> list[_Token]:
    raw = sql.encode()
    found = duckdb.tokenize(sql)
    ends = [*(start for start, _ in found[1:]), len(raw)][: len(found)]
    tokens = []
    for (start, kind), end in zip(found, ends, strict=True):
        text = raw[start:end].decode(errors="replace").rstrip()
        if kind != duckdb.token_type.comment:
            tokens += (
                _operators(start, text)
                if kind == duckdb.token_type.operator
                else [_Token(start, start + len(text.encode()), text, kind.name)]
            )
    return tokens


def _operators(start: int, text: str) -> list[_Token]:
    """`)])` as three; `::` and `:=` stay whole."""
    if text in ("::", ":=", "->", "->>"):
        return [_Token(start, start + len(text), text, "operator")]
    return [_Token(start + i, start + i + 1, c, "operator") for i, c in enumerate(text) if not c.isspace()]


def _call(tokens: Sequence[_Token], at: int, raw: bytes) -> tuple[Call, int]:
    """The call that begins at token `at`, and the place of its closing bracket."""
    end = _closing(tokens, at + 1, raw)
    text = raw[tokens[at].start : tokens[end].end].decode()
    inner, name = tokens[at + 2 : end], tokens[at].text.lower()
    arguments = _split(inner)
    options: dict[str, Any] = {}
    source: Any = None
    pattern = ""
    for position, argument in enumerate(arguments):
        if position == 0 and len(argument) > 1 and argument[0].text.lower() == "matching":
            found = _literal(argument[1:], text, raw)
            pattern = found if isinstance(found, str) else ""
        elif position == 0:
            source = _literal(argument, text, raw)
        elif len(argument) < 3 or argument[1].text != ":=":
            raise BadInput(f"{_line(raw, argument[0])}: in {shown(text)} options are named, as in delim := ';'.")
        elif (option := argument[0].text.lower()) in options:
            raise BadInput(f"{_line(raw, argument[0])}: {shown(text)} says {option} twice.")
        else:
            options[option] = _literal(argument[2:], text, raw)
    is_list = isinstance(source, tuple) and source and all(isinstance(one, str) for one in source)
    if not pattern and not is_list and not isinstance(source, str):
        raise BadInput(
            f"{_line(raw, tokens[at])}: {shown(text)} needs a file's name, a list of names, or matching('*.csv') as its first argument."
        )
    return Call(name, source, pattern, tuple(options.items()), text), end


def _closing(tokens: Sequence[_Token], opening: int, raw: bytes) -> int:
    depth = 0
    for i in range(opening, len(tokens)):
        depth += (tokens[i].text in "([") - (tokens[i].text in ")]") if len(tokens[i].text) == 1 else 0
        if depth == 0:
            return i
    raise BadInput(f"{_line(raw, tokens[opening])}: this bracket is never closed.")


def _split(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """Arguments, which commas outside brackets divide."""
    found: list[list[_Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if token.text == "," and depth == 0:
            found.append([])
        else:
            found[-1].append(token)
    return [argument for argument in found if argument]


def _literal(tokens: Sequence[_Token], call: str, raw: bytes) -> Any:
    """The value of a string, a number, true, false or a list (or round brackets around one)."""
    known = all(
        t.kind in ("string_const", "numeric_const") or t.text in "[](),-" or t.text.lower() in _LITERALS for t in tokens
    )
    if not tokens or not known:
        where = tokens[0] if tokens else None
        raise BadInput(
            f"{_line(raw, where) if where else 'the SQL'}: {shown(call)} is looked up before the SQL runs, so its arguments must be literals."
        )
    text = raw[tokens[0].start : tokens[-1].end].decode()
    found = _calculator().execute(f"SELECT {text}").fetchone()
    value = found[0] if found else None
    return tuple(value) if isinstance(value, list) else value


@functools.cache
def _calculator() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"enable_external_access": "false"})


def _statements(sql: str) -> tuple[Statement, ...]:
    try:
        found = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise BadInput(f"it cannot be parsed: {_said(error)}") from error
    statements, at = [], 0
    for one in found:
        text = one.query.strip()
        at = sql.index(text, at)
        statements.append(_statement(text, one.type, sql.count("\n", 0, at) + 1))
    return tuple(statements)


def _statement(sql: str, kind: duckdb.StatementType, line: int) -> Statement:
    words = [token.text for token in _tokens(sql)[:16]]
    plain = [word.lower() for word in words if word.lower() not in _MODIFIERS]
    if kind == _SELECT:
        return Statement(sql, line)
    if kind == _CREATE and plain[1] in ("view", "macro", "function"):
        name = next(word for word, after in zip(plain[2:], [*plain[3:], ""], strict=True) if word != "." != after)
        name = name.strip('"')
        if name.startswith(OWN_NAMES):
            raise BadInput(f"line {line}: names that begin with {OWN_NAMES} are Rex's own; give {name} another.")
        return Statement(sql, line, view=name) if plain[1] == "view" else Statement(sql, line, macro=name)
    raise BadInput(
        f"line {line}: {shown(' '.join(words[:8]))} does not belong in an import; only CREATE VIEW, CREATE MACRO and SELECT run. Files are read by {OWN_READERS}."
    )


def _said(error: duckdb.Error) -> str:
    """DuckDB's own words: what, and on which line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    place = next((line for line in lines if line.startswith("LINE ")), "")
    return " ".join(filter(None, (lines[0], place and f"({place.strip()})")))


def _line(raw: bytes, token: _Token) -> str:
    return f"line {raw[: token.start].count(10) + 1}"
