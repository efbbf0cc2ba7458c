"""What each protocol lets systems know, and what it asks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from evaluation.protocols import PROTOCOLS
from evaluation.reading_log import Log, read_log
from features.errors import BadInput
from features.times import DAY_US
from lake.importing.sql_import import import_sql
from lake.ready_files import deskdrop
from tests.evaluation.logs import START, at, interactions, log_of, number, user
from tests.lakes import event, write_lake

OLD = {f"s{i}": 0.0 for i in range(8)}
"""Out from the start."""
BUSY = [("ann", f"s{i}", 1 + i / 10) for i in range(5)]
"""Ann has five stories on day 1."""
DAY0 = int(START.timestamp()) * 1_000_000 // DAY_US


def _names(log: Log, stories: np.ndarray) -> set[str]:
    return {log.story_ids[int(story)].as_py() for story in stories}


def _rolling_log(lake: Path) -> Log:
    """Day 3 is the first test day: the 0.8 quantile of all interactions lies on day 2."""
    few = [("bob", f"s{i}", 1.5 + i / 10) for i in range(4)]
    filler = [("cyd", "s0", 2 + i / 100) for i in range(12)]
    tested = [
        ("ann", "s5", 3.2),  # what she first reads that day
        ("ann", "s0", 3.3),  # read before: no positive
        ("ann", "new", 3.4),  # came out that day: not known at its start
        ("bob", "s6", 3.5),  # has only four stories before
        ("ann", "s5", 4.1),  # first read the day before
    ]
    return log_of(lake, {**OLD, "new": 3.1}, interactions([*BUSY, *few, *filler, *tested]))


class TestRolling:
    def test_positives_are_first_reads_of_the_day_by_users_with_history_among_stories_known_at_its_start(
        self, tmp_path: Path
    ) -> None:
        log = _rolling_log(tmp_path)
        (task,) = PROTOCOLS["rolling"](log, None).tasks
        assert task.at_us == (DAY0 + 3) * DAY_US
        assert task.users.tolist() == [user(log, "ann")]
        assert _names(log, task.positives) == {"s5"}
        assert "new" not in _names(log, np.flatnonzero(task.live))

    def test_what_arrives_late_is_not_known_before(self, tmp_path: Path) -> None:
        """Ann's fifth read of day 1 arrives on day 5, so on day 3 she has four stories and is not evaluated."""
        late = event("ann", "read", "s4", at(1.4), received_at=at(5))
        early = interactions([*BUSY[:4], *(("cyd", "s0", 2 + i / 100) for i in range(20)), ("ann", "s5", 3.2)])
        log = log_of(tmp_path, OLD, [*early, late])
        with pytest.raises(BadInput, match="finds nobody to evaluate"):
            PROTOCOLS["rolling"](log, None)

    def test_validation_uses_nothing_of_the_test_days(self, tmp_path: Path) -> None:
        log = _rolling_log(tmp_path)
        split = PROTOCOLS["rolling"](log, None)
        for task in split.validation:
            assert log.at_us[task.known].max() < task.at_us < split.tasks[0].at_us

    def test_a_withdrawn_story_is_not_ranked(self, tmp_path: Path) -> None:
        rows = [{"story_id": name, "published_at": at(day)} for name, day in OLD.items()]
        rows[7] |= {"deleted_at": at(2), "updated_at": at(2)}
        lake = write_lake(tmp_path, stories=rows, events=interactions([*BUSY, ("ann", "s5", 3.2)]))
        log = read_log(lake)
        assert not log.live(int(at(3).timestamp()) * 1_000_000)[number(log, "s7")]


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Twelve users with ten of 150 stories each, one with four."""
    rng = np.random.default_rng(5)
    rows = [(f"u{u:02d}", f"s{s}", 1 + float(rng.random() * 9)) for u in range(12) for s in rng.permutation(150)[:10]]
    rows += [("few", f"s{s}", 1.0) for s in range(4)]
    return log_of(tmp_path_factory.mktemp("readers"), {f"s{i}": 0.0 for i in range(150)}, interactions(rows))


class TestPublished:
    def test_a_fifth_of_each_users_stories_is_hidden(self, readers: Log) -> None:
        (task,) = PROTOCOLS["published"](readers, None).tasks
        assert len(task) == 24
        assert np.bincount(task.asked).tolist() == [2] * 12

    def test_users_with_few_stories_are_not_known_at_all(self, readers: Log) -> None:
        (task,) = PROTOCOLS["published"](readers, None).tasks
        assert not task.known[readers.user == user(readers, "few")].any()
        assert user(readers, "few") not in task.users

    def test_pools_are_a_hundred_different_stories_the_user_never_touched(self, readers: Log) -> None:
        (task,) = PROTOCOLS["published"](readers, None).tasks
        assert task.pools is not None
        assert task.pools.shape == (24, 100)
        for asked, pool in zip(task.asked, task.pools, strict=True):
            assert len(set(pool.tolist())) == 100
            touched = readers.story[readers.user == task.users[asked]]
            assert not np.isin(pool, touched).any()

    def test_too_few_stories_for_the_negatives_are_refused(self, readers: Log) -> None:
        with pytest.raises(BadInput, match="too few for 141 negatives"):
            PROTOCOLS["published"](readers, 141)


@pytest.mark.parametrize("protocol", ["published", "random"])
def test_nothing_hidden_is_known(readers: Log, protocol: str) -> None:
    split = PROTOCOLS[protocol](readers, None)
    for task in (*split.tasks, *split.validation):
        hidden = task.users[task.asked].astype(np.int64) * readers.stories + task.positives
        assert not np.isin(hidden, readers.pair[task.known]).any()
    assert not split.validation[0].known[~split.tasks[0].known].any()


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_a_split_is_the_same_every_time(readers: Log, protocol: str) -> None:
    one, other = (PROTOCOLS[protocol](readers, 20) for _ in range(2))
    for a, b in zip(one.tasks, other.tasks, strict=True):
        assert a.positives.tolist() == b.positives.tolist()
        assert a.pools is not None
        assert b.pools is not None
        assert a.pools.tolist() == b.pools.tolist()


def test_time_hides_what_came_after_the_cut(readers: Log) -> None:
    (task,) = PROTOCOLS["time"](readers, None).tasks
    assert task.known.mean() == pytest.approx(0.8, abs=0.02)
    assert readers.at_us[task.known].max() < task.at_us <= readers.at_us[~task.known].min()


def test_a_lake_without_reads_is_refused(tmp_path: Path) -> None:
    lake = write_lake(
        tmp_path, stories=[{"story_id": "s", "published_at": at(0)}], events=interactions([("u", "s", 1)], "impression")
    )
    with pytest.raises(BadInput, match="no reads and no opens"):
        read_log(lake)


def test_opens_stand_in_where_a_lake_has_no_reads(tmp_path: Path) -> None:
    log = log_of(tmp_path, OLD, interactions(BUSY, "open"))
    assert len(log) == 5


def test_opens_do_not_count_beside_reads(tmp_path: Path) -> None:
    log = log_of(tmp_path, OLD, [*interactions(BUSY), *interactions([("ann", "s7", 1.9)], "open")])
    assert len(log) == 5


def test_deskdrop_source_without_sessions_imports_into_the_same_log(tmp_path: Path) -> None:
    """Likes and bookmarks count as reading; strengths are the notebook's."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "users_interactions.csv").write_text(
        "timestamp,eventType,contentId,personId\n1450000100,VIEW,a,p\n1450000200,LIKE,b,p\n1450000300,BOOKMARK,a,p\n"
    )
    import_sql(deskdrop(source), tmp_path / "lake", files=source, now=datetime.now(UTC))
    log = read_log(tmp_path / "lake")
    assert log.strength.tolist() == [1, 2, 2.5]
    assert log.first.tolist() == [True, True, False]
