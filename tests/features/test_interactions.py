"""An interaction is declared in one place, and everything that concerns it follows from there."""

from __future__ import annotations

import dataclasses

import pytest

from evaluation.reading_log import SAYS_READ, STRENGTHS
from features import interactions
from features.choices import CHOICES, HELD, REFUSALS
from features.interactions import (
    COUNTERS,
    EVENT_TYPES,
    INTERACTIONS,
    LABELS,
    LIKING,
    ONLINE_CODES,
    OUTCOMES,
    REVERSIBLE,
    Interaction,
)
from features.raw_datasets import EVENTS
from features.snapshot import PROFILE
from online.ingest.events import Event


def test_names_codes_and_counters_are_each_used_once() -> None:
    for values in (
        EVENT_TYPES,
        tuple(ONLINE_CODES.values()),
        tuple(one.counter for one in INTERACTIONS if one.counter),
    ):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("one", INTERACTIONS, ids=lambda one: one.name)
def test_a_declaration_names_only_what_there_is(one: Interaction) -> None:
    assert one.outcome in {"", *(outcome.name for outcome in OUTCOMES)}
    assert not one.amount or one.amount in EVENTS.names
    assert bool(one.undo) == bool(one.held), "what can be taken back is held by a profile"
    assert not one.counter or one.counter in COUNTERS


def test_whatever_is_liked_was_opened_and_nothing_else_was() -> None:
    opened = {one.name for one in INTERACTIONS if one.name == "open" or "open" in one.implies}
    assert opened == set(LIKING) == set(LABELS["open"])


def test_an_interaction_counts_for_its_outcome_and_for_those_of_what_it_implies() -> None:
    assert LABELS["read"] == ("read",), "a clap or a save says that a story was opened, not that it was read"
    assert {"clap", "save", "share"} <= set(LABELS["positive_feedback"])
    assert LABELS["negative_feedback"] == ("hide", "report")


def test_what_can_be_taken_back_is_a_refusal_with_a_list_in_the_profile() -> None:
    assert [one.name for one in REVERSIBLE] == ["hide", "report"]
    for one in REVERSIBLE:
        assert CHOICES[one.name] == (one.name, "add")
        assert CHOICES[one.undo] == (one.name, "remove")
        assert one.name in REFUSALS
        assert HELD[one.name, "story"] == one.held
        assert {one.held, f"{one.held}_at"} <= {name for name, _ in PROFILE.fields}


def test_the_meaning_of_an_outcome_says_what_users_did() -> None:
    assert {one.name: one.meaning for one in OUTCOMES}["negative_feedback"] == "hid it or reported it"


def test_a_declaration_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        interactions.INTERACTIONS[0].strength = 1.0  # type: ignore[misc]


def test_one_declaration_makes_a_comment_known_everywhere() -> None:
    """Validation of raw events and of HTTP, affinities and ALS, labels, evaluation: none of them names it."""
    assert "'comment'" in next(check.sql for check in EVENTS.checks if check.name == "unknown_type")
    sent = {"event_id": "e", "user_id": "u", "story_id": "s", "type": "comment", "occurred_at": "2026-01-31T12:00:00Z"}
    assert Event.model_validate(sent).type == "comment"
    assert "comment" in LIKING
    assert "comment" in LABELS["positive_feedback"]
    assert "comment" in LABELS["open"]
    assert "comment" in SAYS_READ
    assert STRENGTHS["comment"] == 4.0, "of DeskDrop's own notebook"
