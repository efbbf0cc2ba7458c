"""A running server over a simulated world, and seven hours of what may happen to it after its snapshot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from fastapi import FastAPI

from features.duckdb_views import connect
from online.wiring import AppState
from tests.online.conftest import FeedServer

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
"""A moment of the schedule; all of the simulated world is before it."""
HOUR = timedelta(hours=1)
KNOWN, NEWCOMERS, FRESH = 36, 6, 24


class Site:
    """A running server over a world that ended at AS_OF, and what happens on it afterwards."""

    def __init__(self, app: FastAPI, served: FeedServer) -> None:
        self.app = app
        self.served = served
        self.rng = np.random.default_rng(4)
        self.sent = 0
        with connect(served.settings.lake, AS_OF) as db:
            self.stories = [row[0] for row in db.sql("SELECT story_id FROM story_features ORDER BY 1").fetchall()]
            self.authors = [row[0] for row in db.sql("SELECT author_id FROM author_features ORDER BY 1").fetchall()]
            self.topics = [row[0] for row in db.sql("SELECT topic_id FROM topic_features ORDER BY 1").fetchall()]
            self.readers = db.sql("""
                SELECT user_id, follow_authors, follow_publications, follow_topics FROM user_profiles
                ORDER BY len(read) DESC, user_id
            """).fetchall()
            self.in_series = [
                row[0] for row in db.sql("SELECT publication_id FROM publication_features ORDER BY 1").fetchall()
            ]

    @property
    def rex(self) -> AppState:
        state: AppState = self.app.state.rex
        return state

    def users(self) -> list[str]:
        """Those who read most, and users of whom the snapshot knows nothing."""
        return [row[0] for row in self.readers[:KNOWN]] + [f"new-{number}" for number in range(NEWCOMERS)]

    def do(self, user: str, kind: str, **more: Any) -> dict[str, Any]:
        self.sent += 1
        return self.served.event(f"since-{self.sent}", user, kind, **more)

    def some(self, of: list[str], n: int) -> list[str]:
        return [of[at] for at in self.rng.choice(len(of), min(n, len(of)), replace=False)]

    def put(self, story_id: str, **document: Any) -> None:
        body = {"published_at": self.served.now.isoformat(), **document}
        answer = self.served.http.put(f"/v1/stories/{story_id}", json=body)
        assert answer.status_code == 202, answer.text

    def withdraw(self, story_id: str) -> None:
        assert self.served.http.delete(f"/v1/stories/{story_id}").status_code == 202


def happen(site: Site) -> None:
    """Seven hours after the snapshot: fresh stories, changed and withdrawn ones, follows and their undoing, reads, newcomers."""
    for hour in range(1, 8):
        site.served.now = AS_OF + hour * HOUR
        for number in range(hour, FRESH, 7):
            author = (site.authors[number % len(site.authors)], f"new-author-{number}", None)[number % 3]
            topics = [*site.some(site.topics, number % 3), *(["new-topic"] if number % 4 == 0 else [])]
            publication = (None, site.in_series[number % len(site.in_series)], "new-publication")[number % 3]
            language = ("en", None, "new-language")[number % 3]
            told = {"author_id": author, "publication_id": publication, "topics": topics, "language": language}
            site.put(f"fresh-{number}", **told)
        site.served.now += timedelta(minutes=10)
        events = []
        for user, authors, publications, topics in [
            *site.readers[:KNOWN],
            *((u, [], [], []) for u in site.users()[KNOWN:]),
        ]:
            if site.rng.random() < 0.5:
                continue
            events += [site.do(user, "read", story_id=story) for story in site.some(site.stories, 3)]
            events += [
                site.do(user, "read", story_id=f"fresh-{hour}"),
                site.do(user, "open", story_id=site.stories[hour]),
            ]
            events += [site.do(user, "follow", target_type="author", target_id=a) for a in site.some(site.authors, 2)]
            events += [site.do(user, "follow", target_type="topic", target_id=t) for t in site.some(site.topics, 1)]
            events += [site.do(user, "follow", target_type="author", target_id=f"new-author-{hour}")]
            events += [
                site.do(user, "follow", target_type="publication", target_id=p) for p in site.some(site.in_series, 1)
            ]
            for kind, followed in (("author", authors), ("publication", publications), ("topic", topics)):
                events += [site.do(user, "unfollow", target_type=kind, target_id=t) for t in followed[:1]]
        for start in range(0, len(events), 500):
            site.served.send(*events[start : start + 500])
    site.put(site.stories[0], author_id=site.authors[3], topics=site.topics[:2], title="Changed, by another author")
    site.put("fresh-1", author_id=site.authors[5], title="Changed, and its first author's rates stay")
    site.withdraw(site.stories[1])
    site.withdraw(site.stories[2])
    site.put(site.stories[2], author_id=site.authors[4], title="Back again")
