"""Snapshot versions in Redis: staging, verifying, moving the pointer, rolling back, and removing those that are no longer kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

import orjson
import redis

from batch.lease import LEASE_TTL_S, Lease, hold_lease, lost
from features.consumer_groups import done_by_group
from features.errors import BadInput, Older, Unavailable
from features.keys import Keys, hash64
from features.lua import script
from features.packing import CorruptValue
from features.snapshot import Manifest, moment_of
from features.snapshot_reader import (
    current_version,
    published,
    read_bucket,
    read_manifest,
    read_model,
    read_tables,
    stored_manifest,
)
from features.streams import START, stream_order
from online.rankers.models.model_file import WrongModel, decode

_FLIP = script(__package__, "flip")
_RETIRE = script(__package__, "retire")
_FORGET = script(__package__, "forget_documents")
DOCUMENTS_AT_ONCE = 1000
"""Some 500 kB of arguments; short enough to keep nobody waiting."""


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


def retire(client: redis.Redis, keys: Keys, lease: Lease, kept: int) -> None:
    """Take all but the `kept` latest publications, and the current one, off the list of versions."""
    current = current_version(client, keys)
    old = [version for version in published(client, keys)[kept:] if version != current]
    names = [keys.publish_lease(), keys.versions(), keys.staged()]
    if old and not client.eval(_RETIRE, len(names), *names, lease.token, *old):
        raise lost()


def clear_half_there(client: redis.Redis, keys: Keys, lease: Lease, deleted: Callable[[], None]) -> None:
    """Delete versions that are being written by a dead publisher or were retired, except pieces that others share.

    `deleted` is called after every piece.
    """
    half_there = sorted(version.decode() for version in cast("set[bytes]", client.smembers(keys.staged())))
    needed = {key for version in published(client, keys) for key in _piece_keys(client, keys, version)}
    for version in half_there:
        for key in sorted(_piece_keys(client, keys, version) - needed):
            lease.check()
            client.unlink(key)
            deleted()
        client.delete(keys.manifest(version))
        client.srem(keys.staged(), version)


def trim_streams(client: redis.Redis, keys: Keys) -> None:
    """Drop the entries of online streams that every kept snapshot's lake holds and every consumer group is done with.

    A stream that a kept snapshot does not name stays whole: that snapshot may need all of it after a rollback. What a
    group has not acknowledged stays, whatever a snapshot says: its lake may have come from a backup since.
    """
    manifests = [m for v in published(client, keys) if (m := stored_manifest(client, keys, v)) is not None]
    streams = set.intersection(*(set(manifest.positions) for manifest in manifests))
    for stream in sorted(streams):
        held = [manifest.positions[stream] for manifest in manifests]
        done = done_by_group(client, stream).values()
        oldest = min((*held, *done), key=stream_order)
        if stream == keys.story_stream() and oldest != START:
            _forget_documents(client, keys, oldest)
        if oldest != START and client.xrange(stream, "-", f"({oldest}", count=1):  # nothing lies before the start
            # Noted first: killed in between, a publisher refuses a little too much rather than too little.
            client.hset(keys.trimmed(), stream, oldest)
            client.xtrim(stream, minid=oldest, approximate=False)


def refuse_forgetful(client: redis.Redis, keys: Keys, positions: Mapping[str, str]) -> None:
    """BadInput when changes that a lake complete up to `positions` lacks are no longer in the streams.

    Nothing could replay them over its snapshot: withdrawals and mutes would be undone.
    """
    for name, trimmed in cast("dict[bytes, bytes]", client.hgetall(keys.trimmed())).items():
        stream, position = name.decode(), positions.get(name.decode(), START)
        if stream_order(position) < stream_order(trimmed.decode()):
            raise BadInput(
                f"The lake holds the stream {stream} up to {position} only, and Redis has dropped what came up to "
                f"{trimmed.decode()}, so withdrawals and mutes would be forgotten: archive into this lake, run the batch "
                "for a later moment and publish that. A lake of another site needs a REX_REDIS_PREFIX of its own."
            )


def _forget_documents(client: redis.Redis, keys: Keys, oldest: str) -> None:
    """Drop the documents of stories whose latest change is about to be trimmed: every kept snapshot has them."""
    after = START
    while entries := cast(
        "list[Any]", client.xrange(keys.story_stream(), f"({after}", f"({oldest}", DOCUMENTS_AT_ONCE)
    ):
        after = entries[-1][0].decode()
        arguments = [part for _, fields in entries for part in _document(fields.get(b"story", b""))]
        if arguments:
            client.eval(_FORGET, 1, keys.story_documents(), *arguments)


def _document(raw: bytes) -> tuple[bytes | str, ...]:
    """The field and the value of a story in the hash of documents; empty for an entry that is none (it was set aside as a dead letter)."""
    try:
        return str(hash64(orjson.loads(raw)["story_id"])), raw
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def _piece_keys(client: redis.Redis, keys: Keys, version: str) -> set[str]:
    """Keys of all pieces of a version; none when its publisher died before it wrote the manifest."""
    manifest = stored_manifest(client, keys, version)
    if manifest is None:
        return set()
    blobs = {keys.blob(piece) for pieces in manifest.tables.values() for piece in pieces}
    if manifest.model:
        blobs.add(keys.blob(manifest.model))
    return blobs | {keys.users(piece) for piece in manifest.users if piece}
