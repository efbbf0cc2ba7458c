"""What several folders of tests share: one Spark session for the whole run of pytest."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from batch.session import start_session
from batch.settings import BatchSettings

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m")
"""Tests run each plan once, over a few rows: Java's second compiler would take a third of the time and never pay it back."""

os.environ.setdefault("REX_ONLINE_POSTPROCESS_EXPLORE_SHARE", "0")
"""Tests state whole orders; those of exploration switch it on."""

os.environ.setdefault("REX_ONLINE_STRICT", "true")
"""A part that fails fails the test, which would otherwise be about something else; tests of degraded answers switch it off."""


NEEDS = {"spark": "spark", "feed_server": "http"}
"""Fixture → the marker of every test that has it, directly or through another fixture."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what a test needs, so that `make quick` can leave out what takes long."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in NEEDS:
                item.add_marker(NEEDS[fixture])
        if hasattr(getattr(item, "obj", None), "hypothesis"):
            item.add_marker("property")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session with the project's own configuration and its scratch in a temporary directory."""
    before = os.environ.get("REX_VAR")
    os.environ["REX_VAR"] = str(tmp_path_factory.mktemp("var"))
    session = start_session(BatchSettings(driver_memory="2g"))
    if before is None:
        del os.environ["REX_VAR"]
    else:
        os.environ["REX_VAR"] = before
    yield session
    session.stop()
