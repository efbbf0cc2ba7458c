"""The model service over real HTTP: the same scores as in process, several models, hot reload, and what happens when it fails."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
import redis
import uvicorn

from features.arrays import F32
from features.errors import Unavailable
from features.keys import Keys
from features.packing import name_of
from features.registry import FEATURES
from features.snapshot import digest
from online.rankers.learned import MODEL_SERVICE, Learned
from online.rankers.models.model_file import encode
from online.rankers.weighted import Weighted
from rex.model_service.app import KEEP_ALIVE_S, create_model_app
from rex.model_service.client import ModelService
from rex.model_service.registry import Folder, RedisBlobs, Source
from rex.model_service.wire import MEDIA_TYPE, MODEL_HEADER, pack
from tests.fixtures_redis import redis_client, redis_server
from tests.http_server import serving, wait_until
from tests.learning.conftest import Made

__all__ = ["redis_client", "redis_server"]
PATIENT_MS = 20_000.0
"""For calls that are to succeed, however busy the machine is."""


def _running(source: Source) -> AbstractContextManager[httpx.Client]:
    return serving(create_model_app(source, poll_s=0.05), timeout_s=20, timeout_keep_alive=KEEP_ALIVE_S)


def _columns(n: int, seed: int = 2) -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    return {feature.name: rng.normal(size=n).astype(np.float32) for feature in FEATURES}


@pytest.fixture
def folder(made: Made, tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "models")
    folder.put("main", made.data)
    return folder


@pytest.fixture
def service(folder: Folder) -> Iterator[httpx.Client]:
    with _running(folder) as client:
        yield client


def _url(service: httpx.Client) -> str:
    return str(service.base_url)


def _changed(made: Made) -> bytes:
    """Another model: the same trees, other weights."""
    made.fitted.weights["open"] = 2.0
    try:
        return encode(made.fitted)
    finally:
        made.fitted.weights["open"] = 1.0


class TestScores:
    @pytest.mark.parametrize("n", [0, 1, 2000])
    def test_the_service_and_the_process_score_to_the_same_bits(
        self, made: Made, service: httpx.Client, n: int
    ) -> None:
        columns = _columns(n)
        local = Learned(Weighted(), made.loaded, "x", 2000)
        client = ModelService(_url(service), PATIENT_MS)
        remote = Learned(Weighted(), made.loaded, "x", 2000, scorer=client.of(made.name))
        assert remote.score(columns, n, _refuse).tobytes() == local.score(columns, n).tobytes()
        client.close()

    def test_missing_values_arrive_as_missing_values(self, made: Made, service: httpx.Client) -> None:
        columns = _columns(500)
        for column in columns.values():
            column[::7] = np.nan
        client = ModelService(_url(service), PATIENT_MS)
        got = client.of(made.name).probabilities({name: columns[name] for name in made.loaded.features}, 500)
        expected = made.loaded.probabilities(made.loaded.matrix(columns, 500))
        assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)
        client.close()

    def test_the_answer_has_the_value_and_names_its_model(self, made: Made, service: httpx.Client) -> None:
        columns = {name: column for name, column in _columns(5).items() if name in made.loaded.features}
        answer = service.post("/v1/models/main/score", content=pack(columns))
        table = pa.ipc.open_stream(answer.content).read_all()
        expected = made.loaded.value(made.loaded.matrix(columns, 5))
        assert (table["value"].to_numpy() == expected).all()
        assert (answer.headers["content-type"], answer.headers[MODEL_HEADER]) == (MEDIA_TYPE, made.name)

    def test_connections_are_kept_alive(self, made: Made, service: httpx.Client) -> None:
        client = ModelService(_url(service), PATIENT_MS)
        columns = {name: column for name, column in _columns(5).items() if name in made.loaded.features}
        used = set()
        for _ in range(5):
            client.of(made.name).probabilities(columns, 5)
            used |= {id(one) for one in client._client._transport._pool.connections}  # type: ignore[attr-defined]
        assert len(used) == 1
        client.close()


def _refuse(part: str, error: Exception) -> None:
    raise AssertionError(f"{part} failed: {error}")


class TestBadRequests:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"no arrow", "no Arrow IPC stream"),
            (pack({"als_score": np.zeros(3, np.float32)}), "missing"),
            (pack({feature.name: np.zeros(3) for feature in FEATURES}), "not float32"),
        ],
    )
    def test_are_told_what_is_wrong(self, service: httpx.Client, body: bytes, said: str) -> None:
        answer = service.post("/v1/models/main/score", content=body)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert said in answer.json()["detail"]

    def test_an_unknown_model_is_not_found(self, service: httpx.Client) -> None:
        assert service.post("/v1/models/other/score", content=b"").status_code == 404
        assert 'rex_model_problems_total{type="not_found"} 1.0' in service.get("/metrics").text


class TestHosting:
    def test_several_models_are_served_by_name_and_by_hash(
        self, made: Made, folder: Folder, service: httpx.Client
    ) -> None:
        other = folder.put("other", _changed(made))
        wait_until(lambda: len(service.get("/v1/models").json()["models"]) == 2)
        listed = {one["name"]: one["sha256"] for one in service.get("/v1/models").json()["models"]}
        assert listed == {"main": made.name, "other": other}
        body = pack({name: column for name, column in _columns(3).items() if name in made.loaded.features})
        by_name, by_hash = (service.post(f"/v1/models/{name}/score", content=body).content for name in ("other", other))
        assert by_name == by_hash != service.post("/v1/models/main/score", content=body).content

    def test_a_newly_published_model_takes_the_name_without_a_restart(
        self, made: Made, folder: Folder, service: httpx.Client
    ) -> None:
        new = folder.put("main", _changed(made))
        wait_until(lambda: service.get("/v1/models").json()["models"][0]["sha256"] == new)

    def test_a_damaged_model_replaces_nothing_and_is_told(
        self, made: Made, folder: Folder, service: httpx.Client
    ) -> None:
        bad = folder.path / f"main@{'0' * 64}.rexmodel"
        bad.write_bytes(made.data)
        wait_until(lambda: bool(service.get("/v1/models").json()["failing"]))
        answer = service.get("/v1/models").json()
        assert "other bytes than were published" in answer["failing"]["main"]
        assert [one["sha256"] for one in answer["models"]] == [made.name]
        assert "rex_models_failing 1.0" in service.get("/metrics").text
        assert service.get("/readyz").status_code == 200

    def test_without_a_model_it_lives_but_is_not_ready(self, made: Made, tmp_path: Path) -> None:
        empty = Folder(tmp_path / "empty")
        empty.path.mkdir()
        with _running(empty) as service:
            assert (service.get("/healthz").status_code, service.get("/readyz").status_code) == (200, 503)
            empty.put("first", made.data)
            wait_until(lambda: service.get("/readyz").status_code == 200)

    def test_models_are_loaded_from_redis_too(self, made: Made, redis_client: redis.Redis) -> None:
        keys, name = Keys(), digest(made.data)
        redis_client.set(keys.blob(name), made.data, ex=60)
        with _running(RedisBlobs(redis_client, keys, lambda: {"snapshot-1": name})) as service:
            assert service.get("/v1/models").json()["models"][0]["sha256"] == made.name
            client = ModelService(_url(service), PATIENT_MS)
            columns = {name: column for name, column in _columns(4).items() if name in made.loaded.features}
            assert len(client.of(name).probabilities(columns, 4)["open"]) == 4
            client.close()


class TestFailing:
    def _late(self, made: Made, url: str, timeout_ms: float = 50.0) -> tuple[list[str], float]:
        """What was degraded, and how many seconds that took."""
        columns = _columns(3000)
        client = ModelService(url, timeout_ms)
        ranker = Learned(Weighted(), made.loaded, "x", 2000, scorer=client.of(made.name))
        told: list[str] = []
        started = time.monotonic()
        score = ranker.score(columns, 3000, lambda part, error: told.append(f"{part}: {error}"))
        spent = time.monotonic() - started
        client.close()
        assert (score == ranker.first_stage.score(columns, 3000)).all()
        return told, spent

    def test_nobody_listens(self, made: Made) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
            told, _ = self._late(made, f"http://127.0.0.1:{unused.getsockname()[1]}", PATIENT_MS)
        assert told[0].startswith(f"{MODEL_SERVICE}: the model service at")

    def test_somebody_listens_and_never_answers(self, made: Made) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            told, spent = self._late(made, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "did not answer within 50 ms" in told[0]
        assert spent < 10, "the deadline did not hold"

    def test_somebody_answers_one_byte_at_a_time(self, made: Made) -> None:
        with socket.create_server(("127.0.0.1", 0)) as slow:
            stop = threading.Event()
            thread = threading.Thread(target=_drip, args=(slow, stop))
            thread.start()
            told, spent = self._late(made, f"http://127.0.0.1:{slow.getsockname()[1]}", 200.0)
            stop.set()
            thread.join()
        assert "did not answer within 200 ms" in told[0]
        assert spent < 10, "each byte restarted the clock"

    def test_the_service_has_another_model(self, made: Made, service: httpx.Client) -> None:
        client = ModelService(_url(service), PATIENT_MS)
        with pytest.raises(Unavailable, match="answered 404"):
            client.of(name_of(b"another")).probabilities(
                {name: c for name, c in _columns(2).items() if name in made.loaded.features}, 2
            )
        client.close()

    def test_it_comes_back(self, made: Made, folder: Folder) -> None:
        """The client of a service that was restarted on the same port scores again."""
        columns = {name: column for name, column in _columns(2).items() if name in made.loaded.features}
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
        client = ModelService(f"http://127.0.0.1:{port}", PATIENT_MS)
        with pytest.raises(Unavailable):
            client.of(made.name).probabilities(columns, 2)
        for _ in range(2):
            server = uvicorn.Server(uvicorn.Config(create_model_app(folder), port=port, log_level="warning"))
            thread = threading.Thread(target=server.run)
            thread.start()
            wait_until(lambda server=server: server.started)  # type: ignore[misc]
            assert len(client.of(made.name).probabilities(columns, 2)["open"]) == 2
            server.should_exit = True
            thread.join()
        client.close()


def _drip(server: socket.socket, stop: threading.Event) -> None:
    server.settimeout(20)
    connection, _ = server.accept()
    with connection:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        for at in range(100_000):
            if stop.wait(0.02):
                return
            try:
                connection.send(head[at : at + 1] or b"x")
            except OSError:
                return


def test_a_model_file_appears_whole_or_not_at_all(made: Made, folder: Folder) -> None:
    unfinished = folder.path / f".main@{made.name}"
    unfinished.write_bytes(made.data[:100])
    assert folder.names() == {"main": made.name}
    os.unlink(unfinished)
