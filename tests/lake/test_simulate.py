"""The simulated lake is complete, deterministic and within its bounds."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

import lake.simulator.run
from features.datasets import dataset
from features.errors import BadInput
from features.raw_datasets import EDGE_KINDS, TARGET_TYPES, VISIBILITIES
from lake.simulator import WorldConfig, simulate
from lake.simulator.config import LANGUAGES
from lake.simulator.sessions import SOURCES
from tests.lake.conftest import ENDS_AT, SMALL, SmallLake

TINY = WorldConfig(users=300, stories=400, events=3_000, days=4, seed=1, ends_at=ENDS_AT)


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file, by relative path."""
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_equal_configs_make_equal_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    simulate(TINY, tmp_path / "one")
    simulate(TINY, tmp_path / "again")
    simulate(TINY, tmp_path / "two", workers=2)
    once = digests(tmp_path / "one")
    assert len(once) > 4 + 3, "raw datasets of several days and the world file are expected"
    assert digests(tmp_path / "again") == once, "a second run must give the same bytes"
    assert digests(tmp_path / "two") == once, "two workers must give the same bytes as one"


def test_another_seed_makes_another_world(tmp_path: Path) -> None:
    simulate(TINY, tmp_path / "one")
    simulate(TINY.model_copy(update={"seed": 2}), tmp_path / "two")
    assert digests(tmp_path / "one").keys() == digests(tmp_path / "two").keys()
    assert digests(tmp_path / "one") != digests(tmp_path / "two")


def test_the_wanted_number_of_events_is_hit_within_two_percent(small: SmallLake) -> None:
    rows = small.value("SELECT count(*) FROM events")
    assert rows == small.summary.events
    assert abs(small.summary.events - SMALL.events) <= 0.02 * SMALL.events


def test_the_summary_counts_what_was_written(small: SmallLake) -> None:
    assert small.value("SELECT count(DISTINCT user_id) FROM users") == small.summary.users == SMALL.users
    assert small.value("SELECT count(DISTINCT story_id) FROM stories") == small.summary.stories == SMALL.stories
    assert small.value("SELECT count(*) FROM edges") == small.summary.edges
    distinct = "SELECT count(DISTINCT event_id) FROM events WHERE type = 'impression'"
    assert small.value(distinct) == small.summary.impressions
    assert small.value("SELECT count(DISTINCT request_id) FROM events") == small.summary.requests


@pytest.mark.parametrize("name", ["stories", "users", "edges", "events"])
def test_files_have_the_declared_columns_and_types(small: SmallLake, name: str) -> None:
    declared = dataset(name).arrow_schema()
    file = next((small.path / "raw" / name).rglob("*.parquet"))
    schema = pq.read_schema(file)
    expected = [field for field in declared if field.name in schema.names]
    assert list(schema) == expected
    missing = set(declared.names) - set(schema.names)
    assert missing <= {"updated_at", "received_at", "dt", "strength"}, f"{name} lacks {missing}"


def test_every_kind_of_thing_occurs(small: SmallLake) -> None:
    def kinds(query: str) -> set[object]:
        return {row[0] for row in small.db.execute(query).fetchall()}

    everything = {"impression", "open", "read", "clap", "save", "share", "hide", "report"}
    assert kinds("SELECT DISTINCT type FROM events") == everything, "nobody in this world changes their mind"
    assert kinds("SELECT DISTINCT source FROM events") == set(SOURCES)
    assert kinds("SELECT DISTINCT visibility FROM stories") == set(VISIBILITIES)
    assert kinds("SELECT DISTINCT members_only FROM stories") == {True, False}
    assert kinds("SELECT DISTINCT publication_id IS NULL FROM stories") == {True, False}
    assert kinds("SELECT DISTINCT len(topics) FROM stories") == {1, 2, 3}
    assert kinds("SELECT DISTINCT is_member FROM users") == {True, False}
    assert kinds("SELECT DISTINCT kind FROM edges WHERE op = 'remove'") == set(EDGE_KINDS)
    assert kinds("SELECT DISTINCT target_type FROM edges") == set(TARGET_TYPES)
    languages = kinds("SELECT DISTINCT language FROM stories")
    assert "en" in languages
    assert len(languages) >= 3
    assert languages <= set(LANGUAGES)
    share = small.value("SELECT avg((language = 'en')::INT) FROM stories")
    assert isinstance(share, float)
    assert share > 0.5, f"English should dominate, not {share:.0%}"


