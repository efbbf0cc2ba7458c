"""Apps over real HTTP, in a thread of this process; a test that waits for something says so and gives up in time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from rex.local.http import http_client


class StopsAtOnce(uvicorn.Server):
    """uvicorn looks ten times a second whether it is to stop, and then waits a tenth of a second more: 0.2 s a test."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.005)
        await self.lifespan.shutdown()


@contextmanager
def serving(app: FastAPI, timeout_s: float = 10, **more: Any) -> Iterator[httpx.Client]:
    """The app behind a real server on a free port of the loopback interface, and a client of it. `more` is told to uvicorn."""
    server = StopsAtOnce(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", **more))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), within_s=20)
        port = server.servers[0].sockets[0].getsockname()[1]
        # verify: the certificates that no plain HTTP needs take 20 ms to load
        with http_client(f"http://127.0.0.1:{port}", timeout=timeout_s, verify=False) as http:
            yield http
    finally:
        server.should_exit = True
        thread.join()


def wait_until(condition: Any, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
