"""The examples in docs/api.md: each runs as it stands, in the order of the page, against a service that has just been started."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from features.keys import Keys
from features.settings import Settings
from online.http.app import create_app
from online.service_settings import OnlineSettings
from rex.local.redis_server import Server
from tests.online.conftest import STORIES, USERS, FeedServer, serving

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCKS = re.findall(r"^```(sh|python|js)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = {"sh": ["bash", "-e"], "python": [sys.executable, "-"], "js": ["node", "--input-type=commonjs"]}


@pytest.fixture(scope="module")
def site(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedServer]:
    """A service that goes by the wall clock, as the examples do; the stories of the small story table are old by then."""
    with redis_server.client() as client:
        client.flushall()
        folder = tmp_path_factory.mktemp("examples")
        settings = Settings(var=folder / "var", lake=folder / "lake", redis_url=redis_server.url)
        with serving(
            create_app(
                settings,
                OnlineSettings(
                    streams={"poll_s": 0.05}, preprocess={"max_age_d": 36_500}, aggregate={"fresh_window_d": 36_500}
                ),
            )
        ) as http:
            made = FeedServer(http, client, Keys(settings.redis_prefix), settings, now=datetime.now(UTC))
            made.publish(STORIES, USERS)
            yield made


def run(language: str, code: str, site: FeedServer) -> str:
    """What the example printed; it must end well."""
    if shutil.which(COMMANDS[language][0]) is None or (language == "sh" and shutil.which("curl") is None):
        pytest.skip(f"{COMMANDS[language][0]} (or curl) is not installed, so the example is not run")
    code = code.replace("http://localhost:8000", str(site.http.base_url).rstrip("/"))
    done = subprocess.run(COMMANDS[language], input=code, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_one_in_each_language() -> None:
    assert [language for language, _ in BLOCKS] == ["sh", "python", "js"]


@pytest.mark.process
class TestInOrder:
    """Each goes on from what those before it have done."""

    def test_curl(self, site: FeedServer) -> None:
        put, account, receipt, page, why, user = map(orjson.loads, _documents(run(*BLOCKS[0], site)))
        assert (put["story_id"], account["user_id"], receipt["accepted"]) == ("swifts", "bob", 1)
        assert page["items"][0]["story_id"] == "swifts"
        assert page["items"][0]["reason"] == "From an author you follow"
        assert why["story"]["known"] is True
        assert user["follows"]["author"] == ["ada"]

    def test_python(self, site: FeedServer) -> None:
        told = run(*BLOCKS[1], site).splitlines()
        assert told[0] == f"{len(STORIES) + 1} stories, the first: What the swifts know"
        assert told[1].startswith("urn:rex:invalid_request [{'where': 'query.limit'")
        assert "swifts" not in site.stories("bob")
        assert site.http.get("/v1/users/bob").json()["recent_reads"] == ["swifts"]

    def test_javascript(self, site: FeedServer) -> None:
        told = run(*BLOCKS[2], site).splitlines()
        assert len(told) == 8
        assert told[0].startswith("0 ")
        assert told[5] == "accepted 2 rejected []"
        assert told[6].startswith("follows [ 'a")
        assert told[7].startswith("urn:rex:invalid_request: query.page")
        assert site.http.delete("/v1/stories/swifts").status_code == 202  # once more, of what is known to be withdrawn


def _documents(text: str) -> list[str]:
    """JSON documents written one after the other without anything between them."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        _, end = decoder.raw_decode(text)
        found.append(text[:end])
        text = text[end:]
    return found
