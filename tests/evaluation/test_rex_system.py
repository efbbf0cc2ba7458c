"""Rex evaluated through its own batch and pipeline, on a lake of a few users; and lists for many users."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.moments.lake_snapshot import load
from batch.run import run
from batch.settings import BatchSettings
from evaluation.protocols import PROTOCOLS
from evaluation.ranking import LAST, ranked
from evaluation.reading_log import Log, read_log
from evaluation.split_snapshots import REFIT_D, SplitSnapshots, as_of, make_known_lake, moments
from evaluation.systems.rex import Rex
from evaluation.systems.simple import NewestFirst
from evaluation.task import Split, Task, sampled
from features.errors import BadInput
from online.components import default_components
from online.rankers.learned import Learned
from online.rankers.weighted import Weight, Weighted
from rex.bulk_ranking import RANKED, is_computed, rank, read_users
from tests.evaluation.logs import at, interactions
from tests.lakes import ANY_NAME, write_lake

NOW = datetime(2026, 2, 1, tzinfo=UTC)
RECENCY = Weighted((Weight("recency", 1.0, "must order as newest first does"),), "recency-only")
SETTINGS = BatchSettings(shuffle_partitions=1, als_rank=4, als_iterations=2)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two circles of six read their own stories for ten days, some of which came out that very day."""
    rng = np.random.default_rng(2)
    stories = [
        {"story_id": f"{c}{i:02d}", "published_at": at(i / 4), "author_id": f"w{c}{i % 3}"}
        for c in "ab"
        for i in range(40)
    ]
    rows = [
        (f"{c}-reader{u}", f"{c}{s:02d}", s / 4 + 0.3 + float(rng.random()))
        for c in "ab"
        for u in range(6)
        for s in rng.permutation(38)[:20]
    ]
    return write_lake(tmp_path_factory.mktemp("lake") / ANY_NAME, stories=stories, events=interactions(rows))


@pytest.fixture(scope="module")
def log(lake: Path) -> Log:
    return read_log(lake)


@pytest.fixture(scope="module")
def split(log: Log) -> Split:
    return PROTOCOLS["rolling"](log, None)


@pytest.fixture(scope="module")
def snapshots(
    spark: SparkSession, lake: Path, log: Log, split: Split, tmp_path_factory: pytest.TempPathFactory
) -> SplitSnapshots:
    """Prepared for the rolling protocol; the batch runs once for all tests here."""
    snapshots = SplitSnapshots(lake, tmp_path_factory.mktemp("rolling") / "rex", now=NOW, batch=SETTINGS)
    snapshots.prepare(log, split)
    return snapshots


@pytest.fixture(scope="module")
def rolling(snapshots: SplitSnapshots, log: Log, split: Split) -> Rex:
    """By the named weights."""
    system = Rex(snapshots, ranker=Weighted())
    system.prepare(log, split)
    return system


def test_a_ranker_of_recency_alone_ranks_as_newest_first(snapshots: SplitSnapshots, log: Log, split: Split) -> None:
    """Two systems that share nothing but the lake: Rex's batch and pipeline, and a sort of publication dates."""
    rex = Rex(snapshots, ranker=RECENCY)
    rex.prepare(log, split)
    newest = NewestFirst()
    assert len(split.tasks) > 1
    for task in split.tasks:
        rex.fit(log, task)
        newest.fit(log, task)
        published = np.append(log.published_us, 0)
        dates = [published[ranked(log, task, system).top] for system in (rex, newest)]
        assert (
            dates[0] == dates[1]
        ).all()  # both circles have a story of every date, so dates are what can be compared


def test_snapshots_know_nothing_of_the_day_they_are_judged_on(rolling: Rex, log: Log, split: Split) -> None:
    for task in split.tasks:
        rolling.fit(log, task)
        table = rolling._offline.story_table
        assert table.published_at.max() < task.at_us
        assert len(table) == task.live.sum()
        for user in task.users:
            state = rolling._offline.user(log.user_ids[int(user)].as_py())
            mine = task.known & (log.user == user)
            assert len(state.profile["read"]) == len(np.unique(log.story[mine]))


