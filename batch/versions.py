"""Snapshot versions in Redis: staging, verifying, moving the pointer, rolling back."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import redis

from batch.lease import LEASE_TTL_S, Lease, hold_lease, lost
from features.errors import BadInput, Older, Unavailable
from features.keys import Keys
from features.lua import script
from features.packing import CorruptValue
from features.snapshot import Manifest, moment_of
from features.snapshot_reader import published, read_bucket, read_manifest, read_model, read_tables
from online.rankers.models.model_file import WrongModel, decode

_FLIP = script(__package__, "flip")


def rollback(client: redis.Redis, keys: Keys, version: str, *, lease_ttl_s: float = LEASE_TTL_S) -> Manifest:
    """Make a kept version the current one again, once all of it has been read.

    BadInput when it is not among the kept ones; Unavailable when someone publishes or the version is damaged.
    """
    with hold_lease(client, keys, lease_ttl_s) as lease:
        kept = published(client, keys)
        if version not in kept:
            raise BadInput(f"There is no snapshot {version!r}; kept are: {', '.join(kept) or 'none'}.")
        try:
            manifest = verify(client, keys, version)
        except CorruptValue as error:
            raise Unavailable(f"Snapshot {version} is damaged ({error}); roll back to another one.") from error
        flip(client, keys, lease, version)
    return manifest


def refuse_older(client: redis.Redis, keys: Keys, as_of: datetime) -> None:
    """Older when the current snapshot is of a later moment. To be asked under the lease: without it nobody moves the pointer."""
    version = cast("bytes | None", client.get(keys.current()))
    if version is not None and as_of < moment_of(version.decode()):  # by its name: what it consists of may be damaged
        raise Older(
            f"The current snapshot, {version.decode()}, holds the features of a later moment than "
            f"{as_of.isoformat()}; publish later ones, `rex rollback` to a kept snapshot, or pass --allow-older."
        )


def stage(client: redis.Redis, keys: Keys, lease: Lease, manifest: Manifest) -> None:
    """Note that this version is being written, then what it consists of, so that its pieces can be found and removed."""
    lease.check()
    client.sadd(keys.staged(), manifest.version)
    client.set(keys.manifest(manifest.version), manifest.encode())


def verify(client: redis.Redis, keys: Keys, version: str) -> Manifest:
    """Read the whole version back: schema hash, every digest, every count, the model. CorruptValue or Unavailable if off."""
    manifest = read_manifest(client, keys, version)
    read_tables(client, keys, manifest)
    _try_model(read_model(client, keys, manifest), manifest)
    users = sum(len(read_bucket(client, keys, piece)) for piece in manifest.users if piece)
    if users != manifest.counts["users"]:
        raise CorruptValue(f"snapshot users: {users} profiles, the manifest says {manifest.counts['users']}")
    return manifest


def _try_model(model: bytes | None, manifest: Manifest) -> None:
    """Unavailable when no process of this release could rank with it."""
    try:
        if model is not None:
            decode(model, manifest.model)
    except WrongModel as error:
        raise Unavailable(f"Snapshot {manifest.version} cannot be ranked: {error}") from error


def flip(client: redis.Redis, keys: Keys, lease: Lease, version: str) -> None:
    """Point at `version`, staged or published. Unavailable when the lease is no longer ours."""
    names = [keys.publish_lease(), keys.current(), keys.versions(), keys.staged()]
    if not client.eval(_FLIP, len(names), *names, lease.token, version, lease.sequence):
        raise lost()
