"""The models that a process holds, kept in step with a source. A model that cannot be loaded replaces nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from features.errors import Unavailable
from features.packing import name_of
from online.rankers.models.model import Model
from online.rankers.models.model_file import NAME_CHARS, WrongModel, decode
from rex.model_service.sources import Source

log = logging.getLogger("rex.models")


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

        What is published but cannot be loaded is told in `failing`; the model that had its name before is served on.
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