def test_withdrawn_and_edited_stories_have_a_later_version(small: SmallLake) -> None:
    withdrawn = "SELECT count(*) FROM stories WHERE deleted_at IS NOT NULL"
    assert small.value(withdrawn) == small.value(
        f"{withdrawn} AND updated_at = deleted_at AND deleted_at > published_at"
    )
    assert small.value(withdrawn) > 0  # type: ignore[operator]
    edited = "SELECT count(*) FROM stories WHERE updated_at > published_at AND deleted_at IS NULL"
    assert small.value(edited) > 0  # type: ignore[operator]
    assert small.value("SELECT count(*) - count(DISTINCT (story_id, updated_at)) FROM stories") == 0


def test_only_near_duplicates_share_the_words_of_their_titles(small: SmallLake) -> None:
    stories = small.world.truth.stories
    rows = small.db.execute(
        "SELECT substr(story_id, 2)::INT, title FROM stories WHERE updated_at = published_at ORDER BY 1"
    ).fetchall()
    words = {
        row: " ".join(sorted("".join(c if c.isalnum() else " " for c in title).casefold().split()))
        for row, title in rows
    }
    titles = dict(rows)
    copies = [row for row in words if stories.copy_of[row] >= 0]
    assert len(copies) > 10
    for row in copies:
        original = int(stories.copy_of[row])
        assert words[row] == words[original], f"{titles[row]!r} should have the words of {titles[original]!r}"
        assert titles[row] != titles[original]
    same_author = {bool(stories.author[row] == stories.author[stories.copy_of[row]]) for row in copies}
    assert same_author == {True, False}, "some copies by the same author, some by others"
    originals = [row for row in words if stories.copy_of[row] < 0]
    assert len({words[row] for row in originals}) == len(originals)


def test_some_events_are_late_and_some_are_sent_twice_with_equal_content(small: SmallLake) -> None:
    late = small.value("SELECT avg((received_at > occurred_at + INTERVAL 1 HOUR)::INT) FROM events")
    assert isinstance(late, float)
    assert 0.01 < late < 0.03
    assert small.value("SELECT count(*) FROM events WHERE received_at::DATE > dt") > 50  # type: ignore[operator]
    repeats = "SELECT count(*) - count(DISTINCT event_id) FROM events"
    assert small.value(repeats) > 50  # type: ignore[operator]
    assert small.value("SELECT count(*) FROM (SELECT DISTINCT * FROM events)") == small.value(
        "SELECT count(DISTINCT event_id) FROM events"
    ), "rows with one event_id must be equal"


def test_every_day_has_stories_and_events_and_the_last_day_has_newcomers(small: SmallLake) -> None:
    assert small.value("SELECT count(DISTINCT dt) FROM events") == SMALL.days
    published = "SELECT count(DISTINCT published_at::DATE) FROM stories WHERE published_at >= TIMESTAMPTZ '2026-10-21'"
    assert small.value(published) == SMALL.days
    last = ENDS_AT - timedelta(days=1)
    assert small.value(f"SELECT count(*) FROM stories WHERE published_at >= TIMESTAMPTZ '{last}'") > 0  # type: ignore[operator]
    assert small.value(f"SELECT count(*) FROM users WHERE created_at >= TIMESTAMPTZ '{last}'") > 0  # type: ignore[operator]


