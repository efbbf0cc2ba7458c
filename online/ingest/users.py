"""A user's languages and membership, as the product changes them: they act at once, and the archive brings them to the lake.

A version lies beside the user's changed edges, so that whatever reads, digests and forgets those does so with it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, cast

import numpy as np
import orjson
import redis
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from features.errors import Unavailable
from features.keys import Keys
from features.languages import MAX_TAG, canonical, known_languages, language_codes
from features.lua import script
from features.raw_datasets import EARLIEST
from features.streams import stream_order
from features.times import micros
from online.clock import Moment
from online.http import examples as api_examples
from online.ingest.stories import Document, OlderVersion, dated, last_position
from online.service_settings import OnlineSettings
from online.user.user import ACCOUNT
from rex.local.faults import first_line

Language = Annotated[str, Field(max_length=MAX_TAG), AfterValidator(canonical)]


class Account(BaseModel):
    """What the product says of a user; each call says all of it."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [api_examples.ACCOUNT]}
    )

    languages: list[Language] | None = Field(default=None, max_length=32)
    """Languages the user reads, BCP 47; null or empty: any."""
    is_member: bool | None = None
    """Pays, and so may read stories for members; null: false."""
    created_at: Moment | None = Field(default=None, ge=EARLIEST)
    """When the account was made; null: as it is known, else now."""
    updated_at: Moment | None = Field(default=None, ge=EARLIEST)
    """When this version came to be; one that is not later than the last one put is ignored. Null: now."""


class AccountIntake:
    """Appends versions of accounts to the stream of the user's partition; each is a row of the raw lake's `users`."""

    def __init__(self, client: redis.Redis, keys: Keys, settings: OnlineSettings) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._append = client.register_script(script(__package__, "append_user"))

    def put(self, user_id: str, account: Account, now: datetime, in_snapshot: Document) -> tuple[str, bool]:
        """Changes the account. Its stream position, and whether it applied, as `StoryIntake.put` returns them.

        `in_snapshot`: the account's `created_at` and `updated_at` in the snapshot, as far as it knows them.
        """
        position = b""
        while not position:
            raw = self._online(user_id)
            before = _document(raw) if raw else {}
            try:
                times = dated((before, in_snapshot), account.updated_at, now)
            except OlderVersion:
                return last_position(self._client, self._stream(user_id)), False
            since = account.created_at or before.get("created_at") or in_snapshot.get("created_at") or now
            document = {
                "user_id": user_id,
                "languages": [language for language in account.languages or () if language],
                "is_member": bool(account.is_member),
                "created_at": since if isinstance(since, str) else since.isoformat(),
                **times,
            }
            position = self._append_after(raw, user_id, orjson.dumps(document))
        return position.decode(), True

    def _stream(self, user_id: str) -> str:
        return self._keys.event_stream(self._keys.partition(user_id))

    def _online(self, user_id: str) -> bytes:
        """The latest version put online; empty: none was."""
        try:
            document = self._client.hget(self._keys.edges(user_id), ACCOUNT.decode())
            return cast("bytes | None", document) or b""
        except redis.RedisError as error:
            raise Unavailable(f"the user cannot be changed now, send it again: {first_line(error)}") from error

    def _append_after(self, before: bytes, user_id: str, document: bytes) -> bytes:
        """The stream position; empty when `before` is not the latest version any more."""
        try:
            position: bytes | None = self._append(
                keys=[self._keys.edges(user_id), self._stream(user_id)],
                args=[ACCOUNT, before, document, self._settings.ingest.state_ttl_s],
            )
        except redis.RedisError as error:
            raise Unavailable(f"the user cannot be stored now, send it again: {first_line(error)}") from error
        return position or b""


def with_account(
    profile: Mapping[str, np.ndarray], edges: Mapping[bytes, bytes], covered: str
) -> Mapping[str, np.ndarray]:
    """The profile, overridden by the account's version after stream position `covered`."""
    raw = edges.get(ACCOUNT, b"")
    if not raw or stream_order(raw.rpartition(b"|")[2].decode()) <= stream_order(covered):
        return profile
    document = _document(raw)
    changed: dict[str, np.ndarray] = {
        "languages": language_codes(known_languages(document["languages"])),
        "is_member": np.array([document["is_member"]], np.uint8),
        "created_at": np.array([micros(datetime.fromisoformat(document["created_at"]))], np.int64),
    }
    return {**profile, **changed}


def _document(raw: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(raw.rpartition(b"|")[0])
    return document
