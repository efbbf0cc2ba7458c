"""Settings of the batch. Each field can be set as an environment variable `REX_BATCH_<NAME>`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from features.settings import CheckedSettings


class BatchSettings(CheckedSettings):
    """What the jobs may be tuned by. Checked at start; a bad value stops the program with its name and bound."""

    model_config = SettingsConfigDict(env_prefix="REX_BATCH_", extra="ignore", frozen=True)

    story_half_life_d: float = Field(default=3.0, gt=0, le=3650)
    """Days in which an event counts half in decayed counters and rates; stories live for days."""
    trending_half_life_h: float = Field(default=12.0, gt=0, le=8760)
    """Hours in which a read counts half in `top_stories`; half a day follows the daily rhythm without jumping with it."""
    affinity_half_life_d: float = Field(default=30.0, gt=0, le=3650)
    """Days in which an event counts half in affinities; interests change over weeks."""

    global_strength: float = Field(default=100.0, gt=0, le=1e9)
    """Events that the registry's default rate is worth against the lake's own; matters only in a nearly empty lake."""
    entity_strength: float = Field(default=20.0, gt=0, le=1e9)
    """Events that the global rate is worth against an author's, a publication's or a topic's own."""
    story_strength: float = Field(default=10.0, gt=0, le=1e9)
    """Events that the author's rate is worth against a story's own."""
    affinity_strength: float = Field(default=3.0, gt=0, le=1e9)
    """Kappa of the affinity: three whole reads take it halfway to certainty."""
    affinity_floor: float = Field(default=0.01, ge=0, lt=1)
    """Affinities nearer to 0 than this are not written; absent means 0."""
    similarity_strength: float = Field(default=2.0, ge=0, le=1e9)
    """Common users at which a cosine counts half, so that one user in common is no proof."""

    als_rank: int = Field(default=32, ge=1, le=512)
    """Length of the vectors."""
    als_regularisation: float = Field(default=0.1, gt=0, le=1e6)
    """ALS-WR lambda: scaled by each row's number of events."""
    als_alpha: float = Field(default=10.0, gt=0, le=1e6)
    """Confidence of an engagement of strength r: 1 + alpha * r."""
    als_iterations: int = Field(default=8, ge=1, le=100)
    """Alternations; the implicit objective is flat after eight."""
    als_blocks: int = Field(default=2, ge=1, le=1024)
    """Blocks of users and of stories, fixed, because the order of sums inside ALS depends on it."""
    als_min_stories: int = Field(default=2, ge=1, le=1000)
    """Different stories a user must have engaged with to get a vector."""
    als_min_users: int = Field(default=2, ge=1, le=1000)
    """Different users who must have engaged with a story for it to get a vector."""

    tuning_cadence_d: float = Field(default=0.0, ge=0, le=3660)
    """Days after which the daily run chooses constants again; 0: never. Look at what `rex tune` chose before you leave it to a schedule."""
    tuning_budget_s: float = Field(default=120.0, ge=0, le=86_400)
    """Seconds for trying; a fit of a small lake takes a few, of a million reads tens."""

    training_schedule_h: int = Field(default=24, ge=1, le=8760)
    """Hours between the as_ofs whose features train a model, counted from 1970: 24 are UTC midnights, as the batch runs daily."""
    training_lag_min: int = Field(default=60, ge=0, le=100_000)
    """Minutes from an as_of to the moment from which all servers have its snapshot: batch and publishing take less than an hour."""
    training_window_h: int = Field(default=24, ge=1, le=8760)
    """Hours after an impression in which its outcomes count; nearly all come within the session, a day leaves room to come back."""
    training_days: int = Field(default=30, ge=1, le=3660)
    """Days of examples that a model learns from; older ones are about other stories and other users."""
    training_refit_d: int = Field(default=7, ge=1, le=3660)
    """Days for which one fit of vectors and neighbours serves the schedule. Daily runs leave one a day; where they are missing, fits cost most."""
    training_rows: int = Field(default=1_000_000, ge=1000, le=100_000_000)
    """Examples at most; of more, a part of the requests is taken, whole. A million fills trees of this size and fits into a gigabyte."""
    training_negatives: int = Field(default=4, ge=2, le=1000, multiple_of=2)
    """Stories not read that stand against each read in a lake without impressions; half of the draws are of the newest stories."""

    spark_master: str = Field(default="local[2]", min_length=1)
    """Where Spark runs: `local[2]`, `local[*]`, or the URL of a cluster."""
    shuffle_partitions: int = Field(default=4, ge=1, le=100_000)
    """Partitions of a shuffle; 4 keeps two cores busy, a cluster wants two or three per core."""
    driver_memory: str = Field(default="4g", pattern=r"^[1-9][0-9]*[mg]$")
    """Memory of Spark's driver, which in local mode does all the work."""
