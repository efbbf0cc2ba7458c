"""`make env` says in a few words what it cannot work with, and what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.install.machine import HIGH, LOW, ROOT, clean_environment

pytestmark = pytest.mark.process

CLAIMS_TO_BE = """\
#!/bin/sh
# A Python of another version, as far as a program can see that is given with -c.
exec {python} -c 'import sys; sys.version_info = (3, {minor}, 0, "final", 0); exec(sys.argv[2])' "$@"
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """As much of a fresh copy as `make env` looks at before it installs anything."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make_env(copy: Path, python: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "env", f"PYTHON={python}"],
        cwd=copy,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("minor", [LOW - 1, HIGH])
def test_a_python_that_is_not_supported_is_refused(copy: Path, minor: int) -> None:
    other = copy / "python"
    other.write_text(CLAIMS_TO_BE.format(python=sys.executable, minor=minor))
    other.chmod(0o755)
    done = make_env(copy, str(other))
    assert done.returncode != 0
    assert f"Rex runs on CPython 3.{LOW} to 3.{HIGH - 1}" in done.stderr
    assert "PYTHON=" in done.stderr, "the message does not say what to do"
    assert not (copy / ".venv").exists()


@pytest.mark.nightly(part="installs")
def test_packages_that_cannot_be_had_are_reported_in_a_few_lines(copy: Path) -> None:
    done = make_env(copy, sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE="/dev/null")
    assert done.returncode != 0
    assert "No matching distribution found for" in done.stderr
    assert "x86-64 or aarch64" in done.stderr, "the message does not say where the packages are to be had"
    assert len(done.stderr.splitlines()) <= 5, done.stderr
    assert not (copy / ".venv" / ".made").exists(), "the next run would take the environment for whole"
