"""What a ranking may learn from in a protocol: which rows, what they weigh, and that nothing is known too early."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.protocols import PROTOCOLS
from evaluation.reading_log import Log, read_log
from evaluation.sampled_examples import BALANCE, DRAWN, DRAWN_A_READ, NEWEST_DRAWN, Sample, examples_by, sample
from evaluation.task import Split, Task
from features.arrays import I32
from features.errors import BadInput
from learning.examples import FEATURE_NAMES
from online.columns import Candidates
from tests.evaluation.logs import at, interactions
from tests.lakes import write_lake

STORIES = 400


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Thirty users read eight stories a day for twelve days, of 400 that were out before."""
    rng = np.random.default_rng(9)
    stories = [{"story_id": f"s{i:03d}", "published_at": at(-1 + i / STORIES)} for i in range(STORIES)]
    rows = [
        (f"u{u:02d}", f"s{s:03d}", day + 0.5)
        for u in range(30)
        for day, of_day in enumerate(rng.permutation(STORIES)[: 12 * 8].reshape(12, 8).tolist())
        for s in of_day
    ]
    return read_log(write_lake(tmp_path_factory.mktemp("lake"), stories=stories, events=interactions(rows)))


@pytest.fixture(scope="module")
def split(log: Log) -> Split:
    return PROTOCOLS["rolling"](log, None)


def everything(log: Log, task: Task) -> Sample:
    """A sample about candidates whose features are all their own number."""

    def candidates(user: int) -> tuple[Candidates, I32]:
        story = np.argsort(log.published_us, kind="stable").astype(np.int32)  # rows are by date
        values = story.astype(np.float32)
        return Candidates(np.arange(STORIES, dtype=np.int32), np.ones(STORIES, np.uint32), dict.fromkeys(FEATURE_NAMES, values)), story  # fmt: skip

    return sample(log, task, candidates)


def test_all_reads_are_there_and_others_stand_for_all_that_were_not_read(log: Log, split: Split) -> None:
    task = split.teaching[0]
    one = everything(log, task)
    for place, user in enumerate(task.users):
        mine = one.user == user
        reads = (task.asked == place).sum()
        assert sorted(one.story[mine & one.read]) == sorted(task.positives[task.asked == place])
        assert (one.weight[mine & one.read] == 1).all()
        assert one.weight[mine & ~one.read].sum() == pytest.approx(BALANCE * reads)
        newest = np.isin(one.story, np.argsort(log.published_us, kind="stable")[-NEWEST_DRAWN - reads :])
        assert (mine & ~one.read & newest).sum() >= DRAWN + DRAWN_A_READ * reads
        assert len(np.unique(one.story[mine])) == mine.sum()
    assert (one.features[:, 0] == one.story).all()


def test_a_draw_follows_from_the_moment_and_the_user(log: Log, split: Split) -> None:
    one, again, other = (everything(log, task) for task in (split.teaching[0], split.teaching[0], split.teaching[1]))
    assert (one.story == again.story).all()
    assert not np.array_equal(one.story[: len(other.story)], other.story[: len(one.story)])


def test_a_day_teaches_nothing_before_its_reads_are_known(log: Log, split: Split) -> None:
    samples = [everything(log, task) for task in split.teaching]
    first, last = split.tasks[0], split.teaching[-1]
    examples = examples_by(log, split, samples, first)
    assert examples.shown_at.max() == last.at_us
    assert examples.labels["read"].sum() == sum(one.read.sum() for one in samples)
    early = examples_by(log, split, samples, last)  # of the last teaching day itself nothing is known at its start
    assert early.shown_at.max() < last.at_us


def test_split_at_random_users_are_spread_over_the_slices(log: Log) -> None:
    split = PROTOCOLS["random"](log, None)
    samples = [everything(log, task) for task in split.teaching]
    examples = examples_by(log, split, samples, split.tasks[0])
    assert len(np.unique(examples.shown_at)) == len(np.unique(examples.request))
    assert not examples.labels["open"].any(), "what is asked for is whether it is read"


def test_too_little_to_learn_from_is_refused(log: Log, split: Split) -> None:
    with pytest.raises(BadInput, match="at least 1000 are needed"):
        examples_by(log, split, [], split.tasks[0])


def test_teaching_never_sees_what_is_tested(log: Log) -> None:
    for name, protocol in PROTOCOLS.items():
        split = protocol(log, None) if name != "published" else protocol(log, 20)
        first = split.tasks[0]
        assert split.teaching, name
        for task in split.teaching:
            hidden = log.pair[~first.known]
            asked = task.users[task.asked].astype(np.int64) * log.stories + task.positives
            assert not np.isin(asked, hidden).any(), name
            assert not (task.known & ~first.known).any(), name
