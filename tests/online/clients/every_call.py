"""Makes every call with the client that openapi-python-client made: `python every_call.py URL NOW`; prints the names of the
calls as they were made."""

from __future__ import annotations

import datetime
import sys
from types import ModuleType

from rex_client import Client, models
from rex_client.api.events import send_events
from rex_client.api.feed import explain_feed, get_feed
from rex_client.api.operation import get_health, get_metrics, get_readiness, list_snapshots
from rex_client.api.stories import put_story, withdraw_story
from rex_client.api.users import get_user, put_user

USER, STORY = "u/made", "https://example.org/made?1"

now = datetime.datetime.fromisoformat(sys.argv[2])
made = set()

with Client(base_url=sys.argv[1], raise_on_unexpected_status=True) as client:

    def call(operation: ModuleType, *arguments: object, **more: object) -> object:
        made.add(operation.__name__.rpartition(".")[2])
        return operation.sync(*arguments, client=client, **more)

    assert isinstance(call(get_readiness), models.Readiness)
    story = models.Story(published_at=now, author_id="a/made", topics=["t"], language="en", visibility=None)
    put = call(put_story, STORY, body=story)
    assert isinstance(put, models.StoryReceipt), put
    account = call(put_user, USER, body=models.Account(languages=["en"], is_member=True))
    assert isinstance(account, models.UserReceipt), account
    follow = models.Event(
        event_id="e1",
        user_id=USER,
        type_=models.EventType.FOLLOW,
        occurred_at=now,
        target_type=models.EventTargetTypeType0.AUTHOR,
        target_id="a/made",
    )
    receipt = call(send_events, body=models.EventsBatch(events=[follow]))
    assert isinstance(receipt, models.EventsReceipt), receipt
    assert (receipt.accepted, receipt.rejected) == (1, []), receipt
    page = call(get_feed, USER, limit=5)
    assert isinstance(page, models.Feed), page
    assert page.items[0].story_id == STORY, page
    following = call(get_feed, USER, cursor=str(page.next_cursor))
    assert isinstance(following, models.Feed), following
    why = call(explain_feed, USER, story_id=STORY)
    assert isinstance(why, models.Explanation), why
    assert isinstance(why.story, models.StoryPath), why
    assert why.story.known, why
    user = call(get_user, USER)
    assert isinstance(user, models.KnownUser), user
    assert (user.follows.author, user.languages, user.is_member) == (["a/made"], ["en"], True), user
    listed = call(list_snapshots)
    assert isinstance(listed, models.Snapshots), listed
    assert listed.snapshots[0].current, listed
    assert isinstance(call(get_health), models.Health)
    metrics = call(get_metrics)
    assert isinstance(metrics, str), metrics
    assert "rex_pages_total" in metrics
    gone = call(withdraw_story, STORY)
    assert isinstance(gone, models.StoryReceipt), gone
    unknown = call(withdraw_story, "never-seen")
    assert isinstance(unknown, models.Problem), unknown
    refused = call(get_feed, USER, limit=500)
    assert isinstance(refused, models.Problem), refused
    assert refused.errors, refused
    assert refused.errors[0].where == "query.limit", refused

print(" ".join(sorted(made)))