def first_of(split: Split) -> Task:
    """The first moment of all, at which is fitted."""
    return (*split.teaching, *split.tasks)[0]


@pytest.fixture(scope="module")
def alone(
    spark: SparkSession, lake: Path, split: Split, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, datetime]:
    """The same raw lake with the first moment computed by a run of its own."""
    copy = tmp_path_factory.mktemp("alone")
    (copy / "raw").symlink_to(lake / "raw", target_is_directory=True)
    moment = as_of(first_of(split).at_us)
    run(copy, (moment,), now=NOW, settings=SETTINGS)
    return copy, moment


def test_one_of_many_moments_is_the_snapshot_that_a_run_of_it_alone_makes(
    rolling: Rex, log: Log, split: Split, alone: tuple[Path, datetime]
) -> None:
    """The first moment, whose fits are its own, in every array of the story table and every byte of the profiles."""
    rolling.fit(log, first_of(split))
    many, one = rolling._offline, load(*alone)
    assert many.story_table.static.keys() == one.story_table.static.keys()
    for name, values in one.story_table.static.items():
        assert (many.story_table.static[name] == values).all(), name
    assert many.story_table.snapshot_ids.equals(one.story_table.snapshot_ids)
    assert (many.story_table.vectors == one.story_table.vectors).all()
    assert (many.story_table.similar == one.story_table.similar).all()
    assert (many.users.hashes == one.users.hashes).all()
    assert all(many.users.profile(i) == one.users.profile(i) for i in range(len(one.users.hashes)))


def test_rex_scores_every_story_that_is_live_and_unread(rolling: Rex, log: Log, split: Split) -> None:
    task = split.tasks[-1]
    rolling.fit(log, task)
    scores = rolling.scores(task.users)
    for row, user in enumerate(task.users):
        eligible = task.live.copy()
        eligible[log.story[task.known & (log.user == user)]] = False
        assert (np.isfinite(scores[row]) == eligible).all()
        assert (scores[row][~eligible] == LAST).all()


