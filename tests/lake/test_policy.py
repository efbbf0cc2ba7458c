"""The logging policy: exact propensities, and nobody is shown what they may not see."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from features.times import DAY_US
from lake.simulator import WorldConfig, simulate
from lake.simulator.edges import AUTHOR, FOLLOW, PUBLICATION, TOPIC, Edges
from lake.simulator.policy import EXPLORE, LIVE_DAYS, Beliefs, make_beliefs
from lake.simulator.sessions import NONE, draw_lists
from lake.simulator.stories import FOLLOWERS, UNLISTED
from lake.simulator.world import Truth, load_world
from tests.lake.conftest import ENDS_AT, SmallLake, open_lake


def microseconds(time: datetime) -> int:
    return int(time.timestamp()) * 1_000_000 + time.microsecond


class TestDrawing:
    """Sequential draws without replacement from known weights."""

    WEIGHTS = np.array([[0.5, 0.0, 0.3, 0.2, 0.9], [0.1, 0.2, 0.3, 0.4, 0.0]], np.float32)

    def draw(self, row: int, end: int, length: int, times: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(3)
        full = [np.full(times, value, np.int64) for value in (row, end, length)]
        return draw_lists(rng, self.WEIGHTS, *full)

    def test_every_ordered_list_comes_as_often_as_its_propensities_multiply_to(self) -> None:
        columns, propensity = self.draw(row=0, end=4, length=2)
        counts = Counter(map(tuple, columns.tolist()))
        product = dict(zip(map(tuple, columns.tolist()), propensity.prod(axis=1).tolist(), strict=True))
        # By hand: weights 0.5, 0.3, 0.2 of columns 0, 2, 3; P(0, 2) = 0.5 · 0.3 / (1 - 0.5) = 0.3, and so on.
        exact = {
            (a, b): float(self.WEIGHTS[0, a] * self.WEIGHTS[0, b] / (1 - self.WEIGHTS[0, a]))
            for a, b in permutations((0, 2, 3), 2)
        }
        assert product == pytest.approx(exact, rel=1e-6)
        for pair, chance in exact.items():
            error = 4 * np.sqrt(chance * (1 - chance) / 20_000)
            assert abs(counts[pair] / 20_000 - chance) < error, f"{pair} came {counts[pair]} times of 20,000"

    def test_propensities_of_the_first_position_sum_to_one_over_all_that_is_eligible(self) -> None:
        columns, propensity = self.draw(row=1, end=5, length=1)
        first = dict(zip(columns[:, 0].tolist(), propensity[:, 0].tolist(), strict=True))
        assert first.keys() == {0, 1, 2, 3}
        assert sum(first.values()) == pytest.approx(1.0, abs=1e-12)

    def test_a_list_ends_when_nothing_eligible_is_left(self) -> None:
        columns, propensity = self.draw(row=0, end=3, length=5, times=50)
        assert {tuple(sorted(row)) for row in columns.tolist()} == {(0, 2)}
        assert propensity[:, 1] == pytest.approx(1.0)

    def test_nothing_published_means_an_empty_list(self) -> None:
        columns, _ = self.draw(row=0, end=0, length=3, times=5)
        assert (columns == NONE).all()


def slow_weights(truth: Truth, beliefs: Beliefs, user: int, day_us: int, gone: set[int]) -> dict[int, float]:
    """The documented weights of one user and day, story by story: the definition, not the implementation."""
    users, stories = truth.users, truth.stories
    mine = truth.edges.at(truth.edges.user == user).in_force(day_us)
    logits: dict[int, float] = {}
    for story in range(truth.config.stories):
        bonus = shown_bonus(truth, mine, story)
        published = int(stories.published_us[story])
        if (
            bonus is None
            or story in gone
            or not day_us - LIVE_DAYS * DAY_US <= published < day_us + DAY_US
            or stories.withdrawn_us[story] < day_us + DAY_US
            or not users.reads_language[user, stories.language[story]]
            or (stories.members_only[story] and not users.is_member[user])
            or truth.authors.user[stories.author[story]] == user
        ):
            continue
        match = truth.topic_match(np.array([user], np.int32), np.array([story], np.int32))[0]
        taste = float(users.taste[:, user] @ stories.character[:, story])
        age_days = (day_us + DAY_US - published) / DAY_US
        logits[story] = 0.7 * 4.0 * match + 0.5 * 1.2 * taste + float(beliefs.popularity[story]) - age_days / 3 + bonus
    total = sum(np.exp(value) for value in logits.values())
    return {s: (1 - EXPLORE) * float(np.exp(v)) / total + EXPLORE / len(logits) for s, v in logits.items()}


def shown_bonus(truth: Truth, mine: Edges, story: int) -> float | None:
    """Bonus of what follows explain; None where an edge or the visibility forbids to show the story."""
    stories, bonus = truth.stories, 0.0
    targets = {AUTHOR: {int(stories.author[story])}, PUBLICATION: {int(stories.publication[story])}}
    targets[TOPIC] = {int(topic) for topic in stories.topics[story] if topic >= 0}
    follows_author = False
    for kind, target_type, target in zip(mine.kind, mine.target_type, mine.target, strict=True):
        if int(target) in targets[int(target_type)]:
            if kind != FOLLOW:
                return None
            bonus += {AUTHOR: 1.2, PUBLICATION: 0.6, TOPIC: 0.0}[int(target_type)]
            follows_author |= bool(target_type == AUTHOR)
    hidden = stories.visibility[story] == UNLISTED or (stories.visibility[story] == FOLLOWERS and not follows_author)
    return None if hidden else bonus


def test_logged_propensities_equal_brute_force(tmp_path: Path) -> None:
    config = WorldConfig(users=40, stories=150, events=2_500, days=5, seed=11, ends_at=ENDS_AT)
    simulate(config, tmp_path / "lake")
    db, truth = open_lake(tmp_path / "lake"), load_world(tmp_path / "lake").truth
    beliefs = make_beliefs(truth)
    impressions = db.execute(
        """SELECT DISTINCT request_id, position, substr(user_id, 2)::INT u, substr(story_id, 2)::INT s, propensity,
                  min(occurred_at) OVER (PARTITION BY request_id) began
           FROM events WHERE type = 'impression' ORDER BY u, began, request_id, position"""
    ).fetchall()
    ended = db.execute(
        """SELECT substr(user_id, 2)::INT, substr(story_id, 2)::INT, any_value(request_id) FROM events
           WHERE type IN ('read', 'hide', 'report') GROUP BY ALL"""
    ).fetchall()
    day_of = {request: (microseconds(began) - 1_000_000) // DAY_US for request, _, _, _, _, began in impressions}
    above, cache, first_sums = 0.0, {}, []
    for request, position, user, story, propensity, began in impressions:
        day = day_of[request]
        if (user, day) not in cache:
            gone = {s for u, s, r in ended if u == user and day_of[r] < day}
            cache[user, day] = slow_weights(truth, beliefs, user, day * DAY_US, gone)
        # The first impression comes one to two seconds after the session began.
        prefix = {
            s: w for s, w in cache[user, day].items() if truth.stories.published_us[s] < microseconds(began) - 10**6
        }
        assert story in prefix, f"story {story} may not be shown to user {user} in {request}"
        above = above if position else 0.0
        assert propensity == pytest.approx(prefix[story] / (sum(prefix.values()) - above), rel=2e-4), request
        above += prefix[story]
        first_sums.append(len(prefix))
    assert len(impressions) > 1_500
    assert max(first_sums) > 50, "the prefixes should be long enough to mean something"


def test_nobody_is_shown_what_they_may_not_see(small: SmallLake) -> None:
    shown = """FROM events e JOIN stories s ON e.story_id = s.story_id AND s.updated_at = s.published_at
               JOIN users u USING (user_id) WHERE e.type = 'impression'"""
    assert small.value(f"SELECT count(*) {shown}") > 20_000  # type: ignore[operator]
    forbidden = {
        "an unread language": "NOT list_contains(u.languages, s.language)",
        "members only": "s.members_only AND NOT u.is_member",
        "unlisted": "s.visibility = 'unlisted'",
        "own": "s.author_id = u.user_id",
        "not yet published": "s.published_at > e.occurred_at",
        "too old": f"s.published_at < e.dt - INTERVAL {LIVE_DAYS + 1} DAY",
    }
    for what, condition in forbidden.items():
        assert small.value(f"SELECT count(*) {shown} AND {condition}") == 0, f"a story was shown that is {what}"


def test_edges_withdrawals_and_reads_of_earlier_days_are_respected(small: SmallLake) -> None:
    # What is in force at the day's start counts, so edges of the same day are left out of the comparison.
    state = """WITH last AS (
        SELECT e.user_id, e.story_id, x.kind, x.target_type, arg_max(x.op, x.occurred_at) AS op
        FROM events e JOIN stories s ON e.story_id = s.story_id AND s.updated_at = s.published_at
        JOIN edges x ON x.user_id = e.user_id AND x.occurred_at < e.dt::TIMESTAMPTZ AND (
            (x.target_type = 'author' AND x.target_id = s.author_id)
            OR (x.target_type = 'publication' AND x.target_id = s.publication_id)
            OR (x.target_type = 'topic' AND list_contains(s.topics, x.target_id)))
        WHERE e.type = 'impression' AND {where} GROUP BY e.event_id, e.user_id, e.story_id, x.kind, x.target_type, x.target_id)
        SELECT count(*) FROM last WHERE op = 'add' AND {kind}"""
    assert small.value(state.format(where="true", kind="kind <> 'follow'")) == 0, "a muted or blocked story was shown"
    followers = state.format(where="s.visibility = 'followers'", kind="kind = 'follow' AND target_type = 'author'")
    impressions = """SELECT count(DISTINCT event_id) FROM events e JOIN stories s ON e.story_id = s.story_id
                     AND s.updated_at = s.published_at WHERE type = 'impression' AND s.visibility = 'followers'"""
    assert small.value(followers) == small.value(impressions) != 0, "followers-only stories are for followers"
    withdrawn = (
        "FROM events e JOIN stories s USING (story_id) WHERE e.type = 'impression' AND e.occurred_at >= s.deleted_at"
    )
    assert small.value(f"SELECT count(*) {withdrawn}") == 0
    again = """SELECT count(*) FROM events e JOIN events r ON r.user_id = e.user_id AND r.story_id = e.story_id
               AND r.type IN ('read', 'hide', 'report') AND r.dt < e.dt - 1 WHERE e.type = 'impression'"""
    assert small.value(again) == 0, "a story was shown again days after it was read, hidden or reported"


def test_a_request_shows_a_story_once_at_positions_without_gaps(small: SmallLake) -> None:
    gaps = """SELECT count(*) FROM (SELECT request_id, count(DISTINCT story_id) n, max(position) + 1 m, count(DISTINCT user_id) u
              FROM events WHERE type = 'impression' GROUP BY request_id) WHERE n <> m OR u <> 1"""
    last_day = "dt < DATE '2026-11-19'"  # a list that is still open when the interval ends is cut
    assert small.value(gaps.replace("type =", f"{last_day} AND type =")) == 0


def test_propensities_are_probabilities_and_belong_to_impressions(small: SmallLake) -> None:
    bad = (
        "SELECT count(*) FROM events WHERE (type = 'impression') <> coalesce(propensity > 0 AND propensity <= 1, false)"
    )
    assert small.value(bad) == 0
    assert (
        small.value("SELECT count(*) FROM events WHERE request_id IS NULL OR position IS NULL OR source IS NULL") == 0
    )
