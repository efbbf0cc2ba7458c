"""Serving processes that stop without breaking a connection."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import uvicorn
from uvicorn.supervisors import Multiprocess, multiprocess

WORKER_ANSWERS_WITHIN_S = 60
"""After this a worker counts as hung and is killed; uvicorn's 5 s are less than a loaded machine takes to compile the loops of a list."""
READ_WITHIN_S = 0.3
"""What was accepted just before the end has sent its request by then: clients do so as soon as they are connected."""


class DrainingServer(uvicorn.Server):
    """uvicorn's server resets connections that wait to be accepted, or whose request it has not read; here they are answered."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuses new connections, answers those that had been made, then ends as usual."""
        kept = [listening.dup() for listening in sockets or []]
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        waiting = [connection for listening in kept for connection in _accepted_last(listening)]
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        await asyncio.sleep(READ_WITHIN_S)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes one for each connection."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg, assignment]  # typed as any protocol
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def _accepted_last(listening: socket.socket) -> list[socket.socket]:
    """The connections that wait at the socket, which is closed right after the last of them."""
    listening.setblocking(False)
    accepted = []
    with listening, suppress(BlockingIOError):
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            accepted.append(connection)
    return accepted


class Worker(multiprocess.Process):
    """One of several serving processes."""

    @property
    def server(self) -> DrainingServer:
        """Made in the worker itself."""
        if self._server is None:
            self._server = DrainingServer(self.config)
        assert isinstance(self._server, DrainingServer)
        return self._server


class Draining(Multiprocess):
    """uvicorn's supervisor, which keeps the listening socket open until its last worker has ended: connections that arrive
    meanwhile wait for a worker that will never take them, and are reset. Here it is closed before the workers are asked to
    end; each of them takes what is waiting and answers it, and new connections are refused at once, as with one process."""

    def terminate_all(self) -> None:
        """Called once, when no worker is going to be started any more."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def serve(config: uvicorn.Config) -> None:
    """Serves until a signal ends it; `config.workers` processes, this one when it is one. OSError when the address is taken."""
    listening = bound(config)  # here, because uvicorn ends the process without a word that `rex` could put better
    if config.workers > 1:
        multiprocess.Process = Worker  # type: ignore[misc]  # the supervisor has no parameter for it
        Draining(config, [listening]).run()
        return
    server = DrainingServer(config)
    server.run([listening])
    if not server.started:
        raise SystemExit(uvicorn.config.STARTUP_FAILURE)


def bound(config: uvicorn.Config) -> socket.socket:
    """A socket at the address of `config`, which workers inherit."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.host, config.port))
    except OSError:
        listening.close()
        raise
    listening.set_inheritable(True)
    return listening
