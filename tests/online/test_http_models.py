"""A model is a part of its snapshot: it comes with it, goes with it, ranks here or elsewhere to the same bits, and explains itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from pydantic import TypeAdapter

from batch.versions import rollback
from features.settings import Settings
from features.snapshot import digest
from features.snapshot_reader import read_manifest
from online.http.app import create_app
from online.http.schemas import Ranking
from online.rankers.learned import MODEL_SERVICE
from online.rankers.models.model_file import MODEL, decode, encode
from online.rankers.models.outcomes import NAMES, WEIGHTS
from rex.local.redis_server import Server
from rex.model_service.app import create_app as create_models
from rex.model_service.registry import Folder
from tests.learning.conftest import Made, made
from tests.online.conftest import LENIENT, OFTEN, STORIES, USERS, FeedServer, serving, wait_until

__all__ = ["made"]
PATIENT_MS = 10_000.0
"""For calls that are to succeed, however busy the machine is."""


@pytest.fixture(scope="module")
def opens_alone(made: Made) -> bytes:
    """The same trees, but opens are all that counts."""
    return encode(replace(made.fitted, weights={**dict.fromkeys(WEIGHTS, 0.0), "open": 1.0}))


def named(model: bytes) -> str:
    return f"learned-{digest(model)[:12]}"


def scores(page: dict[str, Any]) -> dict[str, float]:
    return {item["story_id"]: item["score"] for item in page["items"]}


class TestSwap:
    def test_model_and_features_change_together_and_roll_back_together(
        self, feed_server: FeedServer, made: Made, opens_alone: bytes
    ) -> None:
        first = feed_server.publish(STORIES, USERS, model=made.data)
        by_first = feed_server.feed("u-new", limit=50)
        second = feed_server.publish([*STORIES, {"id": "s-new", "author": "a1"}], USERS, model=opens_alone)
        by_second = feed_server.feed("u-newer", limit=50)
        rollback(feed_server.client, feed_server.keys, first)
        feed_server.wait_for(first)
        again = feed_server.feed("u-newest", limit=50)  # others, for what was shown without being opened sinks

        told = [(page["slate"]["snapshot"], page["slate"]["model"]) for page in (by_first, by_second, again)]
        assert told == [(first, named(made.data)), (second, named(opens_alone)), (first, named(made.data))]
        assert "s-new" in scores(by_second)
        assert scores(again) == scores(by_first) != {k: v for k, v in scores(by_second).items() if k != "s-new"}

    def test_a_snapshot_without_a_model_is_ranked_by_the_first_stage_ranker(
        self, feed_server: FeedServer, made: Made
    ) -> None:
        feed_server.publish(STORIES, USERS, model=made.data)
        feed_server.publish(STORIES, USERS)
        assert feed_server.feed("u-fan")["slate"]["model"] == "weighted-1"

    @pytest.mark.parametrize("damage", [b"", b"no model", None])
    def test_a_model_that_is_not_the_published_one_leaves_the_last_good_snapshot_in_service(
        self,
        feed_server: FeedServer,
        made: Made,
        opens_alone: bytes,
        damage: bytes | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        good = feed_server.publish(STORIES, USERS, model=made.data)
        with pytest.MonkeyPatch.context() as during:
            during.setattr(FeedServer, "wait_for", lambda self, version: None)
            with _damaged_on_arrival(feed_server.client, feed_server.keys.blob(digest(opens_alone)), damage):
                bad = feed_server.publish(STORIES, USERS, model=opens_alone)
                wait_until(lambda: "the current snapshot cannot be loaded" in caplog.text)
                page = feed_server.feed("u-fan")
        assert read_manifest(feed_server.client, feed_server.keys, bad).model == digest(opens_alone)
        assert (page["slate"]["snapshot"], page["slate"]["model"]) == (good, named(made.data))

    @pytest.mark.parametrize("how", ["unknown", "changed"])
    def test_a_model_made_for_other_features_leaves_the_last_good_snapshot_in_service(
        self, feed_server: FeedServer, made: Made, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another release has published it; its bytes are as they were published."""
        good = feed_server.publish(STORIES, USERS, model=made.data)
        other, said = _made_for_other_features(made.data, how)
        with pytest.MonkeyPatch.context() as during:
            during.setattr(FeedServer, "wait_for", lambda self, version: None)
            during.setattr("batch.versions._try_model", lambda model, manifest: None)
            bad = feed_server.publish([*STORIES, {"id": "s-new", "author": "a1"}], USERS, model=other)
        wait_until(
            lambda: f"Snapshot {bad} cannot be ranked: model {digest(other)} was made with {said}" in caplog.text
        )
        page = feed_server.feed("u-fan", limit=50)
        assert (page["slate"]["snapshot"], page["slate"]["model"]) == (good, named(made.data))
        assert "s-new" not in scores(page), "features of one snapshot, model of another"
        feed_server.publish(STORIES, USERS, model=made.data)  # which waits until it is served: the next good one is

    def test_what_is_put_meanwhile_is_still_shown(
        self, feed_server: FeedServer, made: Made, caplog: pytest.LogCaptureFixture
    ) -> None:
        feed_server.publish(STORIES, USERS, model=made.data)
        with pytest.MonkeyPatch.context() as during:
            during.setattr(FeedServer, "wait_for", lambda self, version: None)
            during.setattr("batch.versions._try_model", lambda model, manifest: None)
            feed_server.publish(STORIES, USERS, model=_made_for_other_features(made.data, "unknown")[0])
        wait_until(lambda: "the current snapshot cannot be loaded" in caplog.text)
        story = {"author_id": "a1", "published_at": feed_server.now.isoformat(), "visibility": "public"}
        assert feed_server.http.put("/v1/stories/s-new", json=story).is_success
        assert "s-new" in feed_server.stories("u-fan", limit=100, fresh=True)

    def test_a_process_that_starts_meanwhile_is_not_ready_until_the_snapshot_is_rolled_back(
        self, feed_server: FeedServer, made: Made
    ) -> None:
        good = feed_server.publish(STORIES, USERS, model=made.data)
        with pytest.MonkeyPatch.context() as during:
            during.setattr(FeedServer, "wait_for", lambda self, version: None)
            during.setattr("batch.versions._try_model", lambda model, manifest: None)
            feed_server.publish(STORIES, USERS, model=_made_for_other_features(made.data, "unknown")[0])
        with serving(create_app(feed_server.settings, OFTEN, clock=lambda: feed_server.now)) as http:
            assert [http.get(path).status_code for path in ("/healthz", "/readyz", "/v1/users/u/feed")] == [
                200,
                503,
                503,
            ]
            rollback(feed_server.client, feed_server.keys, good)
            replace(feed_server, http=http).wait_for(good)
            assert http.get("/v1/users/u/feed").json()["slate"]["model"] == named(made.data)


