"""`make demo` shows a feed on every Python that this machine has, and on bare Debians with three packages more."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.install.debian import RELEASES, bare_debian, inside
from tests.install.machine import PYTHONS, check_demo, clean_environment, demo_command, fresh_copy

pytestmark = pytest.mark.process


@pytest.mark.nightly(part="installs")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", PYTHONS)
def test_on_every_python_of_this_machine(version: str, tmp_path: Path) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", "import venv"], capture_output=True).returncode:
        pytest.skip(f"this machine has no python{version} on PATH that makes environments")
    copy = tmp_path / "a fresh copy"
    try:
        fresh_copy(copy)
        check_demo(demo_command(python), clean_environment(HOME=str(Path.home()), PATH=os.environ["PATH"]), copy)
    finally:
        shutil.rmtree(tmp_path)  # two gigabytes, of which pytest would keep three


@pytest.mark.nightly(part="installs")
@pytest.mark.timeout(2700)
@pytest.mark.parametrize("release", RELEASES)
def test_on_a_bare_debian(release: str) -> None:
    with bare_debian(release) as root:
        fresh_copy(root / "root" / "rex")
        command = ["make", "-C", "/root/rex", *demo_command("python3")[1:]]
        check_demo(inside(root, command), clean_environment(HOME="/root", LANG="C.UTF-8"))