def test_nothing_is_later_than_the_end_or_out_of_order(small: SmallLake) -> None:
    latest = small.db.execute(
        """SELECT greatest((SELECT max(received_at) FROM events), (SELECT max(occurred_at) FROM edges),
                  (SELECT max(updated_at) FROM stories), (SELECT max(created_at) FROM users))"""
    ).fetchone()
    assert latest is not None
    assert latest[0] < ENDS_AT
    assert small.value("SELECT count(*) FROM events WHERE occurred_at::DATE <> dt OR received_at < occurred_at") == 0
    early = """SELECT count(*) FROM events JOIN users USING (user_id)
               JOIN (SELECT DISTINCT story_id, published_at FROM stories) USING (story_id)
               WHERE occurred_at < created_at OR occurred_at < published_at"""
    assert small.value(early) == 0
    assert small.value("SELECT count(*) FROM edges JOIN users USING (user_id) WHERE occurred_at < created_at") == 0
    joined_later = "SELECT count(*) FROM stories JOIN users ON author_id = user_id WHERE published_at < created_at"
    assert small.value(joined_later) == 0


def test_days_have_a_rhythm(small: SmallLake) -> None:
    hours = dict(small.db.execute("SELECT hour(occurred_at), count(*) FROM events GROUP BY 1").fetchall())
    # Most users live at UTC-5: their night (2-5 h) is 7-10 h UTC, their evening (19-22 h) is 0-3 h UTC.
    assert sum(hours[h] for h in (0, 1, 2)) > 2 * sum(hours[h] for h in (7, 8, 9))


def test_follows_have_power_law_popularity_and_fit_interests(small: SmallLake) -> None:
    follows = "FROM edges WHERE kind = 'follow' AND target_type = 'author' AND op = 'add'"
    top = small.value(f"SELECT sum(n) FROM (SELECT count(*) n {follows} GROUP BY target_id ORDER BY n DESC LIMIT 3)")
    total = small.value(f"SELECT count(*) {follows}")
    assert top > 0.2 * total, "3 of 30 authors should hold far more than a tenth of the follows"  # type: ignore[operator]
    truth, edges = small.world.truth, small.world.truth.edges
    chosen = edges.at((edges.kind == 0) & (edges.target_type == 0))
    topics = truth.authors.topics
    liked = truth.users.topic_interest[chosen.user[:, None], topics[chosen.target]].mean()
    anyone = truth.users.topic_interest[:, topics].mean()
    assert liked > 1.25 * anyone, "follows should go to authors of liked topics"


def test_a_target_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "mine.txt").write_text("keep")
    with pytest.raises(BadInput, match="is not empty"):
        simulate(TINY, tmp_path / "lake")
    assert digests(tmp_path).keys() == {"lake/mine.txt"}


def test_a_failed_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(lake.simulator.run, "_write_events", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate(TINY, tmp_path / "lake")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_killed_run_leaves_no_lake(tmp_path: Path) -> None:
    script = f"""from pathlib import Path
from lake.simulator import WorldConfig, simulate
simulate(WorldConfig(events=600_000, ends_at="{ENDS_AT.isoformat()}"), Path("{tmp_path}/lake"), workers=1)"""
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".lake.*.partial/scratch/*/*.arrow")):
            assert process.poll() is None, "the run should not be over yet"
            assert time.monotonic() < deadline, "the run should have begun to write"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "lake").exists()
    assert simulate(TINY, tmp_path / "lake").events > 0, "what is left does not stand in the way of the next run"


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    with Progress(
        console=Console(file=io.StringIO())
    ) as progress:  # a disabled one stops counting after a tenth of a second
        simulate(TINY, tmp_path / "lake", progress)
        assert [(task.description, task.finished) for task in progress.tasks] == [
            ("simulate users", True),
            ("write events", True),
        ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("users", 19),
        ("stories", 0),
        ("events", -1),
        ("days", 1),
        ("seed", -1),
        ("ends_at", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("ends_at", datetime(2026, 11, 20)),  # noqa: DTZ001 - a time without a zone is the case
    ],
)
def test_config_out_of_bounds_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        WorldConfig(**{"ends_at": ENDS_AT, field: value})


def test_the_smallest_world_works(tmp_path: Path) -> None:
    summary = simulate(WorldConfig(users=20, stories=50, events=100, days=2, ends_at=ENDS_AT), tmp_path / "lake")
    assert summary.events > 0
