"""Random readers and publishers against a live service; every page is held against the model.

No page repeats a story of its pagination session; none shows what the user may not see at that moment; a session that has come to its
end has shown everything that was suitable from its slate's building on. Every answer must reflect every story change that
was acknowledged before the request: it tells the stream position that it reflects, so nothing here waits for time to pass.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from features.choices import HELD
from features.errors import BadInput
from features.streams import START, stream_order
from features.times import micros
from tests.online.conftest import FeedServer
from tests.online.delivery_model import PaginationSession, Reader, Site, SlateSeen, Story, document
from tests.online.small_world import NOW

USERS = ("u-ann", "u-bob", "u-cay")
AUTHORS = tuple(f"a{i}" for i in range(5))
PUBLICATIONS = ("p0", "p1")
TOPICS = ("t0", "t1", "t2")
AT_FIRST = 30
"""Stories of the first snapshot: several pages, few enough to be read to the end."""
UNDO = {"follow": "unfollow", "mute": "unmute", "block": "unblock"}

users = st.sampled_from(USERS)
picks = st.integers(0, 10_000)
"""Chooses among what is there at that moment."""
targets = st.one_of(
    st.tuples(st.just("author"), st.sampled_from((*AUTHORS, "a-new"))),
    st.tuples(st.just("publication"), st.sampled_from(PUBLICATIONS)),
    st.tuples(st.just("topic"), st.sampled_from(TOPICS)),
)


class DeliveryMachine(RuleBasedStateMachine):
    """One example: a fresh Redis, a snapshot, and then whatever Hypothesis thinks of.

    Which rules may come next never depends on what the service answered: Hypothesis plays parts of histories again and
    has to be able to draw the same, though threads of a live service may have been a little faster or slower.
    """

    server: ClassVar[FeedServer]
    steps: ClassVar[int] = 0
    met: ClassVar[Counter[str]]
    """What came about, so that a test can tell that its histories were worth anything."""
    failures: ClassVar[list[str]]
    """What was found wrong, kept because Hypothesis tells only what it finds again when it plays a history again."""

    @initialize()
    def open_the_site(self) -> None:
        self.server.client.flushall()
        self.server.now = NOW
        self.site = Site(NOW, readers={user: Reader() for user in USERS})
        self.sent: list[dict[str, Any]] = []
        self.made = 0
        self.snapshots_hold_changes = False
        self.story_position = START
        for i in range(AT_FIRST):
            self._remember(i, AUTHORS[i % 5], TOPICS[i % 3 : i % 3 + 1], "public", minutes_ago=60 * i + 60)
        self.first_stories = self._as_snapshot()
        self.server.publish(self.first_stories)

    def teardown(self) -> None:
        if isinstance(error := sys.exception(), AssertionError):
            self.failures.append(str(error))

    # Publishers.

    @rule(pick=picks, author=st.sampled_from((*AUTHORS, "a-new")), back_min=st.sampled_from([0, 0, 0, 45, 500]))
    def publish(self, pick: int, author: str, back_min: int) -> None:
        self._step()
        visibility = ("public", "public", "public", "followers", "unlisted")[pick % 5]
        story = self._remember(pick, author, (TOPICS[pick % 3],), visibility, minutes_ago=back_min)
        self._put(story)

    @rule(pick=picks, author=st.sampled_from(AUTHORS), topic=st.sampled_from(TOPICS))
    def change(self, pick: int, author: str, topic: str) -> None:
        self._step()
        story = self._any_story(pick)
        before = story.targets()
        story.author, story.topics, story.withdrawn = author, (topic,), False
        for reader in USERS:
            followed = self.site.readers[reader].edges["follow"]
            if before & followed - story.targets():
                self.site.note_lost_reason(reader, story)
        story.visibility = ("public", "public", "unlisted", "followers")[pick % 4]
        self._put(story)

    @rule(pick=picks)
    def withdraw(self, pick: int) -> None:
        self._step()
        story = self._any_story(pick)
        answer = self.server.http.delete(f"/v1/stories/{story.story_id}")
        if story.withdrawn and answer.status_code == 404:
            return  # every kept snapshot holds the first withdrawal, so nobody knows the story any more
        assert answer.status_code == 202, answer.text
        self.story_position = answer.json()["position"]
        story.withdrawn = True
        self.site.note_change()

    @rule(holds_all=st.booleans())
    def publish_snapshot(self, holds_all: bool) -> None:
        """From a lake that knows everything up to now, or from one that has learned nothing since the beginning.

        The latter is refused once changes that it lacks are no longer in the streams.
        """
        self._step()
        streams = [self.server.keys.story_stream(), *map(self.server.keys.event_stream, range(16))]
        if not holds_all:
            with suppress(BadInput) if self.snapshots_hold_changes else nullcontext():
                self.server.publish(self.first_stories)
            return
        self.snapshots_hold_changes = True
        tails = {stream: self.server.client.xrevrange(stream, count=1) for stream in streams}
        positions = {stream: tail[0][0].decode() for stream, tail in tails.items() if tail}
        self.server.publish(self._as_snapshot(), self._as_users(), positions=positions)

    # Readers.

    @rule(user=users, kind=st.sampled_from(tuple(UNDO)), whom=targets, add=st.booleans())
    def change_an_edge(self, user: str, kind: str, whom: tuple[str, str], add: bool) -> None:
        self._step()
        edges = self.site.readers[user].edges
        followed = whom in edges["follow"]
        (edges[kind].add if add else edges[kind].discard)(whom)
        if kind == "block" and add and whom[0] == "author":
            edges["follow"].discard(whom)  # for good: an unblock does not bring it back
        if followed and whom not in edges["follow"]:
            for story in self.site.stories.values():
                if whom in story.targets():
                    self.site.note_lost_reason(user, story)
        self._send(user, kind if add else UNDO[kind], target_type=whom[0], target_id=whom[1])

    @rule(user=users, interaction=st.sampled_from(("read", "read", "hide", "report")), pick=picks)
    def act_on_a_story(self, user: str, interaction: str, pick: int) -> None:
        self._step()
        story_id = self._any_story(pick).story_id
        self.site.readers[user].done_with[interaction].add(story_id)
        self._send(user, interaction, story_id=story_id)

    @rule(user=users, interaction=st.sampled_from(("hide", "report")), pick=picks)
    def take_back(self, user: str, interaction: str, pick: int) -> None:
        self._step()
        done_with = self.site.readers[user].done_with[interaction]
        story_id = sorted(done_with)[pick % len(done_with)] if done_with else self._any_story(pick).story_id
        done_with.discard(story_id)
        self._send(user, f"un{interaction}", story_id=story_id)

    @rule(user=users, kind=st.sampled_from(tuple(UNDO)), whom=targets)
    def undo_too_late(self, user: str, kind: str, whom: tuple[str, str]) -> None:
        """An undoing from before all that is done here changes nothing, whether a snapshot holds the edge or not."""
        self._step()
        long_ago = (NOW - timedelta(days=1)).isoformat()
        self._send(user, UNDO[kind], target_type=whom[0], target_id=whom[1], occurred_at=long_ago)

    @precondition(lambda self: self.sent)
    @rule(pick=picks)
    def send_an_event_again(self, pick: int) -> None:
        self._step()
        receipt = self.server.send(self.sent[pick % len(self.sent)])
        assert (receipt["accepted"], receipt["duplicates"]) == (0, 1), "an event sent again was applied again"

    @rule(user=users, limit=st.sampled_from((1, 5, 20)), fresh=st.sampled_from((False, False, False, True)))
    def first_page(self, user: str, limit: int, fresh: bool) -> None:
        self._step()
        self._begin(user, limit, fresh)

    @rule(user=users, pick=picks)
    def come_back_after_news(self, user: str, pick: int) -> None:
        self.first_page(user, 5, False)
        self.publish(pick, AUTHORS[pick % 5], 0)
        self.first_page(user, 5, False)

    @rule(pick=picks, limit=st.sampled_from((7, 20)))
    def read_to_the_end(self, pick: int, limit: int) -> None:
        if (pagination_session := self._running_session(pick)) is None:
            return
        self._go_on(pagination_session, limit)
        while pagination_session.cursor:
            self._step()
            self._go_on(pagination_session, limit)

    def _begin(self, user: str, limit: int, fresh: bool) -> None:
        page = self._page(user, limit=limit, fresh=fresh)
        slate = self._slate(user, page)
        if page["slate"]["cached"] and slate.due is not None:
            newer = self.site.newer(user, slate.newest)
            self.met["first page from a slate with newer stories about" if newer else "first page from a slate"] += 1
            assert (page["new_count"] > 0) == bool(newer), f"new_count {page['new_count']}, newer: {newer}"
        pagination_session = PaginationSession(
            user, "home", [page["slate"]["id"]], None if slate.due is None else set(slate.due)
        )
        self.site.pagination_sessions.append(pagination_session)
        self._take(pagination_session, page)

    @rule(pick=picks, limit=st.sampled_from((1, 7, 20, 100)), again=st.booleans())
    def next_page(self, pick: int, limit: int, again: bool) -> None:
        if (pagination_session := self._running_session(pick)) is None:
            return
        if again:
            cursor = pagination_session.cursor
            page, repeated = (self._page(pagination_session.user, limit=limit, cursor=cursor) for _ in range(2))
            assert _ids(repeated) == _ids(page), "the same cursor gave another page though nothing had changed"
        self._go_on(pagination_session, limit)

    def _go_on(self, pagination_session: PaginationSession, limit: int) -> None:
        page = self._page(pagination_session.user, limit=limit, cursor=pagination_session.cursor)
        self._slate(pagination_session.user, page)
        self.met["page of a new slate in a running pagination session"] += (
            page["slate"]["id"] != pagination_session.slates[-1]
        )
        pagination_session.slates.append(page["slate"]["id"])
        self._take(pagination_session, page)

    @rule(pick=picks)
    def let_slates_expire(self, pick: int) -> None:
        if (pagination_session := self._running_session(pick)) is None:
            return
        self.server.client.delete(
            *(self.server.keys.slate(pagination_session.user, slate) for slate in set(pagination_session.slates))
        )
        self._go_on(pagination_session, 5)

    @rule(pick=picks)
    def let_a_session_expire(self, pick: int) -> None:
        if (pagination_session := self._running_session(pick, at_least=4)) is None:
            return
        for slate in set(pagination_session.slates):
            self.server.client.delete(
                self.server.keys.slate(pagination_session.user, slate),
                self.server.keys.pagination_session(pagination_session.user, slate),
            )
        answer = self.server.http.get(
            f"/v1/users/{pagination_session.user}/feed", params={"cursor": pagination_session.cursor}
        )
        assert (answer.status_code, answer.json()["type"]) == (410, "urn:rex:cursor_expired")
        gone = set(pagination_session.slates)
        for other in self.site.pagination_sessions:
            if gone & set(other.slates):
                other.cursor = None

    @rule(pick=picks)
    def use_anothers_cursor(self, pick: int) -> None:
        if (pagination_session := self._running_session(pick, at_least=4)) is None:
            return
        thief = next(user for user in USERS if user != pagination_session.user)
        answer = self.server.http.get(f"/v1/users/{thief}/feed", params={"cursor": pagination_session.cursor})
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:rex:invalid_cursor")

    # How it is done.

    def running(self) -> list[PaginationSession]:
        """Pagination sessions that can go on."""
        return [pagination_session for pagination_session in self.site.pagination_sessions if pagination_session.cursor]

    def _step(self) -> None:
        type(self).steps += 1
        self.server.now += timedelta(seconds=1)
        self.site.now = self.server.now

    def _running_session(self, pick: int, at_least: int = 1) -> PaginationSession | None:
        """One that can go on; where there are too few of them, begins another instead and gives none."""
        self._step()
        running = self.running()
        if len(running) >= at_least:
            return running[pick % len(running)]
        self._begin(USERS[pick % len(USERS)], 5, fresh=False)
        return None

    def _any_story(self, pick: int) -> Story:
        return list(self.site.stories.values())[pick % len(self.site.stories)]

    def _remember(
        self, pick: int, author: str, topics: tuple[str, ...], visibility: str, *, minutes_ago: float
    ) -> Story:
        publication = (None, *PUBLICATIONS)[pick % 3]
        published_at = self.site.now - timedelta(minutes=minutes_ago)
        story = Story(f"s{self.made:03}", author, publication, tuple(topics), visibility, published_at)
        self.made += 1
        self.site.stories[story.story_id] = story
        return story

    def _put(self, story: Story) -> None:
        answer = self.server.http.put(f"/v1/stories/{story.story_id}", json=document(story))
        assert answer.status_code == 202, answer.text
        self.story_position = answer.json()["position"]
        self.site.note_change()

    def _send(self, user: str, kind: str, **more: Any) -> None:
        event = self.server.event(f"e{len(self.sent)}", user, kind, **more)
        receipt = self.server.send(event)
        assert receipt == {"accepted": 1, "duplicates": 0, "rejected": []}
        self.sent.append(event)
        self.site.note_change()

    def _page(self, user: str, **query: Any) -> dict[str, Any]:
        page = self.server.feed(user, **query)
        assert stream_order(page["story_position"]) >= stream_order(self.story_position), (
            "an acknowledged change is missed"
        )
        unsuitable = set(_ids(page)) - self.site.suitable(user)
        assert not unsuitable, f"{user} was shown {unsuitable}"
        return page

    def _slate(self, user: str, page: dict[str, Any]) -> SlateSeen:
        about = page["slate"]
        if about["id"] not in self.site.slates:
            due = None if about["cached"] else self.site.suitable(user)
            self.site.slates[about["id"]] = SlateSeen(user, due, self.site.newest())
        return self.site.slates[about["id"]]

    def _take(self, pagination_session: PaginationSession, page: dict[str, Any]) -> None:
        repeated = set(_ids(page)) & set(pagination_session.served)
        assert not repeated, f"shown twice in one pagination session: {repeated}"
        assert [item["position"] for item in page["items"]] == list(
            range(len(pagination_session.served), len(pagination_session.served) + len(page["items"]))
        )
        pagination_session.served += _ids(page)
        pagination_session.cursor = page["next_cursor"]
        if pagination_session.cursor is None and pagination_session.due is not None:
            self.met["pagination session read to its end"] += 1
            assert pagination_session.due <= set(pagination_session.served), (
                f"skipped though suitable throughout: {pagination_session.due - set(pagination_session.served)}"
            )

    def _as_snapshot(self) -> list[dict[str, Any]]:
        return [
            {
                "id": story.story_id,
                "author": story.author,
                "publication": story.publication,
                "topics": list(story.topics),
                "title": f"About {story.story_id}",
                "visibility": story.visibility,
                "age_h": (NOW - story.published_at) / timedelta(hours=1),
            }
            for story in self.site.stories.values()
            if not story.withdrawn
        ]

    def _as_users(self) -> dict[str, dict[str, Any]]:
        """Profiles as the batch would make them of everything that was sent."""
        known_of: dict[str, dict[str, Any]] = {}
        for user, reader in self.site.readers.items():
            known: dict[str, Any] = {"created_at": [1], "is_member": [0]}
            for kind, marked in reader.edges.items():
                for target_type in ("author", "publication", "topic"):
                    known[f"{kind}_{target_type}"] = sorted(name for of, name in marked if of == target_type)
            for interaction, field_name in (("read", "read"), ("hide", "hidden"), ("report", "reported")):
                known[field_name] = sorted(reader.done_with[interaction])
            for name in [name for name in (*HELD.values(), "read") if name in known]:
                known[f"{name}_at"] = [micros(self.site.now)] * len(known[name])
            known_of[user] = known
        return known_of


def _ids(page: dict[str, Any]) -> list[str]:
    return [item["story_id"] for item in page["items"]]
