"""The model service over what is published: the model of every kept snapshot, named by the snapshot's version."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import redis
from fastapi import FastAPI

from features.errors import Unavailable
from features.keys import Keys
from features.packing import CorruptValue
from features.settings import Settings
from features.snapshot_reader import published, stored_manifest
from rex.local.redis import connect
from rex.model_service.app import POLL_S, create_model_app
from rex.model_service.sources import Folder, RedisBlobs, Several


def create_app(settings: Settings | None = None, poll_s: float = POLL_S) -> FastAPI:
    """The app; settings come from the environment unless given. Models come and go with their snapshots, without a restart."""
    settings, stack = settings or Settings(), ExitStack()
    client, keys = stack.enter_context(connect(settings)), Keys(settings.redis_prefix)
    kept = RedisBlobs(client, keys, lambda: models_kept(client, keys))
    source = kept if settings.models is None else Several(kept, Folder(settings.models))
    return create_model_app(source, poll_s, stack.close)


def models_kept(client: redis.Redis, keys: Keys) -> Mapping[str, str]:
    """Version of each kept snapshot that has a model → the model's digest. Unavailable when a manifest is damaged."""
    try:
        found = [(version, stored_manifest(client, keys, version)) for version in published(client, keys)]
    except CorruptValue as error:
        raise Unavailable(f"the kept snapshots cannot be told: {error}") from error
    return {version: manifest.model for version, manifest in found if manifest is not None and manifest.model}