def _made_for_other_features(model: bytes, how: str) -> tuple[bytes, str]:
    """The same trees for the features of another release, and what is said of it."""
    arrays = dict(MODEL.decode(model))
    head = json.loads(arrays["about"].tobytes())
    head["features"] |= {"mood": ["story", 0.0]} if how == "unknown" else {"recency": ["user_story", 0.5]}
    arrays["about"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    said = "other code: it reads ['mood']" if how == "unknown" else "other definitions of ['recency']"
    return MODEL.encode(arrays), said


@contextmanager
def _damaged_on_arrival(client: redis.Redis, key: str, damage: bytes | None) -> Iterator[None]:
    """What the publisher has verified is gone or altered before anybody can load it."""
    import batch.publish as publishing

    before = publishing.flip

    def flip(*of: Any) -> None:
        client.delete(key) if damage is None else client.set(key, damage)
        before(*of)

    with pytest.MonkeyPatch.context() as during:
        during.setattr(publishing, "flip", flip)
        yield


class TestModelService:
    """The service hosts what the kept snapshots hold; the feed asks it for scores."""

    @pytest.fixture
    def models(self, redis_server: Server, redis_client: redis.Redis, tmp_path: Path) -> Iterator[httpx.Client]:
        settings = Settings(var=tmp_path / "models", lake=tmp_path / "lake", redis_url=redis_server.url)
        with serving(create_models(settings, poll_s=0.05)) as http:
            yield http

    @contextmanager
    def _feed(self, like: FeedServer, url: str, timeout_ms: float = PATIENT_MS) -> Iterator[FeedServer]:
        """Another feed service over the same Redis, which has its models run at `url`."""
        online = LENIENT.model_copy(update={"models": replace(LENIENT.models, service_url=url, timeout_ms=timeout_ms)})
        with serving(create_app(like.settings, online, clock=lambda: like.now)) as http:
            yield replace(like, http=http)

    def test_scores_elsewhere_are_those_of_this_process_to_the_bit(
        self, feed_server: FeedServer, models: httpx.Client, made: Made
    ) -> None:
        version = feed_server.publish(STORIES, USERS, model=made.data)
        wait_until(lambda: [one["name"] for one in models.get("/v1/models").json()["models"]] == [version])
        with self._feed(feed_server, str(models.base_url)) as elsewhere:
            elsewhere.wait_for(version)
            there = elsewhere.feed("u-fan", limit=50, fresh=True)
            asked = models.get("/metrics").text
        here = feed_server.feed("u-fan", limit=50, fresh=True)
        assert there["degraded"] == here["degraded"] == []
        assert (
            f'rex_model_rows_total{{model="{version}"}} {here["slate"]["candidates"] - 1:.1f}' in asked
        )  # one is read
        assert scores(there) == scores(here)
        assert there["slate"]["model"] == here["slate"]["model"] == named(made.data)

    def test_models_go_with_their_snapshots_and_come_with_new_ones(
        self, feed_server: FeedServer, models: httpx.Client, made: Made, opens_alone: bytes
    ) -> None:
        versions = [feed_server.publish(STORIES, model=model) for model in (opens_alone, *[made.data] * 3)]
        wait_until(lambda: {one["name"] for one in models.get("/v1/models").json()["models"]} == set(versions[1:]))

    def test_models_of_a_folder_are_served_beside_those_of_snapshots_by_their_names(
        self, feed_server: FeedServer, made: Made, opens_alone: bytes, tmp_path: Path
    ) -> None:
        version = feed_server.publish(STORIES, model=made.data)
        candidate = Folder(tmp_path / "more").put("candidate", opens_alone)
        settings = feed_server.settings.model_copy(update={"models": tmp_path / "more"})
        with serving(create_models(settings, poll_s=0.05)) as models:
            told = {one["name"]: one["sha256"] for one in models.get("/v1/models").json()["models"]}
        assert told == {version: made.name, "candidate": candidate}

    @pytest.mark.process
    def test_a_process_that_is_killed_leaves_the_light_order_and_it_is_told_and_one_started_again_is_used(
        self, feed_server: FeedServer, made: Made
    ) -> None:
        """`rex serve models` as a process of its own, with SIGKILL between two requests of one feed service."""
        version = feed_server.publish(STORIES, USERS, model=made.data)
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
        with self._feed(feed_server, f"http://127.0.0.1:{port}") as feed:
            feed.wait_for(version)
            pages = {}
            with _rex_serve_models(feed_server.settings, port):
                pages["served"] = feed.feed("u-new", limit=50, fresh=True)
            pages["killed"] = feed.feed("u-fan", limit=50, fresh=True)
            with _rex_serve_models(feed_server.settings, port):
                pages["again"] = feed.feed("u-newer", limit=50, fresh=True)
        degraded = {when: page["degraded"] for when, page in pages.items()}
        assert degraded == {"served": [], "killed": [MODEL_SERVICE], "again": []}
        here = feed_server.feed("u-newest", limit=50)  # others, for what was shown without being opened sinks
        assert scores(pages["served"]) == scores(pages["again"]) == scores(here)
        self._assert_light(feed_server, pages["killed"])

    def test_a_service_that_is_late_leaves_the_light_order_and_it_is_told(
        self, feed_server: FeedServer, made: Made, caplog: pytest.LogCaptureFixture
    ) -> None:
        version = feed_server.publish(STORIES, USERS, model=made.data)
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            self._feed(feed_server, f"http://127.0.0.1:{silent.getsockname()[1]}", 50) as feed,
        ):
            feed.wait_for(version)
            page = feed.feed("u-fan", limit=50, fresh=True)
            counted = feed.http.get("/metrics").text
        assert page["degraded"] == [MODEL_SERVICE]
        assert f'rex_degraded_total{{part="{MODEL_SERVICE}"}} 1.0' in counted
        told = [record for record in caplog.records if MODEL_SERVICE in record.getMessage()]
        assert [record.exc_info for record in told] == [None], "an outage fills the log with tracebacks"
        assert "did not answer within 50 ms" in told[0].getMessage()
        self._assert_light(feed_server, page)

    def _assert_light(self, feed_server: FeedServer, page: dict[str, Any]) -> None:
        feed_server.publish(STORIES, USERS)
        assert scores(feed_server.feed("u-fan", limit=50, fresh=True)) == scores(page)


