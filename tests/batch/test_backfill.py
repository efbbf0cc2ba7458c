"""What training looks back on is made up for once, with as few fits as the cadence allows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from batch.backfill import Part, missing, not_validated
from batch.graph import BY_NAME
from batch.schedule import REFITTED, fits_wanted, latest_fit, schedule_of
from batch.settings import BatchSettings
from tests.batch.feature_lake import write_dataset
from tests.lakes import event

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
SETTINGS = BatchSettings(training_days=5, training_refit_d=3)
DAY = timedelta(days=1)


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def lake_with_events(lake: Path, first: datetime) -> Path:
    seen = event("u", "read", "s", first, event_id="e", valid_from=first, received_at=first)
    write_dataset(lake, "valid_events", [seen], AS_OF)
    return lake


def written(lake: Path, names: Sequence[str], at: datetime) -> None:
    for name in names:
        write_dataset(lake, name, [], at)


def of(parts: list[Part], job: str) -> tuple[datetime, ...]:
    return next((part.as_ofs for part in parts if job in part.jobs), ())


def test_the_schedule_ends_where_outcomes_can_be_known() -> None:
    # Shown an hour after the 29th at the earliest, a day for outcomes: the 30th, 1:00. From the 30th on it is the 31st, 1:00.
    assert schedule_of(AS_OF, SETTINGS) == tuple(day(n) for n in range(25, 30))
    assert schedule_of(AS_OF + timedelta(hours=1), SETTINGS)[-1] == day(30)


def test_all_moments_are_in_one_pass_and_fits_at_their_cadence(tmp_path: Path) -> None:
    parts = missing(lake_with_events(tmp_path, day(1)), AS_OF, SETTINGS, daily=False)
    assert of(parts, "story_features") == tuple(day(n) for n in range(25, 30))
    assert [of(parts, name) for name in REFITTED] == [(day(25), day(28))] * 2
    assert of(parts, "top_stories") == of(parts, "story_features"), "all that a snapshot is made of"


def test_a_daily_run_shares_the_pass(tmp_path: Path) -> None:
    parts = missing(lake_with_events(tmp_path, day(1)), AS_OF, SETTINGS, daily=True)
    assert of(parts, "story_features") == (*(day(n) for n in range(25, 30)), AS_OF)
    assert of(parts, "als_vectors") == (day(25), day(28), AS_OF)
    assert of(parts, "top_stories") == of(parts, "story_features")


def test_what_daily_runs_left_is_not_made_again(tmp_path: Path) -> None:
    lake = lake_with_events(tmp_path, day(1))
    everything = [job for part in missing(lake, AS_OF, SETTINGS, daily=False) for job in part.jobs]
    for n in range(25, 29):
        written(lake, everything, day(n))
    parts = missing(lake, AS_OF, SETTINGS, daily=False)
    assert {part.as_ofs for part in parts} == {(day(29),)}
    assert not {*REFITTED} & {job for part in parts for job in part.jobs}, "the fit of the day before serves"


def test_moments_before_anything_happened_are_not_computed(tmp_path: Path) -> None:
    parts = missing(lake_with_events(tmp_path, day(28) + timedelta(hours=5)), AS_OF, SETTINGS, daily=False)
    assert of(parts, "story_features") == (day(28), day(29))


def test_every_job_comes_after_what_it_reads(tmp_path: Path) -> None:
    parts = missing(lake_with_events(tmp_path, day(1)), AS_OF, SETTINGS, daily=True)
    ran = [job for part in parts for job in part.jobs]
    for place, job in enumerate(ran):
        reads = [name for name in BY_NAME[job].reads if name in BY_NAME and not BY_NAME[name].validates]
        assert set(reads) <= set(ran[:place]), job


def test_only_what_was_not_validated_is(tmp_path: Path) -> None:
    lake = lake_with_events(tmp_path, day(1))
    [part] = not_validated(lake, AS_OF, daily=False)
    assert "valid_events" not in part.jobs
    assert "valid_stories" in part.jobs


moments = st.sets(st.integers(0, 60), min_size=1)


@given(moments, st.sets(st.integers(0, 60)), st.integers(1, 20))
def test_every_moment_has_a_young_fit_and_no_fit_is_for_nothing(ms: set[int], there: set[int], cadence: int) -> None:
    at = [day(1) + DAY * n for n in ms]
    old = [day(1) + DAY * n for n in there]
    new = fits_wanted(at, old, DAY * cadence)
    assert all(latest_fit([*old, *new], moment, DAY * cadence) is not None for moment in at)
    for fit in new:
        without = [other for other in (*old, *new) if other != fit]
        assert any(latest_fit(without, moment, DAY * cadence) is None for moment in at)
