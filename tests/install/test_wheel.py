"""A wheel holds everything that the code reads beside itself, and works in an environment that has nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.install.machine import ROOT, SMALL, check_demo, clean_environment, fresh_copy, tracked, two_free_ports

pytestmark = pytest.mark.process

PACKAGES = ("features", "batch", "online", "learning", "lake", "evaluation", "rex")


def uv(*arguments: str | Path, cwd: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "uv", *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    fresh_copy(copy)
    uv("build", "--wheel", "--no-build-isolation", "--offline", "--out-dir", tmp_path, cwd=copy)
    (built,) = tmp_path.glob("*.whl")
    return built


def test_a_wheel_holds_the_packages_and_what_they_read(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {name for name in tracked() if name.split("/")[0] in PACKAGES}
    assert {Path(name).suffix for name in files} > {".py", ".lua", ".sql"}
    assert files - held == set()
    assert {name.split("/")[0] for name in held if ".dist-info" not in name} == set(PACKAGES)
    assert any(name.endswith("/LICENSE") for name in held)


@pytest.mark.nightly(part="installs")
@pytest.mark.timeout(1800)
def test_the_command_and_the_demo_work_from_a_wheel(wheel: Path, tmp_path: Path) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    uv("venv", "--python", sys.executable, environment, cwd=empty)
    lock = ROOT / "requirements.lock"
    uv("pip", "install", "--python", environment / "bin" / "python", "--constraints", lock, wheel, cwd=empty)
    alone = clean_environment(HOME=str(tmp_path), LANG="C.UTF-8")
    rex = str(environment / "bin" / "rex")
    try:
        told = subprocess.run([rex, "--help"], cwd=empty, env=alone, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        assert "demo" in told.stdout
        check_demo([rex, "demo", "--no-serve", *SMALL.split(), "--port", str(two_free_ports())], alone, empty)
        assert {path.name for path in empty.iterdir()} == {"var"}
    finally:
        shutil.rmtree(environment)  # a gigabyte, of which pytest would keep three
