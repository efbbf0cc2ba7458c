"""Models by name: where published ones are found, with the SHA-256 that their bytes must have, and those that a process holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import redis

from features.errors import Unavailable
from features.keys import Keys
from features.packing import name_of
from lake.drafts import replace_bytes
from online.rankers.models.model import Model
from online.rankers.models.model_file import NAME_CHARS, WrongModel, decode

SUFFIX = ".rexmodel"
log = logging.getLogger("rex.models")


class Source(Protocol):
    """Lists what is published; its answers may change from call to call."""

    def names(self) -> Mapping[str, str]:
        """Name → SHA-256 (hex, whole or its first 32 digits) of what is published now. Unavailable when unknown."""
        ...

    def read(self, name: str, digest: str) -> bytes:
        """The bytes, unchecked. Unavailable when they cannot be had."""
        ...


class Folder:
    """A folder of files `NAME@SHA256.rexmodel`: the hash in the file's name is the published one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Mapping[str, str]:
        """See Source. Of several files with one name the latest by time of change counts."""
        if not self.path.is_dir():
            raise Unavailable(f"{self.path} is no folder; give the one that holds model files.")
        files = sorted(self.path.glob(f"*@*{SUFFIX}"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        named = (file.name.removesuffix(SUFFIX).rpartition("@") for file in files)
        return {name: digest for name, _, digest in named}

    def read(self, name: str, digest: str) -> bytes:
        """See Source."""
        file = self.path / f"{name}@{digest}{SUFFIX}"
        try:
            return file.read_bytes()
        except OSError as error:
            raise Unavailable(f"the model file {file} cannot be read ({error}); put it back.") from error

    def put(self, name: str, data: bytes) -> str:
        """Publishes a model; returns its SHA-256. The file appears whole or not at all."""
        digest = name_of(data)
        self.path.mkdir(parents=True, exist_ok=True)
        replace_bytes(self.path / f"{name}@{digest}{SUFFIX}", data)
        return digest


class RedisBlobs:
    """Blobs in Redis, as snapshots keep theirs; `listed` says which names stand for which blobs now."""

    def __init__(self, client: redis.Redis, keys: Keys, listed: Callable[[], Mapping[str, str]]) -> None:
        self._client, self._keys, self._listed = client, keys, listed

    def names(self) -> Mapping[str, str]:
        """See Source."""
        try:
            return self._listed()
        except redis.RedisError as error:
            raise Unavailable(f"the published models cannot be listed: {error}") from error

    def read(self, name: str, digest: str) -> bytes:
        """See Source."""
        try:
            data = self._client.get(self._keys.blob(digest))
        except redis.RedisError as error:
            raise Unavailable(f"model {name} cannot be loaded from Redis: {error}") from error
        if data is None:
            raise Unavailable(f"model {name} ({digest}) is not in Redis; publish it again.")
        return data  # type: ignore[return-value]  # the client does not decode answers


class Several:
    """More than one source; of one name the first source's counts."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    def names(self) -> Mapping[str, str]:
        """See Source."""
        found: dict[str, str] = {}
        for source in self._sources:
            found = {**source.names(), **found}
        return found

    def read(self, name: str, digest: str) -> bytes:
        """See Source."""
        for source in self._sources:
            if source.names().get(name) == digest:
                return source.read(name, digest)
        raise Unavailable(f"model {name} ({digest}) is not published any more.")


@dataclass(frozen=True, slots=True)
class Hosted:
    """One model under one name."""

    name: str
    digest: str
    """As published: the SHA-256 or its beginning."""
    sha256: str
    model: Model


class Registry:
    """Read by requests, changed by `refresh` alone; what a request holds stays as it is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hosted: dict[str, Hosted] = {}
        self.failing: dict[str, str] = {}
        """Name → why what is published under it is not served."""

    def all(self) -> dict[str, Hosted]:
        """By name."""
        return self._hosted

    def get(self, name: str) -> Hosted | None:
        """By name, or by SHA-256 as it may be published."""
        hosted = self._hosted
        named = (one for one in hosted.values() if len(name) in NAME_CHARS and one.sha256.startswith(name))
        return hosted.get(name) or next(named, None)

    def refresh(self) -> int:
        """Loads what is new, drops what is no longer published; returns how many models were loaded.

        `failing` lists what is published but cannot be loaded; the model that had its name before is served on.
        """
        published = self._source.names()
        hosted: dict[str, Hosted] = {}
        failing: dict[str, str] = {}
        for name, digest in published.items():
            before = self._hosted.get(name)
            try:
                hosted[name] = before if before and before.digest == digest else self._load(name, digest)
            except (WrongModel, Unavailable) as error:
                failing[name] = str(error)
                if before:
                    hosted[name] = before
        for name in failing.keys() - self.failing.keys():
            log.warning("model %s is not served: %s", name, failing[name])
        loaded = sum(1 for name, one in hosted.items() if one is not self._hosted.get(name))
        self._hosted, self.failing = hosted, failing
        return loaded

    def _load(self, name: str, digest: str) -> Hosted:
        log.info("loading model %s (%s)", name, digest)
        data = self._source.read(name, digest)
        return Hosted(name, digest, name_of(data), decode(data, digest))
