"""Settings that batch and online share. Each field can be set as an environment variable `REX_<NAME>`."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from features.errors import BadInput
from features.null_spellings import ids_like_null


class EnvironmentSettings(BaseSettings):
    """What can be set as environment variables under one prefix, and under the names of groups below it."""

    @classmethod
    def variables(cls) -> set[str]:
        """The names of all of them."""
        groups = {name: field.default for name, field in cls.model_fields.items()}
        names = {f"{name}_{one.name}" for name, group in groups.items() if is_dataclass(group) for one in fields(group)}
        names |= {name for name, group in groups.items() if not is_dataclass(group)}
        return {f"{cls.model_config.get('env_prefix', '')}{name}".upper() for name in names}


class CheckedSettings(EnvironmentSettings):
    """Settings whose prefix nobody else uses: a variable that begins with it and is none of them is refused with BadInput."""

    @model_validator(mode="after")
    def _variables_are_known(self) -> Self:
        prefix, known = self.model_config.get("env_prefix", ""), self.variables()
        if unknown := sorted(
            name for name in os.environ if name.upper().startswith(prefix) and name.upper() not in known
        ):
            which = f"{unknown[0]} is not a setting" if len(unknown) == 1 else f"{', '.join(unknown)} are not settings"
            raise BadInput(f"{which}; docs/settings.md lists all of them, CHANGELOG.md the renamed ones.")
        return self


def variable_of(kind: str, place: tuple[int | str, ...]) -> str | None:
    """The environment variable behind the `place` of an error of pydantic in the settings class named `kind`.

    `REX_ONLINE_RANK_*` for an error of a whole group; None for other classes, and for an error of no one setting.
    """
    kinds, names = [EnvironmentSettings], [str(part) for part in place]
    for one in kinds:
        kinds += one.__subclasses__()
    for one in kinds:
        if one.__name__ == kind and names:
            prefix, known = one.model_config.get("env_prefix", ""), one.variables()
            candidates = (f"{prefix}{'_'.join(names[:length])}".upper() for length in (1, 2))
            return next((name for name in candidates if name in known), f"{prefix}{names[0]}_*".upper())
    return None


class Settings(EnvironmentSettings):
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
