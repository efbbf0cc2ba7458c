"""The publisher's lease: one publisher at a time, and none that was stalled can move the pointer."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from features.errors import InUse, Unavailable
from features.keys import Keys

LEASE_TTL_S = 30.0
"""How long a dead publisher keeps others out; three missed renewals of a live one."""
RENEWALS_PER_TTL = 3


class Lease:
    """Held by this process, renewed by a thread of its own until released. Made by `hold_lease`."""

    def __init__(self, lock: Lock, sequence: int, token: bytes) -> None:
        self._lock = lock
        self.sequence = sequence
        """Publishing sequence number: greater than that of every earlier holder."""
        self.token = token
        """Value of the lease key while it is ours; the scripts that change the pointer compare it."""

    def check(self) -> None:
        """Before each batch of writes. Unavailable when another publisher may have taken over."""
        if not self._lock.owned():
            raise lost()

    def keep(self, stopped: threading.Event, ttl_s: float) -> None:
        """Renew until `stopped` or lost. A failed renewal is tried again; `check` and the scripts notice a lost lease."""
        while not stopped.wait(ttl_s / RENEWALS_PER_TTL):
            try:
                self._lock.reacquire()
            except LockError:
                return
            except redis.RedisError:
                continue


@contextmanager
def hold_lease(client: redis.Redis, keys: Keys, ttl_s: float = LEASE_TTL_S) -> Iterator[Lease]:
    """The lease, or InUse at once, naming who holds it and for how long. Released at the end."""
    sequence = client.incr(keys.sequence())
    token = f"{sequence} {socket.gethostname()} process {os.getpid()}".encode()
    lock = Lock(client, keys.publish_lease(), timeout=ttl_s, thread_local=False)
    if not lock.acquire(blocking=False, token=token.decode()):
        raise _refusal(client, keys)
    lease, stopped = Lease(lock, sequence, token), threading.Event()
    keeper = threading.Thread(target=lease.keep, args=(stopped, ttl_s), name="publish-lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        stopped.set()
        keeper.join()
        _release(lock)


def _release(lock: Lock) -> None:
    """Leave the lease to others at once. One that was lost meanwhile is theirs already and stays untouched."""
    with suppress(LockError):
        lock.release()


def lost() -> Unavailable:
    """The error of a publisher that was stalled for longer than its lease."""
    return Unavailable(
        "The publishing lease was lost (this process was stalled for too long); nothing was changed, publish again."
    )


def _refusal(client: redis.Redis, keys: Keys) -> InUse:
    holder = cast("bytes | None", client.get(keys.publish_lease())) or b"? another publisher"
    left_s = max(0, client.pttl(keys.publish_lease())) / 1000
    return InUse(
        f"{holder.decode().split(' ', 1)[1]} is publishing and holds the lease for another {left_s:.0f} s, "
        "longer if it renews it; wait for it, then run this again."
    )
