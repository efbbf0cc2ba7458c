"""The scripts that Redis runs, each in a `.lua` file beside the module that calls it."""

from __future__ import annotations

from importlib import resources


def script(package: str, *names: str) -> str:
    """The text of the files `<name>.lua` of `package`, one after the other, without their lines of comment."""
    files = (resources.files(package).joinpath(f"{name}.lua") for name in names)
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
