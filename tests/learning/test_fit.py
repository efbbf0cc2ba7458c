"""Fitting: the same bytes each time, later days for choosing and calibrating, rates where nothing can be learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.examples import cut, examples_of
from learning.fit import SCHEDULE, Choice, fit
from online.rankers.models.model import POSITION
from online.rankers.models.model_file import encode
from tests.learning.conftest import SMALL, Made
from tests.learning.made import examples_table


def _never() -> float:
    return 0.0


def test_the_same_examples_give_the_same_bytes(made: Made) -> None:
    again = examples_of(examples_table())
    assert encode(fit(again, cut(again), _never, schedule=SMALL)) == made.data


def test_held_out_days_leave_no_trace(made: Made) -> None:
    examples, held = made.examples, made.slices.held_out
    x, labels = examples.x.copy(), {name: label.copy() for name, label in examples.labels.items()}
    x[held] = 9.0
    for label in labels.values():
        label[held] = ~label[held]
    spoiled = replace(examples, x=x, labels=labels)
    assert encode(fit(spoiled, made.slices, _never, schedule=SMALL)) == made.data


def test_when_time_is_up_no_further_choice_is_tried(made: Made) -> None:
    ticks = iter(range(1_000_000))
    model = fit(made.examples, made.slices, lambda: float(next(ticks)), budget_s=0.0, schedule=(*SMALL, *SCHEDULE))
    assert all(len(about["tried"]) == 1 for about in model.about["outcomes"].values())


def test_the_choice_with_the_least_validation_loss_is_taken(made: Made) -> None:
    hasty = Choice(5.0, 6, 20)  # far too fast: worse after every tree
    about = fit(made.examples, made.slices, _never, schedule=(hasty, *SMALL)).about["outcomes"]["open"]
    assert about["learning_rate"] == SMALL[0].learning_rate
    assert [t["learning_rate"] for t in about["tried"]] == [5.0, 0.2]


def test_an_outcome_with_too_few_positives_gets_its_rate_and_a_note(made: Made) -> None:
    none = np.zeros(len(made.examples), bool)
    examples = replace(made.examples, labels={**made.examples.labels, "negative_feedback": none})
    model = fit(examples, made.slices, _never, schedule=SMALL)
    probability = model.probabilities(examples.x[:5])["negative_feedback"]
    seen = made.slices.calibration.stop
    assert probability == pytest.approx(0.5 / (seen + 1))
    assert any(note.startswith("negative_feedback has 0 rows") for note in model.about["notes"])


def test_probabilities_on_held_out_days_are_near_what_happened(made: Made) -> None:
    held = made.examples.part(made.slices.held_out)
    said = made.fitted.probabilities(held.x)
    for name in ("open", "read", "negative_feedback"):
        # Some 900 rows: three standard errors of a rate of one in four.
        assert said[name].mean() == pytest.approx(held.labels[name].mean(), abs=0.045), name


def test_position_is_zero_when_scoring(made: Made) -> None:
    n = len(made.examples)
    columns = {name: made.examples.column(name) for name in made.fitted.features}
    x = made.fitted.matrix(columns, n)
    assert (x[:, made.fitted.inputs.index(POSITION)] == 0).all()
    assert POSITION not in made.fitted.features
