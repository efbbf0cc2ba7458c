"""Several serving processes behind one port that stop without breaking a connection."""

from __future__ import annotations

import uvicorn
from uvicorn.supervisors import Multiprocess

WORKER_ANSWERS_WITHIN_S = 60
"""After this a worker counts as hung and is killed; uvicorn's 5 s are less than a loaded machine takes to compile the loops of a list."""


class Draining(Multiprocess):
    """uvicorn's supervisor, which keeps the listening socket open until its last worker has ended: connections that arrive
    meanwhile wait for a worker that will never take them, and are reset. Here it is closed before the workers are told to
    end; each of them takes what is waiting and answers it, and new connections are refused at once, as with one process."""

    def terminate_all(self) -> None:
        """Called once, when no worker is going to be started any more."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def serve(config: uvicorn.Config) -> None:
    """Serves until a signal ends it; `config.workers` processes, this one when it is one."""
    if config.workers > 1:
        Draining(config, [config.bind_socket()]).run()
        return
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        raise SystemExit(uvicorn.config.STARTUP_FAILURE)