def test_blocks_of_a_sampled_protocol_rank_as_one_list_does(
    rolling: Rex, log: Log, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = split.tasks[-1]
    pooled = sampled(log, full, 5)
    rolling.fit(log, full)
    whole = rolling.scores(full.users)
    monkeypatch.setattr(rolling, "_task", pooled)
    small = replace(rolling._online, cache=replace(rolling._online.cache, slate_size=3))
    monkeypatch.setattr(rolling, "_online", small)
    assert (rolling.scores(pooled.users) == whole).all()


def test_models_take_over_from_the_named_weights_once_there_is_enough_to_learn_from(
    snapshots: SplitSnapshots, log: Log, split: Split, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rex = Rex(snapshots, fit_s=1)
    rex.prepare(log, split)
    with monkeypatch.context() as scarce:
        scarce.setattr("learning.examples.MIN_EXAMPLES", 10**9)
        rex.fit(log, split.tasks[0])
        assert isinstance(rex._ranker, Weighted)
        assert "goes on with weighted-1: the training set has" in caplog.text
    rex.fit(log, split.tasks[0])
    assert isinstance(rex._ranker, Learned)
    task = split.tasks[0]
    scores = rex.scores(task.users)
    eligible = task.live.copy()
    eligible[log.story[task.known & (log.user == task.users[0])]] = False
    assert (np.isfinite(scores[0]) == eligible).all()


def test_hidden_stories_are_nowhere_in_the_lake_that_rex_learns_from(tmp_path: Path) -> None:
    """Not even as an impression or a hide; what is not hidden is all there, and so are the stories."""
    stories = [{"story_id": f"s{i}", "published_at": at(0)} for i in range(10)]
    pairs = [(f"u{u}", f"s{s}", 1 + u / 10) for u in range(6) for s in range(10)]
    shown = [*interactions(pairs), *interactions(pairs, "impression"), *interactions(pairs[::7], "hide")]
    source = write_lake(tmp_path / "lake", stories=stories, events=shown)
    log = read_log(source)
    split = PROTOCOLS["random"](log, None)
    (task,) = split.tasks
    make_known_lake(source, tmp_path / "made", log, split.by_time, task)
    hidden = {
        (log.user_ids[int(task.users[a])].as_py(), log.story_ids[int(s)].as_py())
        for a, s in zip(task.asked, task.positives, strict=True)
    }
    left = duckdb.sql(f"SELECT user_id, story_id FROM '{tmp_path}/made/raw/events/**/*.parquet'").fetchall()
    assert hidden
    assert sorted(left) == sorted(
        (e["user_id"], e["story_id"]) for e in shown if (e["user_id"], e["story_id"]) not in hidden
    )
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/made/raw/stories/*.parquet'").fetchall() == [(10,)]


def test_fits_are_a_week_apart_and_never_after_what_uses_them(log: Log) -> None:
    when = moments(PROTOCOLS["rolling"](log, None).tasks)
    assert when.fits[0] == when.as_ofs[0]
    assert when.fits[-1] == when.as_ofs[-1]
    assert all((b - a).days >= REFIT_D for a, b in zip(when.fits[1:], when.fits[2:], strict=False))
    assert all(when.fitted(moment) <= moment for moment in when.as_ofs)


def test_an_as_of_is_the_last_whole_second_before_the_moment() -> None:
    midnight = 86_400_000_000
    assert as_of(midnight) == datetime(1970, 1, 1, 23, 59, 59, tzinfo=UTC)
    assert as_of(midnight + 1) == datetime(1970, 1, 2, tzinfo=UTC)


class TestRank:
    def test_lists_are_complete_ordered_and_the_same_again(self, alone: tuple[Path, datetime], tmp_path: Path) -> None:
        lake, moment = alone
        out = tmp_path / "ranked.parquet"
        rows = rank(lake, moment, out, now=NOW, top=5, batch=SETTINGS)
        first = out.read_bytes()
        table = pq.read_table(out)
        assert table.schema.equals(RANKED)
        assert rows == table.num_rows == 12 * 5
        assert table["position"].to_pylist() == [0, 1, 2, 3, 4] * 12
        assert table["user_id"].to_pylist() == sorted(table["user_id"].to_pylist())
        assert set(table["reason"].to_pylist()) <= {provider.reason for provider in default_components().providers}
        rank(lake, moment, out, now=NOW, top=5, batch=SETTINGS)
        assert out.read_bytes() == first

    def test_users_are_taken_from_a_file_newcomers_included(self, alone: tuple[Path, datetime], tmp_path: Path) -> None:
        users = tmp_path / "users.txt"
        users.write_text("b-reader1\n\nnewcomer\n")
        out = tmp_path / "ranked.parquet"
        rank(*alone, out, now=NOW, users=read_users(users), top=3, batch=SETTINGS)
        assert pq.read_table(out)["user_id"].to_pylist() == ["b-reader1"] * 3 + ["newcomer"] * 3

    def test_what_is_computed_is_seen(self, alone: tuple[Path, datetime], lake: Path) -> None:
        assert is_computed(*alone)
        assert not is_computed(lake, alone[1])

    def test_bad_wishes_are_refused_before_anything_runs(self, lake: Path, tmp_path: Path) -> None:
        out = tmp_path / "ranked.parquet"
        with pytest.raises(BadInput, match="from 1 to 1000"):
            rank(lake, NOW, out, now=NOW, top=0)
        with pytest.raises(BadInput, match="named twice"):
            rank(lake, NOW, out, now=NOW, users=["u", "u"])
        (tmp_path / "nobody.txt").write_text("\n")
        with pytest.raises(BadInput, match="names nobody"):
            read_users(tmp_path / "nobody.txt")
        assert not out.exists()
