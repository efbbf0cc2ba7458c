"""Delivery under change: random histories against a live service, and proof that they would notice a missing guard.

`make test` takes a thousand steps, `make nightly` ten thousand. The guards of the fan-out and of the archiver have their
own tests: test_timeline_equivalence.py and test_kills.py.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from online.components import Components
from online.ingest.events import Event, EventIntake
from online.rules.served_in_session import ServedInSession
from tests.online.conftest import FeedServer
from tests.online.delivery_machine import DeliveryMachine

STEPS = int(os.environ.get("REX_TEST_STEPS", "1000"))
STEPS_AN_EXAMPLE = 50
"""Long enough for a slate to expire under a pagination session and a snapshot to come; short enough to be understood when it fails."""
STEPS_OF_A_SHORT_EXAMPLE = 50
"""Hypothesis ends a few examples early."""
MOST_SEEDS = 5
"""Hypothesis leaves some rules out of each history, which ones depends on the seed and, through the constants that it takes from
all modules loaded, on the tests that ran before: a thousand steps of one seed may be without a rule that matters."""
WORTH_SEEING = (
    "first page from a slate",
    "first page from a slate with newer stories about",
    "page of a new slate in a running pagination session",
    "pagination session read to its end",
)


@pytest.fixture
def machine(feed_server: FeedServer) -> type[DeliveryMachine]:
    return type("Running", (DeliveryMachine,), {"server": feed_server, "steps": 0, "met": Counter(), "failures": []})


def histories(steps: int, phases: tuple[Phase, ...] = tuple(Phase)) -> settings:
    return settings(
        max_examples=-(-steps // STEPS_OF_A_SHORT_EXAMPLE),
        stateful_step_count=STEPS_AN_EXAMPLE,
        deadline=None,
        phases=phases,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(3600)
def test_no_duplicate_no_gap_and_nothing_unsuitable_whatever_happens(machine: type[DeliveryMachine]) -> None:
    def rare() -> set[str]:
        return {what for what in WORTH_SEEING if machine.met[what] < 10}

    for number in range(MOST_SEEDS):
        run_state_machine_as_test(seed(number)(machine), settings=histories(STEPS))
        if machine.steps >= STEPS and not rare():
            break
    print(f"{machine.steps} steps: {dict(machine.met)}")
    assert machine.steps >= STEPS, f"only {machine.steps} steps were taken"
    assert not rare(), f"the histories were worth little: {dict(machine.met)}"


def without_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Components, "validators", ())


def without_session_exclusion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServedInSession, "drops", lambda rule, ctx, candidates: None)


def without_event_dedupe(monkeypatch: pytest.MonkeyPatch) -> None:
    keys_of, fresh = EventIntake._keys_of, count()

    def never_seen(intake: EventIntake, event: Event) -> list[str]:
        seen, *others = keys_of(intake, event)
        return [f"{seen}:{next(fresh)}", *others]

    monkeypatch.setattr(EventIntake, "_keys_of", never_seen)


@pytest.mark.parametrize(
    ("switch_off", "noticed"),
    [
        (without_validation, "was shown"),
        (without_session_exclusion, "shown twice in one pagination session"),
        (without_event_dedupe, "sent again was applied again"),
    ],
)
def test_with_a_guard_switched_off_the_histories_fail(
    machine: type[DeliveryMachine],
    monkeypatch: pytest.MonkeyPatch,
    switch_off: Callable[[pytest.MonkeyPatch], None],
    noticed: str,
) -> None:
    switch_off(monkeypatch)
    for number in range(MOST_SEEDS):
        # A history is played again when it fails; threads of a live service may then be a little faster or slower.
        with suppress(AssertionError, Flaky):
            run_state_machine_as_test(seed(number)(machine), settings=histories(STEPS, phases=(Phase.generate,)))
        if machine.failures:
            break
    assert any(noticed in failure for failure in machine.failures), machine.failures
