"""A real Redis server for tests. Import `redis_server` and `redis_client` into the conftest.py that needs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from rex.local.redis_server import Server, server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server a test session; `.url`, `.kill()`, `.restart()`."""
    with server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis_client(redis_server: Server) -> Iterator[redis.Redis]:
    """A client of an empty database."""
    with redis_server.client() as client:
        client.flushall()
        yield client
