"""Settings of learning. Each field can be set as an environment variable `REX_LEARNING_<NAME>`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from features.settings import CheckedSettings


class LearningSettings(CheckedSettings):
    """What training may be tuned by. Checked at start; a bad value stops the program with its name and bound."""

    model_config = SettingsConfigDict(env_prefix="REX_LEARNING_", extra="ignore", frozen=True)

    fit_budget_s: float = Field(default=240.0, gt=0, le=86_400)
    """Seconds for choosing the size of the models, over all outcomes. The first choice of each is always tried; a nightly job has minutes."""
    cadence_d: float = Field(default=7.0, ge=0, le=3650)
    """Days after which the daily run trains again: a week has every weekday, and features change faster than their meaning. 0: every run."""
