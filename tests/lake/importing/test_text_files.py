"""Text files are read exactly as their dialect says, or refused with the line and the reason."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from features.errors import BadInput
from lake.importing.record_counts import count_records
from lake.importing.records import Records
from lake.importing.source_files import find_files, matching_files
from lake.importing.text_dialect import Dialect
from tests.lake.importing.small_files import put, records

TEXTS = {
    "quotes, breaks and delimiters": 'a,b\n1,"x, ""y""\nz"\n2,w\n',
    "line ends of every kind": 'a,b\r\n1,"x, ""y""\nz"\r2,w\n',
    "no last line end": 'a,b\n1,"x, ""y""\nz"\n2,w',
    "blank lines": '\na,b\n1,"x, ""y""\nz"\n\n\n2,w\n\n',
    "a byte order mark": '\ufeffa,b\n1,"x, ""y""\nz"\n2,w\n',
}


@pytest.mark.parametrize("kind", TEXTS)
def test_records_are_what_was_written(tmp_path: Path, kind: str) -> None:
    found = records(tmp_path, TEXTS[kind])
    assert [cells for _, *cells in found] == [["1", 'x, "y"\nz'], ["2", "w"]]


def test_lines_are_those_on_which_records_begin(tmp_path: Path) -> None:
    found = records(tmp_path, 'a,b\n1,"x\ny"\n\n2,w\n3,"v"\n4,u\n')
    assert [line for line, *_ in found] == [2, 5, 6, 7]


@pytest.mark.parametrize(
    ("content", "dialect", "cells"),
    [
        ("a;b\n1;x,y\n", {"delim": ";"}, ["1", "x,y"]),
        ("1::x\n", {"delim": "::", "quote": "", "header": False, "columns": ("a", "b")}, ["1", "x"]),
        ("a\tb\n1\t\"x\n", {"delim": "\t", "quote": ""}, ["1", '"x']),
        ("a,b\n1,'x, ''y'''\n", {"quote": "'"}, ["1", "x, 'y'"]),
        ('a,b\n1,"x \\"y\\" \\\\ \\n \\N"\n', {"escape": "\\"}, ["1", 'x "y" \\ \\n \\N']),
        ("a,b\n1,x\\,y\n", {"quote": "", "escape": "\\"}, ["1", "x,y"]),
        ('a,b\n1,5" disk\n', {}, ["1", '5" disk']),
        ("made by hand\n\"\n1,x\n", {"skip": 2, "header": False, "columns": ("a", "b")}, ["1", "x"]),
        ("a,b\n1,x\0y\n", {}, ["1", "x\0y"]),
        ("a,b\n1,\u2028\x85\u00a0\ufeff\n", {}, ["1", "\u2028\x85\u00a0\ufeff"]),
        ("a,b\n\n1,x\n\n", {}, ["1", "x"]),
        ("a,b\r\n\r\n1,x\r\n\r\n", {}, ["1", "x"]),
        ("a,b\n\n1,x\n", {"quote": ""}, ["1", "x"]),
        ("a,b\n1,Schön".encode("latin-1"), {"encoding": "latin-1"}, ["1", "Schön"]),
        ("a,b\n1,שלום 🙂\n".encode("utf-16"), {"encoding": "utf-16"}, ["1", "שלום 🙂"]),
        ("a,b\n1,カナ\n".encode("shift_jis"), {"encoding": "shift_jis"}, ["1", "カナ"]),
        (f"a,b\n1,{'t' * 1_000_000}\n", {}, ["1", "t" * 1_000_000]),
        (f'a,b\n1,"{"t" * 1_000_000}"\n', {}, ["1", "t" * 1_000_000]),
    ],
)  # fmt: skip
def test_every_dialect_that_is_stated_is_read(
    tmp_path: Path, content: str | bytes, dialect: dict[str, object], cells: list[str]
) -> None:
    [(_, *found)] = records(tmp_path, content, **dialect)
    assert found == cells


def test_in_one_column_a_blank_line_is_an_empty_cell(tmp_path: Path) -> None:
    assert records(tmp_path, 'a\n1\n\n""\n') == [(2, "1"), (3, ""), (4, "")]


@pytest.mark.parametrize("compress", ["gzip", "two gzips", "zstd"])
def test_compression_is_seen_in_the_content(tmp_path: Path, compress: str) -> None:
    text = b"a,b\n1,x\n"
    if compress == "zstd":
        data = pa.Codec("zstd").compress(text, asbytes=True)
    else:
        data = gzip.compress(text) if compress == "gzip" else gzip.compress(text[:4]) + gzip.compress(text[4:])
    assert records(tmp_path, data) == [(2, "1", "x")]


WIDER = "user,item,ts\nu1,s1,T\nu2,s2,T\nuser,item,ts,geo\nu3,s3,T,de\n"
LATE = "user,item,ts\n" + "u,s,T\n" * 699 + "user,item,ts,geo\n" + "u,s,T,de\n" * 500
REFUSED = {
    "a wider header": (WIDER, {}, r"line 4 has 4 \(`user,item,ts,geo`\), line 5 has 4"),
    "a wider header far down": (LATE, {}, r"line 701 has 4 \(`user,item,ts,geo`\), .* and 498 more"),
    "a short row": ("a,b\n1,2\n3\n", {}, r"header has 2 cells, but line 3 has 1 \(`3`\)"),
    "a quote that swallows rows": ('a,b\n1,"x\n2,y\n3,z"\n4,w\n', {}, r"line 2: .* over line 3, .* \(`2,y`\)"),
    "the same in TSV": ('a\tb\n1\t"x\n2\ty\n3\tz"\n4\tw\n', {"delim": "\t"}, r"line 2: .* over line 3"),
    "a quote that is never closed": ('a,b\n1,"x\n2 y\n', {}, r"line 2: a quote that opens here is never closed"),
    "text after a quote": ('a,b\n1,"x"y\n', {}, r"line 2: something other than a delimiter"),
    "text after a quote, with another escape": ('a,b\n1,"x" y\n', {"escape": "\\"}, r"line 2: something other than a delim"),
    "a quote inside, with another escape": ('a,b\n1,"A "q" t"\n', {"escape": "\\"}, r"line 2: something other than a delim"),
    "doubled quotes, with another escape": ('a,b\n1,"x ""y"" z"\n', {"escape": "\\"}, r"line 2: something other than a del"),
    "escapes that were not stated": ('a,b\n1,"x \\"y\\" z"\n', {}, r"line 2: .*set escape := '\\'"),
    "Latin-1": (b"a,b\n1,ok\n2,caf\xe9\n", {}, r"line 3: the byte at offset 14 \(0xe9, after '2,caf'\) is not UTF-8"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), {}, r"UTF-16; set encoding := 'utf-16'"),
    "half an UTF-8 character": (b"a,b\n1,\xf0\x9f\x99", {}, r"line 2: the byte at offset 6 .* unexpected end of data"),
    "an unknown encoding": ("a,b\n1,2\n", {"encoding": "klingon"}, "'klingon' is not an encoding"),
    "two columns of one name": ("id,id\n1,2\n", {}, "two columns are called 'id' and 'id'"),
    "two that differ by case": ("title,Title\n1,2\n", {}, "two columns are called 'title' and 'Title'"),
    "no header": ("1,2\n3,4\n", {}, r"line 1: this is not a header, because '1' is a value"),
    "a header with a gap": ("a,,b\n1,2,3\n", {}, "one cell is empty"),
    "blank lines only": ("\n\n", {}, "nothing but blank lines"),
    "0 bytes": ("", {}, r"a\.csv is empty \(0 bytes\)"),
    "a mark of byte order inside": ("a,b\n1,x\n\ufeff2,y\n", {}, "line 3: a byte order mark stands inside the file"),
    "two marks of byte order": ("\ufeff\ufeffa,b\n1,x\n", {}, "begins with a byte order mark"),
    "a mark that the encoding does not take": (b"\xef\xbb\xbfa,b\n1,x\n", {"encoding": "latin-1"}, "begins with a byte order mark"),
    "a header of one cell": ("a;b\n1;2\n", {}, "the header is one cell, 'a;b'; set delim := ';'"),
    "columns without a name": ("1,2\n", {"header": False, "columns": ("", "b")}, "every one of the columns needs a name"),
    "a delimiter that is the quote": ("a,b\n", {"quote": ","}, "cannot be the delimiter and the quote"),
    "columns and a header": ("a,b\n", {"columns": ("x", "y")}, "columns are named by the header"),
    "neither": ("1,2\n", {"header": False}, "without a header the columns need names"),
    "quotes with a long delimiter": ("a::b\n", {"delim": "::"}, "goes with quote := '' only"),
    "a ZIP archive": (b"PK\x03\x04......", {}, "is a ZIP archive; unpack it first"),
    "a cut gzip": (gzip.compress(os.urandom(999))[:-20], {}, "cannot be decompressed.*cut off"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_exactly_as_stated_is_refused_with_line_and_reason(tmp_path: Path, kind: str) -> None:
    content, dialect, message = REFUSED[kind]
    with pytest.raises(BadInput, match=message):
        records(tmp_path, content, **dialect)


def test_text_that_looks_like_records_is_kept_when_it_is_said_to_be_text(tmp_path: Path) -> None:
    assert records(tmp_path, 'a,b\n1,"x\n2,y"\n', multiline=True) == [(2, "1", "x\n2,y")]


def test_records_in_thousands_keep_their_lines_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks with and without quotes take different ways, which must give the same."""
    monkeypatch.setattr("lake.importing.records.BLOCK_CHARS", 1000)
    text = ["a,b"]
    want: list[tuple[int, str, str]] = []
    for i in range(2_000):
        want.append((len(text) + 1, str(i), f'x"\n{i}' if i % 97 == 0 else f"x{i}"))
        text += [f'{i},"x""', f'{i}"'] if i % 97 == 0 else [f"{i},x{i}"]
        text += [""] if i % 501 == 0 else []
    assert records(tmp_path, "\n".join(text)) == want


