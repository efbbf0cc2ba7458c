"""A Redis client that dies in the middle of things, as its process would: after so many commands nothing more is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, UnixDomainSocketConnection
from redis.retry import Retry


class Killed(BaseException):
    """The process is gone; no handler of ordinary errors sees it."""


@dataclass
class Life:
    """How many commands are left."""

    commands: int


class _Connection(UnixDomainSocketConnection):
    """Sends what its life allows. Of a pipeline the first commands reach the server, and no answer is read."""

    def __init__(self, *, life: Life, **more: Any) -> None:
        super().__init__(**more)
        self._life = life

    def send_command(self, *args: Any, **more: Any) -> None:
        self._spend(1)
        super().send_command(*args, **more)
        self._die_if_spent()

    def pack_commands(self, commands: Any) -> Any:
        commands = list(commands)
        self._spend(1)
        allowed = commands[: self._life.commands + 1]
        self._life.commands -= len(commands) - 1
        return super().pack_commands(allowed)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        super().send_packed_command(command, check_health=check_health)
        self._die_if_spent()

    def _spend(self, commands: int) -> None:
        self._die_if_spent()
        self._life.commands -= commands

    def _die_if_spent(self) -> None:
        if self._life.commands < 0:
            raise Killed


def killing_client(socket: Path, commands: int) -> redis.Redis:
    """A client whose process dies with its `commands + 1`st command, which is still sent."""
    pool = ConnectionPool(
        connection_class=_Connection, path=str(socket), life=Life(commands), retry=Retry(NoBackoff(), 0)
    )
    return redis.Redis(connection_pool=pool)
