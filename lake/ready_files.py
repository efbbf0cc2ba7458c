"""The SQL that comes with Rex, for data sets that many people have."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

DESKDROP_EVENTS, DESKDROP_ARTICLES = "users_interactions.csv", "shared_articles.csv"
_INCLUDE = re.compile(r"^-- INCLUDE (\w+) FROM ([\w-]+)$", re.MULTILINE)
"""A view that two ready files share."""


def ready_files() -> dict[str, str]:
    """Name → SQL, in order of names."""
    found = {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in (files("lake") / "ready").iterdir()}

    def included(line: re.Match[str]) -> str:
        [view] = re.findall(rf"^CREATE VIEW {line[1]} AS\n.*?;$", found[line[2]], re.MULTILINE | re.DOTALL)
        return str(view)

    return {name: _INCLUDE.sub(included, found[name]) for name in sorted(found)}


def about(sql: str) -> str:
    """The first line of a ready file's comment: what it is for, and which files it reads."""
    return sql.splitlines()[0].removeprefix("-- ")


def deskdrop(folder: Path) -> Path:
    """The ready file for the DeskDrop data set in `folder`, with or without its articles."""
    return Path("deskdrop-articles" if (folder / DESKDROP_ARTICLES).is_file() else "deskdrop")
