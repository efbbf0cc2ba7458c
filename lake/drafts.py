"""Files that appear whole or not at all, and leave nothing behind, however the process that writes them ends."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

_DRAFT = re.compile(r"\..+\.[0-9a-f]{32}\.draft")
"""Names of drafts; nobody else names files so, and the folder may be anybody's."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft beside `path`, which takes its place when the block ends well and is removed when it does not.

    Its bytes are on the disk before it does. What killed processes have left in the folder is removed first: a draft is
    locked for as long as its writer lives, and the operating system takes the lock off.
    """
    remove_abandoned(path.parent)
    draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
    with _locked(draft) as file:
        try:
            yield draft
            os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def replace_bytes(path: Path, data: bytes) -> None:
    """Puts `data` in the place of `path`; readers see the old file or the new one, also after a power cut."""
    with replacing(path) as draft:
        draft.write_bytes(data)


def remove_abandoned(folder: Path) -> None:
    """Removes the drafts in `folder` whose writers are gone."""
    for draft in folder.glob(".*.draft"):
        if not _DRAFT.fullmatch(draft.name):
            continue
        try:
            with draft.open("r+b") as file:  # a network file system locks only what may be written to
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink(missing_ok=True)
        except OSError:
            continue  # its writer lives, or has just put it in its place; or it is somebody else's


@contextmanager
def _locked(draft: Path) -> Iterator[BinaryIO]:
    """The open draft, held against `remove_abandoned`."""
    while True:
        with draft.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if draft.exists():  # else it was taken for a leftover between these two lines
                yield file
                return
