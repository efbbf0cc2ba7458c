"""Settings that batch and online share. Each field can be set as an environment variable `REX_<NAME>`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from features.errors import BadInput
from features.null_spellings import ids_like_null


class Settings(BaseSettings):
    """Where things are. Checked at start; a bad value stops the program with its name and bound."""

    model_config = SettingsConfigDict(env_prefix="REX_", extra="ignore", frozen=True)

    models: Path | None = None
    """Folder of further models for `rex serve models`, files `NAME@SHA256.rexmodel`; it serves those of kept snapshots anyway."""
    var: Path = Path("var")
    """Everything that Rex writes on this machine and may lose: the demo's lake, Redis' files, keys, results."""
    lake: Path = Path("var/lake")
    """Root of the lake: `raw/`, `features/`, `quarantine/`."""
    redis_url: str = ""
    """`redis://…` or `unix://…`; empty: start the bundled server on a private socket under `var`."""
    redis_prefix: str = Field(default="rex:", min_length=1, max_length=64)
    """Put before every key, so that several Rexes can share one Redis."""
    redis_timeout_s: float = Field(default=2.0, gt=0, le=60)
    """Longest wait for one answer of Redis before the request fails; batch publishing uses ten times this."""
    redis_may_evict: bool = False
    """Use a Redis with a memory limit and a policy other than noeviction anyway; /readyz warns about it."""
    ids_like_null: Annotated[tuple[str, ...], NoDecode] = ()
    """Of what tools write where there is nothing (`NA`, `None`, `null` …), the spellings that are ids at this site, between commas:
    `NA,None`. Imports, `rex check`, the batch and the API take these for ids, and refuse the others."""
    snapshots_kept: int = Field(default=3, ge=1, le=100)
    """Snapshots kept in Redis for rollback, the current one included."""

    @field_validator("ids_like_null", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        try:
            return ids_like_null(text) if isinstance(text, str) else text
        except BadInput as error:
            raise ValueError(str(error)) from error
