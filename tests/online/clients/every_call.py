"""Makes every call with the client that openapi-python-client made: `python every_call.py URL`; prints the calls made."""

from __future__ import annotations

import datetime
import sys

from rex_client import Client, models
from rex_client.api.events import send_events
from rex_client.api.feed import explain_feed, get_feed
from rex_client.api.operation import get_health, get_metrics, get_readiness, list_snapshots
from rex_client.api.people import get_user, put_user
from rex_client.api.stories import put_story, withdraw_story

USER, STORY = "u/made", "https://example.org/made?1"

with Client(base_url=sys.argv[1], raise_on_unexpected_status=True) as client:
    now = get_readiness.sync(client=client) and datetime.datetime.fromisoformat(sys.argv[2])
    story = models.Story(published_at=now, author_id="a/made", topics=["t"], language="en", visibility=None)
    put = put_story.sync(STORY, client=client, body=story)
    assert isinstance(put, models.StoryReceipt), put
    account = put_user.sync(USER, client=client, body=models.Account(languages=["en"], is_member=True))
    assert isinstance(account, models.UserReceipt), account
    follow = models.Event(
        event_id="e1",
        user_id=USER,
        type_=models.EventType.FOLLOW,
        occurred_at=now,
        target_type=models.EventTargetTypeType0.AUTHOR,
        target_id="a/made",
    )
    receipt = send_events.sync(client=client, body=models.EventsBatch(events=[follow]))
    assert isinstance(receipt, models.EventsReceipt), receipt
    assert (receipt.accepted, receipt.rejected) == (1, []), receipt
    page = get_feed.sync(USER, client=client, limit=5)
    assert isinstance(page, models.Feed), page
    assert page.items[0].story_id == STORY, page
    following = get_feed.sync(USER, client=client, cursor=str(page.next_cursor))
    assert isinstance(following, models.Feed), following
    why = explain_feed.sync(USER, client=client, story_id=STORY)
    assert isinstance(why, models.Explanation), why
    assert isinstance(why.story, models.StoryPath), why
    assert why.story.known, why
    user = get_user.sync(USER, client=client)
    assert isinstance(user, models.User), user
    assert (user.follows.author, user.languages, user.is_member) == (["a/made"], ["en"], True), user
    listed = list_snapshots.sync(client=client)
    assert isinstance(listed, models.Snapshots), listed
    assert listed.snapshots[0].current, listed
    assert isinstance(get_health.sync(client=client), models.Health)
    metrics = get_metrics.sync(client=client)
    assert isinstance(metrics, str), metrics
    assert "rex_pages_total" in metrics
    gone = withdraw_story.sync(STORY, client=client)
    assert isinstance(gone, models.StoryReceipt), gone
    unknown = withdraw_story.sync("never-seen", client=client)
    assert isinstance(unknown, models.Problem), unknown
    refused = get_feed.sync(USER, client=client, limit=500)
    assert isinstance(refused, models.Problem), refused
    assert refused.errors, refused
    assert refused.errors[0].where == "query.limit", refused

print(
    "explain_feed get_feed get_health get_metrics get_readiness get_user list_snapshots put_story put_user"
    " send_events withdraw_story"
)
