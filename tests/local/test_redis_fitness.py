"""A Redis that would drop or scatter what Rex keeps is refused before anything is entrusted to it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from features.errors import BadInput
from features.settings import Settings
from rex.local.redis import connect
from rex.local.redis_server import Server, executable
from tests.online.conftest import wait_until


@pytest.fixture
def evicting(redis_server: Server, redis_client: redis.Redis) -> Iterator[str]:
    """A Redis that may drop any key once its memory is full."""
    redis_client.config_set("maxmemory", "1gb")
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        yield redis_server.url
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")
        redis_client.config_set("maxmemory", "0")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """One node of a cluster; it answers PING and INFO whether or not it has slots."""
    # The node's bus listens 10,000 above its port, so the port must be a low one.
    port = next(port for port in range(21_000, 22_000) if not _listens(port))
    options = {"port": port, "bind": "127.0.0.1", "cluster-enabled": "yes", "dir": tmp_path, "save": ""}
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    with subprocess.Popen([executable(), *words], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(port))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_an_evicting_redis_is_refused_in_one_sentence(evicting: str) -> None:
    with (
        pytest.raises(BadInput, match=r"allkeys-lru.*maxmemory-policy noeviction.*REX_REDIS_MAY_EVICT"),
        connect(Settings(redis_url=evicting)),
    ):
        pass


def test_it_is_accepted_when_the_operator_says_so(evicting: str) -> None:
    with connect(Settings(redis_url=evicting, redis_may_evict=True)) as client:
        assert client.ping()


def test_a_policy_without_a_limit_evicts_nothing(evicting: str, redis_client: redis.Redis) -> None:
    redis_client.config_set("maxmemory", "0")
    with connect(Settings(redis_url=evicting)) as client:
        assert client.ping()


def test_a_cluster_is_refused_in_one_sentence(cluster: str) -> None:
    with pytest.raises(BadInput, match=r"Cluster.*single Redis"), connect(Settings(redis_url=cluster)):
        pass


def test_a_user_who_may_not_ask_is_let_in(redis_server: Server, redis_client: redis.Redis) -> None:
    redis_client.execute_command("ACL SETUSER guest on >pw ~* &* +@all -info -config")
    try:
        with connect(Settings(redis_url=f"unix://guest:pw@{redis_server.socket}")) as client:
            assert client.ping()
    finally:
        redis_client.execute_command("ACL DELUSER guest")
