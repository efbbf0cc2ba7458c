"""Components of another package, found through its entry points: installed with that package into an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tests" / "plugin_package"
pytestmark = [pytest.mark.process, pytest.mark.nightly]


def _run(*command: str | Path, **more: Any) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _page(python: Path | str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        _run(python, PACKAGE / "one_page.py", cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    )
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """A page without the package, and one with it: in an environment that sees this one's packages, too."""
    folder = tmp_path_factory.mktemp("plugin")
    env, package = folder / "env", folder / "package"
    shutil.copytree(PACKAGE, package)
    uv = (sys.executable, "-m", "uv")
    _run(*uv, "venv", "--python", sys.executable, env)
    (site,) = env.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = env / "bin" / "python"
    _run(*uv, "pip", "install", "--python", python, "--offline", "--no-deps", "--no-build-isolation", package)
    return _page(sys.executable), _page(python)


def test_a_provider_brings_stories_for_a_reason_of_its_own(pages: Any) -> None:
    without, plugged = pages
    assert (without["reason"], plugged["reason"]) == (None, "The first story about t-one")


def test_a_rule_drops_under_its_name_and_says_until_when(pages: Any) -> None:
    without, plugged = pages
    assert "no_breakfast_after_noon" not in without["dropped"]["preprocess"]
    assert plugged["dropped"]["preprocess"]["no_breakfast_after_noon"] == 1
    assert (without["until_h"], plugged["until_h"]) == (30, 12)  # a promotion ends; the clock stands at noon


def test_an_annotator_gives_a_column(pages: Any) -> None:
    without, plugged = pages
    assert plugged["recency"] == pytest.approx(without["recency"] / 2)


def test_a_ranker_takes_the_place_of_the_snapshots(pages: Any) -> None:
    assert [page["model"] for page in pages] == ["weighted-1", "by_popularity"]


def test_a_postprocessor_reorders_and_slots_stay_where_they_are(pages: Any) -> None:
    without, plugged = pages
    assert plugged["order"] == sorted(plugged["order"], reverse=True)
    assert without["order"] != sorted(without["order"], reverse=True)
    assert without["slots"] == plugged["slots"] == [2]


def test_a_validator_drops_on_a_read(pages: Any) -> None:
    without, plugged = pages
    assert without["dropped"]["validate"] == {}
    assert plugged["dropped"]["validate"] == {"not_any_more": 1}
