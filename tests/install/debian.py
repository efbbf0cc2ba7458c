"""A bare Debian in a directory, by debootstrap, which uses the mirror and the pip settings of this machine."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.install.machine import clean_environment

RELEASES = ["trixie", "forky"]
"""Debian 13 has Python 3.13. The next one has a newer Python; its mirror changes daily, so that it may fail for reasons of its own."""
PACKAGES = "python3,python3-venv,make"
SCRIPT = "/usr/share/debootstrap/scripts/sid"
"""How to set up any release of this decade, newer ones than debootstrap itself among them."""
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""Mounts of its own, which are gone with its last process, and its processes end with it."""
INSIDE = """\
set -e
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root$(dirname "$1")"; touch "$root$1"; fi
    mount --bind "$1" "$root$1"
    shift
done
shift
exec chroot "$root" "$@"
"""
"""ROOT FILES… -- COMMAND…: runs COMMAND in ROOT, where FILES of this machine can be seen."""


@contextmanager
def bare_debian(release: str) -> Iterator[Path]:
    """The root directory of a minimal Debian with PACKAGES; removed at the end. Skips the test, with the reason, where
    none can be made."""
    if os.geteuid() != 0 or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("a bare Debian needs root, with the right to mount")
    if shutil.which("debootstrap") is None:
        pytest.skip("a bare Debian needs debootstrap, which is not installed")
    root = Path(tempfile.mkdtemp(prefix="rex-debian-", dir="/var/tmp"))
    root.chmod(0o755)
    try:
        made = subprocess.run(
            [
                *(*UNSHARE, "debootstrap", "--variant=minbase", f"--include={PACKAGES}"),
                *(release, root, _mirror(release), SCRIPT),
            ],
            capture_output=True,
            text=True,
            env=clean_environment(),
        )
        assert made.returncode == 0, f"debootstrap failed: {made.stdout[-2000:]}{made.stderr[-2000:]}"
        yield root
    finally:
        shutil.rmtree(root)


def inside(root: Path, command: list[str]) -> list[str]:
    """The command that runs `command` in `root`, with the network and the pip settings of this machine."""
    settings = _pip_settings()
    (root / "etc" / "pip.conf").write_text(
        "[global]\n" + "".join(f"{name} = {' '.join(value.split())}\n" for name, value in settings.items())
    )
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    shutil.copy("/etc/hosts", root / "etc" / "hosts")
    words = " ".join([*settings.values(), *clean_environment(PATH="").values()]).split()
    files = {word for word in words if word.startswith("/")}
    # Pages of an index on this machine's disk may link to files beside the index.
    files |= {str(Path(word.removeprefix("file://")).parent) for word in words if word.startswith("file:///")}
    seen = sorted(file for file in files if Path(file).exists())
    return [*UNSHARE, "sh", "-c", INSIDE, "sh", str(root), *seen, "--", *command]


def _pip_settings() -> dict[str, str]:
    """What pip's files say; its environment variables are passed on as they are."""
    for python in (sys.executable, "python3"):  # an environment that uv made has no pip
        listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True)
        if listed.returncode == 0:
            break
    else:
        raise AssertionError(f"pip does not tell its settings: {listed.stderr}")
    pairs = (line.split("=", 1) for line in listed.stdout.splitlines())
    return {
        name.rpartition(".")[2]: ast.literal_eval(value)
        for name, value in pairs
        if name.startswith(("global.", "install."))
    }


def _mirror(release: str) -> str:
    """The first of the places that apt is configured with that has the release."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True
    )
    places = list(dict.fromkeys(listed.stdout.split()))
    for place in places:
        try:
            with urllib.request.urlopen(f"{place}dists/{release}/Release", timeout=30):
                return place
        except (urllib.error.URLError, ValueError):
            continue
    pytest.skip(f"no mirror of Debian's {release} can be reached among those apt is configured with: {places}")
