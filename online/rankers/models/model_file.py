"""A model as one bytes value, named by its SHA-256: arrays and JSON in the layout of the other Redis values.

Loading executes nothing: the bytes are numbers and text, and every index is checked before a tree is walked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from features.errors import BadInput
from features.packing import CorruptValue, Layout, name_of
from features.registry import BY_NAME
from online.rankers.models.model import POSITION, Calibration, Model, OutcomeModel
from online.rankers.models.outcomes import NAMES, WEIGHTS
from online.rankers.models.trees import Forest

_COLUMNS = {"roots": "<i4", "feature": "<i4", "threshold": "<f8", "missing_left": "u1", "left": "<i4"}
_COLUMNS |= {"value": "<f8", "cover": "<f8"}
MODEL = Layout(
    "model",
    2,
    (
        ("about", "u1"),  # JSON, UTF-8
        *(
            (f"{outcome}_{part}", dtype)
            for outcome in NAMES
            for part, dtype in (("baseline", "<f8"), *_COLUMNS.items(), ("knots_x", "<f8"), ("knots_y", "<f8"))
        ),
    ),
)
NAME_CHARS = (32, 64)
"""Names are the SHA-256 in hex, whole or (as Redis blobs are named) its first 128 bits."""


class WrongModel(BadInput):
    """A model that must not be used: other bytes than published, damaged, or made for other features."""


def definitions(features: Iterable[str]) -> dict[str, list[Any]]:
    """Of those that this code knows, what pins a model to them: name → [entity, default]."""
    return {name: [BY_NAME[name].entity, BY_NAME[name].default] for name in features if name in BY_NAME}


def encode(model: Model) -> bytes:
    """The model's bytes; equal models are equal bytes."""
    calibrations = {o.name: [o.calibration.kind, o.calibration.slope] for o in model.outcomes}
    head = {
        "features": definitions(model.inputs),
        "outcomes": NAMES,
        "inputs": model.inputs,
        "weights": model.weights,
        "calibration": calibrations,
        "about": model.about,
    }
    arrays: dict[str, np.ndarray] = {
        "about": np.frombuffer(json.dumps(head, sort_keys=True, allow_nan=False).encode(), np.uint8)
    }
    for outcome in model.outcomes:
        arrays[f"{outcome.name}_baseline"] = np.array([outcome.forest.baseline])
        arrays |= {f"{outcome.name}_{part}": getattr(outcome.forest, part) for part in _COLUMNS}
        arrays[f"{outcome.name}_knots_x"] = outcome.calibration.x
        arrays[f"{outcome.name}_knots_y"] = outcome.calibration.y
    return MODEL.encode(arrays)


def decode(data: bytes, name: str) -> Model:
    """The model called `name`, ready to score. WrongModel when its hash is another, it is damaged, or its features are not this code's."""
    if len(name) not in NAME_CHARS or not name_of(data).startswith(name):
        raise WrongModel(
            f"model {name} has other bytes than were published (SHA-256 {name_of(data)}); publish it again."
        )
    try:
        arrays = MODEL.decode(data)
        head = json.loads(arrays["about"].tobytes())
        _same_features(name, head)
        model = _model(arrays, head)
    except (CorruptValue, ValueError, KeyError, TypeError, IndexError) as error:
        raise WrongModel(f"model {name} is damaged ({error}); train and publish it again.") from error
    model.warm()
    return model


def _model(arrays: dict[str, np.ndarray], head: dict[str, Any]) -> Model:
    if unknown := set(head["inputs"]) - {POSITION, *BY_NAME}:
        raise ValueError(f"its inputs {sorted(unknown)} are no features")
    outcomes = []
    for outcome in NAMES:
        forest = Forest(float(arrays[f"{outcome}_baseline"][0]), *(arrays[f"{outcome}_{part}"] for part in _COLUMNS))
        forest.check(len(head["inputs"]))
        kind, slope = head["calibration"][outcome]
        calibration = Calibration(kind, arrays[f"{outcome}_knots_x"], arrays[f"{outcome}_knots_y"], float(slope))
        if not len(calibration.x) or len(calibration.x) != len(calibration.y):
            raise ValueError(f"the calibration of {outcome} is damaged")
        outcomes.append(OutcomeModel(outcome, forest, calibration))
    weights = {outcome: float(head["weights"][outcome]) for outcome in WEIGHTS}
    return Model(tuple(head["inputs"]), tuple(outcomes), weights, head["about"])


def _same_features(name: str, head: dict[str, Any]) -> None:
    """WrongModel unless what the model reads is what this code computes; features that it does not read do not matter to it."""
    theirs, ours = head["features"], definitions(head["features"])
    if unknown := sorted(theirs.keys() - ours.keys()):
        raise WrongModel(
            f"model {name} was made with other code: it reads {unknown}, which this code does not know; update the code, or train it again."
        )
    if changed := sorted(feature for feature in theirs if theirs[feature] != ours[feature]):
        raise WrongModel(f"model {name} was made with other definitions of {changed}; train it again.")
    if head["outcomes"] != [*NAMES]:
        raise WrongModel(f"model {name} was made for the outcomes {head['outcomes']}, not {[*NAMES]}; train it again.")
