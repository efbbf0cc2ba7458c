"""Serving processes that stop without breaking a connection."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from uvicorn.supervisors import Multiprocess, multiprocess

WORKER_ANSWERS_WITHIN_S = 60
"""After this a worker counts as hung and is killed; uvicorn's 5 s are less than a loaded machine takes to compile the loops of a list."""
READ_WITHIN_S = 0.3
"""What was accepted just before the end has sent its request by then: clients do so as soon as they are connected."""


class Server(uvicorn.Server):
    """uvicorn's server closes connections whose request it has not read yet, which resets them; here they are read first."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuses new connections, answers what has been accepted, then ends as usual."""
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        await asyncio.sleep(READ_WITHIN_S)
        await super().shutdown(sockets)


class Worker(multiprocess.Process):
    """One of several serving processes."""

    @property
    def server(self) -> Server:
        """Made in the worker itself."""
        if self._server is None:
            self._server = Server(self.config)
        assert isinstance(self._server, Server)
        return self._server


class Draining(Multiprocess):
    """uvicorn's supervisor, which keeps the listening socket open until its last worker has ended: connections that arrive
    meanwhile wait for a worker that will never take them, and are reset. Here it is closed before the workers are told to
    end; each of them takes what is waiting and answers it, and new connections are refused at once, as with one process."""

    def terminate_all(self) -> None:
        """Called once, when no worker is going to be started any more."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


multiprocess.Process = Worker  # type: ignore[misc]  # the supervisor takes its kind of worker from nowhere else


def serve(config: uvicorn.Config) -> None:
    """Serves until a signal ends it; `config.workers` processes, this one when it is one."""
    if config.workers > 1:
        Draining(config, [config.bind_socket()]).run()
        return
    server = Server(config)
    server.run()
    if not server.started:
        raise SystemExit(uvicorn.config.STARTUP_FAILURE)
