"""Publishing: lease → clean → build → stage → write → verify → flip → prune. The service sees the old snapshot or the new one.

Killed anywhere, it leaves the pointer on a whole snapshot; the next publisher removes what is half there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import redis
from rich.progress import Progress

from batch.lease import LEASE_TTL_S, hold_lease
from batch.snapshot_content import Content, Pieces, cut, manifest_of, read_content
from batch.versions import clear_half_there, flip, refuse_forgetful, refuse_older, retire, stage, trim_streams, verify
from features.errors import Unavailable
from features.keys import Keys
from features.packing import CorruptValue
from features.snapshot import Manifest
from features.snapshot_reader import read_blob, read_bucket
from rex.local.progress import bar

Step = Literal["lease", "clean", "build", "stage", "write", "verify", "flip", "retire", "delete", "trim"]
"""Where a publisher stands: `step` is called after each of these; after every piece for `write` and `delete`."""


def ignore(step: Step) -> None:
    """Nobody watches the steps."""


def publish(
    lake: Path,
    as_of: datetime,
    client: redis.Redis,
    keys: Keys,
    *,
    now: datetime,
    kept: int,
    lease_ttl_s: float = LEASE_TTL_S,
    allow_older: bool = False,
    progress: Progress | None = None,
    step: Callable[[Step], None] = ignore,
) -> Manifest:
    """Make the features of `as_of` the current snapshot, and keep `kept` of them.

    BadInput when the batch has not finished for `as_of` or ids collide; Older when the current snapshot is of a later
    moment, unless `allow_older`; Unavailable when someone else publishes or
    what was written does not read back. In both cases the service keeps what it has.
    """

    def build() -> Content:
        if not allow_older:
            refuse_older(client, keys, as_of)
        return read_content(lake, as_of)

    return publish_content(
        build, client, keys, now=now, kept=kept, lease_ttl_s=lease_ttl_s, progress=progress, step=step
    )


def publish_content(
    build: Callable[[], Content],
    client: redis.Redis,
    keys: Keys,
    *,
    now: datetime,
    kept: int,
    lease_ttl_s: float = LEASE_TTL_S,
    progress: Progress | None = None,
    step: Callable[[Step], None] = ignore,
) -> Manifest:
    """As `publish`, with what `build` makes under the lease."""
    with hold_lease(client, keys, lease_ttl_s) as lease:
        step("lease")
        clear_half_there(client, keys, lease, partial(step, "delete"))
        step("clean")
        with bar(progress, "read features"):
            content = build()
            refuse_forgetful(client, keys, content.positions)
            pieces = cut(content)
        step("build")
        manifest = manifest_of(content, pieces, lease.sequence, now)
        stage(client, keys, lease, manifest)
        step("stage")
        _write(client, keys, pieces, lease.check, progress, partial(step, "write"))
        with bar(progress, "verify snapshot"):
            _verify(client, keys, manifest)
        step("verify")
        flip(client, keys, lease, manifest.version)
        step("flip")
        retire(client, keys, lease, kept)
        step("retire")
        clear_half_there(client, keys, lease, partial(step, "delete"))
        trim_streams(client, keys)
        step("trim")
    return manifest


def _write(
    client: redis.Redis,
    keys: Keys,
    pieces: Pieces,
    check: Callable[[], None],
    progress: Progress | None,
    written: Callable[[], None],
) -> None:
    """Write the pieces that are not in Redis yet, or not as their names say."""
    with bar(progress, "write snapshot", len(pieces.chunks) + len(pieces.buckets)) as advance:
        for piece, chunk in pieces.chunks.items():
            if not _there(read_blob, client, keys, piece):
                check()
                client.set(keys.blob(piece), chunk)
                written()
            advance()
        for piece in pieces.buckets:
            if not _there(read_bucket, client, keys, piece):
                check()
                _write_bucket(client, keys.users(piece), pieces.bucket(piece))
                written()
            advance()


def _write_bucket(client: redis.Redis, key: str, bucket: Mapping[Any, bytes]) -> None:
    """All or nothing, so that a bucket that exists is whole; what else was under this key goes."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(key)
        pipeline.hset(key, mapping=bucket)
        pipeline.execute()


def _there(read: Callable[[redis.Redis, Keys, str], object], client: redis.Redis, keys: Keys, piece: str) -> bool:
    try:
        read(client, keys, piece)
    except (Unavailable, CorruptValue):
        return False
    return True


def _verify(client: redis.Redis, keys: Keys, manifest: Manifest) -> None:
    try:
        if verify(client, keys, manifest.version) != manifest:
            raise CorruptValue("its manifest is not the one that was written")
    except (CorruptValue, Unavailable) as error:
        raise Unavailable(
            f"Snapshot {manifest.version} was not published, for it does not read back ({error}); "
            "the service keeps what it has; publish again."
        ) from error
