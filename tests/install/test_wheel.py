"""A wheel holds everything that the code reads beside itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.install.machine import ROOT

BESIDE_CODE = (".lua", ".sql")


@pytest.mark.process
def test_a_wheel_holds_the_scripts_and_the_ready_files(tmp_path: Path) -> None:
    packages = ("features", "batch", "online", "learning", "lake", "evaluation", "rex")
    for package in packages:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "uv", "build", "--wheel", "--no-build-isolation", "--offline", "--out-dir", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    beside = {
        str(p.relative_to(ROOT)) for package in packages for p in (ROOT / package).rglob("*") if p.suffix in BESIDE_CODE
    }
    assert len(beside) > len(BESIDE_CODE)
    assert beside - set(zipfile.ZipFile(wheel).namelist()) == set()
