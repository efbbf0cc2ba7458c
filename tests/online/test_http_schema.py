"""The schema at /docs and /openapi.json: whole enough to make clients from, its examples are sent, its forms are answered."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from online.http import examples as api_examples
from online.http import schemas as api_models
from online.http.app import create_app
from online.http.problems import PROBLEMS
from online.ingest.events import TYPES, Event
from online.ingest.stories import Story
from online.ingest.users import Account
from online.service_settings import OnlineSettings
from tests.online.conftest import STORIES, USERS, FeedServer

FORMS: list[type[BaseModel]] = [
    *(kind for kind in vars(api_models).values() if isinstance(kind, type) and issubclass(kind, api_models.Form)),
    Event,
    Story,
    Account,
]
EVERYWHERE = {"method_not_allowed", "origin_not_allowed", "internal_error"}
"""Kinds of problems that no call documents, because any may be answered so."""
EXAMPLES = [(form, example) for form in FORMS for example in (form.model_json_schema().get("examples") or ())]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document: dict[str, Any] = create_app(online=OnlineSettings()).openapi()
    return document


def calls(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [call for path in schema["paths"].values() for call in path.values()]


@pytest.mark.parametrize(("form", "example"), EXAMPLES, ids=[form.__name__ for form, _ in EXAMPLES])
def test_an_example_has_the_form_that_it_is_of(form: type[BaseModel], example: Any) -> None:
    """Of the answers every field must be there and no other; what is sent may leave out what has a default."""
    read_back = form.model_validate(example)
    assert read_back.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False) == example


class TestSchema:
    def test_every_json_body_and_answer_has_a_form_of_its_own(self, schema: dict[str, Any]) -> None:
        for call in calls(schema):
            bodies = [call["requestBody"]] if "requestBody" in call else []
            for body in [*bodies, *call["responses"].values()]:
                for media, content in body["content"].items():
                    assert "$ref" in content["schema"] or media == "text/plain", (call["operationId"], content)

    def test_what_is_sent_and_answered_has_examples(self, schema: dict[str, Any]) -> None:
        for call in calls(schema):
            answer = next(iter(call["responses"].values()))
            for body in [answer, *([call["requestBody"]] if "requestBody" in call else [])]:
                for media, content in body["content"].items():
                    if media != "text/plain":
                        name = content["schema"]["$ref"].rpartition("/")[2]
                        assert schema["components"]["schemas"][name]["examples"], name

    def test_an_event_tells_its_types_and_fields(self, schema: dict[str, Any]) -> None:
        forms = schema["components"]["schemas"]
        assert forms["EventsBatch"]["properties"]["events"]["items"] == {"$ref": "#/components/schemas/Event"}
        assert set(forms["Event"]["properties"]["type"]["enum"]) == set(TYPES)
        assert forms["Event"]["required"] == ["event_id", "user_id", "type", "occurred_at"]

    def test_every_problem_is_told_as_what_it_is(self, schema: dict[str, Any]) -> None:
        for call in calls(schema):
            for status, answer in call["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"]
                    assert int(status) in {kind.status for kind in PROBLEMS}
        assert set(schema["components"]["schemas"]["Problem"]["properties"]) >= {"type", "status", "errors"}

    def test_every_example_in_it_has_the_form_it_stands_beside(self, schema: dict[str, Any]) -> None:
        forms = schema["components"]["schemas"]
        checked = 0
        for call in calls(schema):
            for answer in call["responses"].values():
                for content in answer["content"].values():
                    form = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
                    own = [example["value"] for example in content.get("examples", {}).values()]
                    for example in own or forms.get(form, {}).get("examples", ()):
                        model: type[BaseModel] = getattr(api_models, form)
                        model.model_validate(example)
                        assert set(forms[form].get("required", ())) <= set(example), form
                        checked += 1
        assert checked > 50
        kinds = {
            name
            for call in calls(schema)
            for answer in call["responses"].values()
            for content in answer["content"].values()
            for name in content.get("examples", {})
        }
        assert kinds == {kind.name for kind in PROBLEMS} - EVERYWHERE, "each kind of problem shows its own example"

    def test_calls_have_names_that_make_good_functions(self, schema: dict[str, Any]) -> None:
        names = [call["operationId"] for call in calls(schema)]
        assert len(names) == len(set(names))
        assert [name for name in names if not re.fullmatch(r"(get|list|explain|send|put|withdraw)_[a-z]+", name)] == []


class TestAnswers:
    def test_they_have_the_documented_forms(self, served: FeedServer) -> None:
        for path, form in (
            ("/v1/users/u-fan/feed", api_models.Feed),
            ("/v1/users/u-fan", api_models.KnownUser),
            ("/v1/users/u-nobody", api_models.KnownUser),
            ("/v1/users/u-fan/feed/explain?story_id=s01", api_models.Explanation),
            ("/v1/snapshots", api_models.Snapshots),
            ("/healthz", api_models.Health),
            ("/readyz", api_models.Readiness),
            ("/v1/users/u-fan/feed?limit=0", api_models.Problem),
            ("/v1/nowhere", api_models.Problem),
        ):
            told = served.http.get(path).json()
            assert form.model_validate(told).model_dump(mode="json", by_alias=True, exclude_unset=True) == told

    def test_the_examples_of_what_is_sent_are_accepted(self, feed_server: FeedServer) -> None:
        feed_server.publish(STORIES, USERS)
        story = feed_server.http.put("/v1/stories/s-1", json=api_examples.STORY)
        user = feed_server.http.put("/v1/users/u-1", json=api_examples.ACCOUNT)
        feed_server.now += timedelta(seconds=1)
        for answer, form in ((story, api_models.StoryReceipt), (user, api_models.UserReceipt)):
            assert answer.status_code == 202, answer.text
            assert form.model_validate(answer.json()).model_dump() == answer.json()
        assert "s-1" in feed_server.stories("u-1")
        assert feed_server.send(*api_examples.EVENTS)["accepted"] == len(api_examples.EVENTS)
        refused = feed_server.send({"type": "read"})
        assert api_models.EventsReceipt.model_validate(refused).model_dump(mode="json") == refused
        told = feed_server.http.get("/v1/users/u-1").json()
        expected = api_examples.USER | {"profile_age_s": told["profile_age_s"], "snapshot": told["snapshot"]}
        assert told == expected | {"follows": {"author": ["a-1"], "publication": [], "topic": []}}
