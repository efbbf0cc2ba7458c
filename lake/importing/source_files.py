"""Files as somebody else wrote them: found by their literal names, decompressed by content, decoded strictly, and held to stay as they are."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from features.errors import BadInput
from features.lake_files import Stamp, data_files, refuse_changed, stamp

ORIGIN = ("file", "line")
"""Columns that every table has besides its own: the file as the SQL names it, and the first line of the record (Parquet: the row)."""
CHUNK = 1 << 20
"""Bytes at a time where a file is read as a whole; large enough for the disk, small beside everything else."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_ARCHIVES = {b"PK\x03\x04": "a ZIP archive", b"\xfd7zXZ": "compressed by xz", b"7z\xbc\xaf": "a 7z archive"}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SHOWN = 30
"""Characters of context in a message: enough to find the place."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that the SQL names."""

    name: str
    """As the SQL names it, for messages and the column `file`."""
    path: Path
    size: int
    """Bytes on the disk."""
    before: Stamp
    """What it was when it was found."""

    def refuse_changed(self) -> None:
        """BadInput when the file is not what it was when it was found."""
        refuse_changed(self.name, self.path, self.before)


def find_files(base: Path, names: Iterable[str]) -> list[SourceFile]:
    """The files called `names`, literally, below `base`; a folder stands for the files in it, as Spark writes them.

    BadInput, with the true reason, for what is absent, a broken link, no regular file, unreadable, or empty.
    """
    found = []
    for name in names:
        path = base / name
        if path.is_dir():
            inside = data_files(path)
            if not inside:
                raise BadInput(f"{name} is a folder without files; name a file.")
            found += [_found(f"{name}/{p.relative_to(path)}", p) for p in inside]
        else:
            found.append(_found(name, path))
    return found


def matching_files(base: Path, pattern: str) -> list[str]:
    """Names of the files below `base` that fit `pattern`, in order. BadInput when none does."""
    if pattern.startswith("/") or not pattern.strip("./"):
        raise BadInput(f"matching({pattern!r}) is not a pattern of file names below --files; one is matching('*.csv').")
    names = sorted(os.path.relpath(path, base) for path in base.glob(pattern) if not path.name.startswith(("_", ".")))
    if not names:
        raise BadInput(f"No file in {base} matches {pattern!r}; correct the pattern or --files.")
    return names


def _found(name: str, path: Path) -> SourceFile:
    try:
        before = stamp(path)
    except OSError as error:
        raise BadInput(f"{name} cannot be read: {error.strerror} ({path}).") from error
    if before is None:
        if path.is_symlink():
            raise BadInput(f"{name} is a symbolic link to {os.readlink(path)}, which does not exist.")
        raise BadInput(
            f"There is no file {name} in {path.parent}; file names are relative to --files, by default the SQL file's folder."
        )
    if not path.is_file():
        raise BadInput(f"{name} is neither a file nor a folder ({path}); write its content to a file first.")
    _, size, _ = before
    if size == 0:
        raise BadInput(f"{name} is empty (0 bytes); leave it out of the SQL or write it again.")
    return SourceFile(name, path, size, before)


def open_bytes(source: SourceFile) -> pa.NativeFile:
    """The file's content, decompressed. BadInput when it may not be read or is an archive."""
    try:
        with source.path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise BadInput(f"{source.name} cannot be read: {error.strerror} ({source.path}).") from error
    for magic, what in _ARCHIVES.items():
        if start.startswith(magic):
            raise BadInput(f"{source.name} is {what}; unpack it first (gzip, zstd and bz2 are read as they are).")
    raw = pa.OSFile(str(source.path))
    for magic, codec in _COMPRESSED.items():
        if start.startswith(magic):
            return pa.CompressedInputStream(raw, codec)
    return raw


def check_encoding(source: SourceFile, encoding: str) -> str:
    """Python's name of `encoding`. BadInput for an unknown one, or for UTF-16 taken for UTF-8."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise BadInput(
            f"{source.name}: {encoding!r} is not an encoding; use for example 'utf-8', 'latin-1', 'utf-16'."
        ) from error
    try:
        with open_bytes(source) as file:
            start = bytes(file.read(4))
    except OSError as error:
        damaged(source, error)
    for mark, meant in _MARKS.items():
        if start.startswith(mark) and name == "utf-8":
            raise BadInput(f"{source.name} is encoded in {meant.upper()}; set encoding := '{meant}'.")
    return "utf-8-sig" if name == "utf-8" else name


def open_text(source: SourceFile, encoding: str) -> io.TextIOWrapper:
    """The file's text in `encoding` (of `check_encoding`), line ends as they are; decoding errors are for `refuse_undecodable`."""
    return io.TextIOWrapper(open_bytes(source), encoding=encoding, errors="strict", newline="")


def text_chunks(source: SourceFile, encoding: str) -> Iterable[str]:
    """The same in pieces of about CHUNK characters."""
    with open_text(source, encoding) as file:
        while piece := file.read(CHUNK):
            yield piece


def refuse_undecodable(source: SourceFile, encoding: str) -> NoReturn:
    """BadInput that names the line, the byte and the cell around the first byte that `encoding` cannot mean."""
    decoder, line, consumed, before = codecs.getincrementaldecoder(encoding)("strict"), 1, 0, ""
    with open_bytes(source) as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(encoding, "replace")
                at = consumed + len(chunk) - len(error.object) + error.start
                line += _line_ends(good)
                context = (before + good)[-_SHOWN:].splitlines()[-1:] or [""]
                wrong = error.object[error.start : error.end]
                raise BadInput(
                    f"{source.name}, line {line}: the byte at offset {at:,} (0x{wrong.hex()}, after {context[0]!r}) is not "
                    f"{encoding.removesuffix('-sig').upper()}: {error.reason}; set encoding := 'latin-1', 'cp1252' or what it is written in."
                ) from error
            if not chunk:
                source.refuse_changed()
                raise AssertionError(f"{source.name} was not {encoding} before, and is now")
            line, consumed, before = line + _line_ends(text), consumed + len(chunk), text[-_SHOWN:]


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def damaged(source: SourceFile, error: OSError) -> NoReturn:
    """BadInput for an error of decompression; the system's own are raised as they are."""
    if error.errno is not None:
        raise error
    raise BadInput(f"{source.name} cannot be decompressed: {error}; it is damaged or was cut off.") from error