def test_a_second_count_that_differs_refuses_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts agree on every file that is known; so one of them is made to differ."""
    monkeypatch.setattr("lake.importing.records.count_records", lambda *args: count_records(*args) + 1)
    with pytest.raises(BadInput, match=r"a\.csv: 2 records were read where 3 were counted"):
        records(tmp_path, "a,b\n1,2\n3,4\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.csv is empty \(0 bytes\)"),
        ("link", "symbolic link to gone, which does not exist"),
        ("none", "no file"),
    ],
)
def test_the_true_reason_is_said_of_a_file_that_is_not_there(tmp_path: Path, content: str, message: str) -> None:
    if content == "link":
        (tmp_path / "a.csv").symlink_to("gone")
    elif not content:
        put(tmp_path, a__csv="")
    with pytest.raises(BadInput, match=message):
        find_files(tmp_path, ["a.csv"])


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    put(tmp_path, real__txt="a,b\n1,2\n")
    (tmp_path / "a.csv").symlink_to("real.txt")
    [source] = find_files(tmp_path, ["a.csv"])
    assert (source.name, source.size) == ("a.csv", 8)


def test_a_file_without_read_permission_says_so() -> None:
    """As another user: root may read everything."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        put(folder, a__csv="a,b\n1,2\n")
        (folder / "a.csv").chmod(0o200)
        os.seteuid(65_534)
        try:
            with pytest.raises(BadInput, match=r"a\.csv cannot be read: Permission denied"):
                list(Records(*find_files(folder, ["a.csv"]), Dialect()).batches())
        finally:
            os.seteuid(0)


def test_names_are_literal_and_patterns_are_asked_for(tmp_path: Path) -> None:
    for name in ("clicks[1].csv", "clicks1.csv", "clicks*.csv", "clicks{a,b}.csv", "user=alice's #1%.csv"):
        (tmp_path / name).write_text(f"name\n{name}\n".replace(",", ";"))
    for name in ("clicks[1].csv", "clicks*.csv", "clicks{a,b}.csv", "user=alice's #1%.csv"):
        assert [source.path.name for source in find_files(tmp_path, [name])] == [name]
    assert matching_files(tmp_path, "clicks1*.csv") == ["clicks1.csv"]
    with pytest.raises(BadInput, match=r"No file .* matches 'gone"):
        matching_files(tmp_path, "gone*.csv")


def test_a_folder_stands_for_the_files_in_it(tmp_path: Path) -> None:
    put(tmp_path / "day1.csv", part_0="a\n1\n", _SUCCESS="")
    assert [source.name for source in find_files(tmp_path, ["day1.csv"])] == ["day1.csv/part_0"]
