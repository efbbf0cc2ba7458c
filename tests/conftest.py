"""What several folders of tests share: one Spark session for a whole run of pytest, and what each test says it needs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from batch.session import start_session
from batch.settings import BatchSettings
from tests.nightly import MARKED, ROOT

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m -XX:+UseSerialGC")
"""Tests run each plan once, over a few rows: Java's second compiler would take a third of the time and never pay it back, and a
collector of garbage with threads of its own would take the core from the other half of the tests."""

os.environ.setdefault("REX_ONLINE_POSTPROCESS_EXPLORE_SHARE", "0")
"""Tests state whole orders; those of exploration switch it on."""

os.environ.setdefault("REX_ONLINE_STRICT", "true")
"""A part that fails fails the test, which would otherwise be about something else; tests of degraded answers switch it off."""


NEEDS = {"spark": "spark", "feed_server": "http", "served": "http"}
"""Fixture → the marker of every test that has it, directly or through another fixture."""

LONGEST_FIRST = ("spark", "process", "http")
"""The order in which files are handed to the workers of `pytest -n`, so that none is left with a long one at the end."""


@cache
def _with_spark(file: str) -> bool:
    """Whether a file of tests, relative to the project, has any that need the Spark session."""
    return re.search(r"SparkSession|one_partition", (ROOT / file).read_text()) is not None


class OneSpark(LoadFileScheduling):
    """Each worker takes file after file; all that need Spark are one piece of work, so that it is started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "spark" if _with_spark(file) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneSpark:
    return OneSpark(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what a test needs, so that `make quick` can leave out what takes long."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in NEEDS:
                item.add_marker(NEEDS[fixture])
        if hasattr(getattr(item, "obj", None), "hypothesis"):
            item.add_marker("property")
        file = item.nodeid.split("::")[0]
        if item.get_closest_marker("spark") and not _with_spark(file):
            raise pytest.UsageError(f"{file} needs Spark and names no SparkSession: it would be started a second time")
        nightly = item.get_closest_marker("nightly")
        if nightly and nightly.kwargs.get("part") not in MARKED:
            raise pytest.UsageError(f"{item.nodeid}: nightly(part=...) is to be one of {', '.join(MARKED)}")
    first = dict.fromkeys((item.path for item in items), len(LONGEST_FIRST))
    for item in items:
        needed = [at for at, name in enumerate(LONGEST_FIRST) if item.get_closest_marker(name)]
        first[item.path] = min([first[item.path], *needed])
    items.sort(key=lambda item: first[item.path])


STARTED: list[str] = []
"""What the test that runs has started, by the names of the programs."""


def _note_program(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen":
        STARTED.append(Path(str(arguments[0])).name)


sys.addaudithook(_note_program)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Iterator[None]:
    STARTED.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that starts a Python or a Java, a second or two each, has to say so."""
    result = yield
    slow = [name for name in STARTED if name.startswith(("python", "rex", "java", "spark-submit"))]
    if slow and not any(item.get_closest_marker(name) for name in ("spark", "process", "nightly")):
        pytest.fail(f"it starts {', '.join(slow)}, and is not marked `process`")
    return result


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session with the project's own configuration and its scratch in a temporary directory."""
    before = os.environ.get("REX_VAR")
    os.environ["REX_VAR"] = str(tmp_path_factory.mktemp("var"))
    session = start_session(BatchSettings(driver_memory="2g", shuffle_partitions=2))
    if before is None:
        del os.environ["REX_VAR"]
    else:
        os.environ["REX_VAR"] = before
    yield session
    session.stop()
