"""A model is a part of its snapshot: it comes with it, goes with it, ranks here or elsewhere to the same bits, and explains itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis

from batch.versions import rollback
from features.settings import Settings
from features.snapshot import digest
from features.snapshot_reader import read_manifest
from learning.model_file import decode, encode
from learning.outcomes import NAMES, WEIGHTS
from local.redis_server import Server
from online.app import create_app
from online.published_models import create_app as create_models
from online.rankers.learned import MODEL_SERVICE
from tests.learning.conftest import Made, made
from tests.online.conftest import OFTEN, PEOPLE, STORIES, FeedServer, serving, wait_until

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
        first = feed_server.publish(STORIES, PEOPLE, model=made.data)
        by_first = feed_server.feed("u-new", limit=50)
        second = feed_server.publish([*STORIES, {"id": "s-new", "author": "a1"}], PEOPLE, model=opens_alone)
        by_second = feed_server.feed("u-newer", limit=50)
        rollback(feed_server.client, feed_server.keys, first)
        feed_server.wait_for(first)
        again = feed_server.feed("u-newest", limit=50)  # others, for what was shown in vain sinks

        told = [(page["slate"]["snapshot"], page["slate"]["model"]) for page in (by_first, by_second, again)]
        assert told == [(first, named(made.data)), (second, named(opens_alone)), (first, named(made.data))]
        assert "s-new" in scores(by_second)
        assert scores(again) == scores(by_first) != {k: v for k, v in scores(by_second).items() if k != "s-new"}

    def test_a_snapshot_without_a_model_is_ranked_by_the_light_ranker(
        self, feed_server: FeedServer, made: Made
    ) -> None:
        feed_server.publish(STORIES, PEOPLE, model=made.data)
        feed_server.publish(STORIES, PEOPLE)
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
        good = feed_server.publish(STORIES, PEOPLE, model=made.data)
        with pytest.MonkeyPatch.context() as during:
            during.setattr(FeedServer, "wait_for", lambda self, version: None)
            with _damaged_on_arrival(feed_server.client, feed_server.keys.blob(digest(opens_alone)), damage):
                bad = feed_server.publish(STORIES, PEOPLE, model=opens_alone)
                wait_until(lambda: "the one at hand is served on" in caplog.text)
                page = feed_server.feed("u-fan")
        assert read_manifest(feed_server.client, feed_server.keys, bad).model == digest(opens_alone)
        assert (page["slate"]["snapshot"], page["slate"]["model"]) == (good, named(made.data))


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
        online = OFTEN.model_copy(update={"model_service_url": url, "model_timeout_ms": timeout_ms})
        with serving(create_app(like.settings, online, clock=lambda: like.now)) as http:
            yield replace(like, http=http)

    def test_scores_elsewhere_are_those_of_this_process_to_the_bit(
        self, feed_server: FeedServer, models: httpx.Client, made: Made
    ) -> None:
        version = feed_server.publish(STORIES, PEOPLE, model=made.data)
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

    def test_a_service_that_was_killed_leaves_the_light_order_and_it_is_told(
        self, feed_server: FeedServer, redis_server: Server, made: Made, tmp_path: Path
    ) -> None:
        version = feed_server.publish(STORIES, PEOPLE, model=made.data)
        settings = Settings(var=tmp_path / "models", lake=tmp_path / "lake", redis_url=redis_server.url)
        with serving(create_models(settings, poll_s=0.05)) as models:
            url = str(models.base_url)
            with self._feed(feed_server, url) as feed:
                feed.wait_for(version)
                assert feed.feed("u-other", fresh=True)["degraded"] == []
        with self._feed(feed_server, url) as feed:
            feed.wait_for(version)
            page = feed.feed("u-fan", limit=50, fresh=True)
        assert page["degraded"] == [MODEL_SERVICE]
        self._assert_light(feed_server, page)

    def test_a_service_that_is_late_leaves_the_light_order_and_it_is_told(
        self, feed_server: FeedServer, made: Made
    ) -> None:
        version = feed_server.publish(STORIES, PEOPLE, model=made.data)
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            self._feed(feed_server, f"http://127.0.0.1:{silent.getsockname()[1]}", 50) as feed,
        ):
            feed.wait_for(version)
            page = feed.feed("u-fan", limit=50, fresh=True)
        assert page["degraded"] == [MODEL_SERVICE]
        self._assert_light(feed_server, page)

    def _assert_light(self, feed_server: FeedServer, page: dict[str, Any]) -> None:
        feed_server.publish(STORIES, PEOPLE)
        assert scores(feed_server.feed("u-fan", limit=50, fresh=True)) == scores(page)


class TestExplanation:
    def test_sums_hold_as_they_are_told(self, feed_server: FeedServer, made: Made) -> None:
        feed_server.publish(STORIES, PEOPLE, model=made.data)
        for item in feed_server.feed("u-fan", limit=5)["items"]:
            answer = feed_server.http.get("/v1/users/u-fan/feed/explain", params={"story_id": item["story_id"]})
            story = answer.json()["story"]
            ranking, total = story["ranking"], np.float32(0)
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
        feed_server.publish(STORIES, PEOPLE, model=made.data)
        top = feed_server.feed("u-fan")["items"][0]
        story = feed_server.http.get("/v1/users/u-fan/feed/explain", params={"story_id": top["story_id"]}).json()[
            "story"
        ]
        model = decode(made.data, digest(made.data))
        columns = {name: np.array([story["features"][name]], np.float32) for name in model.features}
        expected = model.probabilities(model.matrix(columns, 1))
        told = {outcome["outcome"]: outcome["probability"] for outcome in story["ranking"]["outcomes"]}
        assert told == {name: float(values[0]) for name, values in expected.items()}


def _calibrated(outcome: dict[str, Any]) -> float:
    (x, y), slope, raw = np.array(outcome["calibration_map"]).T, outcome["calibration_slope"], outcome["log_odds"]
    beyond = slope * (min(raw - x[0], 0) + max(raw - x[-1], 0))
    return float(1 / (1 + np.exp(-(np.interp(raw, x, y) + beyond))))