@contextmanager
def _rex_serve_models(settings: Settings, port: int) -> Iterator[None]:
    """The command, from when it is ready until it is killed."""
    command = [sys.executable, "-m", "rex", "serve", "models", "--port", str(port)]
    with subprocess.Popen(command, env=_environment(settings), stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: process.poll() is not None or _is_ready(port), within_s=60)
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield
        finally:
            process.kill()


def _environment(settings: Settings) -> dict[str, str]:
    told = {"REX_VAR": str(settings.var), "REX_LAKE": str(settings.lake), "REX_REDIS_URL": settings.redis_url}
    return {**os.environ, **told, "COLUMNS": "200"}


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


class TestExplanation:
    def test_sums_hold_as_they_are_told(self, feed_server: FeedServer, made: Made) -> None:
        feed_server.publish(STORIES, USERS, model=made.data)
        for item in feed_server.feed("u-fan", limit=5)["items"]:
            answer = feed_server.http.get("/v1/users/u-fan/feed/explain", params={"story_id": item["story_id"]})
            story = answer.json()["story"]
            ranking, total = story["ranking"], np.float32(0)
            assert (
                TypeAdapter(Ranking).dump_python(TypeAdapter(Ranking).validate_python(ranking), mode="json") == ranking
            )
            assert [outcome["outcome"] for outcome in ranking["outcomes"]] == list(NAMES)
            for outcome in ranking["outcomes"]:
                total += np.float32(outcome["share"])
                assert outcome["weight"] * outcome["probability"] == pytest.approx(outcome["share"], rel=1e-6)
                assert outcome["base"] + sum(outcome["shapley"].values()) == pytest.approx(
                    outcome["log_odds"], abs=1e-9
                )
                assert _calibrated(outcome) == pytest.approx(outcome["probability"], rel=1e-9)
            assert float(total) == ranking["value"] == ranking["score"] == story["score"]
            assert ranking["phase"] == "models"

    def test_the_contributions_are_those_of_the_published_model(self, feed_server: FeedServer, made: Made) -> None:
        feed_server.publish(STORIES, USERS, model=made.data)
        top = feed_server.feed("u-fan")["items"][0]
        story = feed_server.http.get("/v1/users/u-fan/feed/explain", params={"story_id": top["story_id"]}).json()[
            "story"
        ]
        model = decode(made.data, digest(made.data))
        columns = {name: np.array([story["features"][name]], np.float32) for name in model.features}
        expected = model.probabilities(model.matrix(columns, 1))
        told = {outcome["outcome"]: outcome["probability"] for outcome in story["ranking"]["outcomes"]}
        assert told == {name: float(values[0]) for name, values in expected.items()}

    @pytest.mark.process
    @pytest.mark.parametrize("where", ["by the service", "in its own process"])
    def test_the_command_prints_it(self, feed_server: FeedServer, made: Made, where: str) -> None:
        feed_server.publish(STORIES, USERS, model=made.data)
        url = ["--url", str(feed_server.http.base_url)] if where == "by the service" else []
        found = subprocess.run(
            [sys.executable, "-m", "rex", "feed", "u-fan", "--limit", "3", "--explain", *url],
            env={**_environment(feed_server.settings), "REX_ONLINE_AS_IF": feed_server.now.isoformat()},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        top = feed_server.feed("u-fan", limit=3, fresh=True)["items"][0]["story_id"]
        asked = {"story_id": top}
        story = feed_server.http.get("/v1/users/u-fan/feed/explain", params=asked).json()["story"]
        assert f"Story {top}" in found.stdout
        for outcome in story["ranking"]["outcomes"]:
            line = next(line for line in found.stdout.splitlines() if outcome["outcome"] in line.split())
            assert f"{outcome['weight']:g}" in line.split()
        for text in ("Its value", "before anything is known", "log-odds", "calibration", "its map here", "probability"):
            assert text in found.stdout, text


def _calibrated(outcome: dict[str, Any]) -> float:
    (x, y), slope, raw = np.array(outcome["calibration_map"]).T, outcome["calibration_slope"], outcome["log_odds"]
    beyond = slope * (min(raw - x[0], 0) + max(raw - x[-1], 0))
    return float(1 / (1 + np.exp(-(np.interp(raw, x, y) + beyond))))
