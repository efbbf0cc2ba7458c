"""`rex train`, as it is typed: what it releases, prints and leaves behind, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.constants import constants_version
from batch.settings import BatchSettings
from features.lake_layout import partition_name
from lake.models import file_of, last_release, released
from lake.simulator.config import WorldConfig
from lake.simulator.run import simulate
from online.rankers.models.model_file import decode
from tests.batch.feature_lake import write_partition
from tests.command import rex, rex_here
from tests.lakes import ANY_NAME

pytestmark = pytest.mark.process

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
LOGGED = AS_OF.isoformat()
QUICK = {
    # A small world, quickly learned from: the fixed cost of a job is most of what there is.
    "REX_BATCH_SHUFFLE_PARTITIONS": "2",
    "REX_BATCH_ALS_RANK": "4",
    "REX_BATCH_ALS_ITERATIONS": "2",
    "REX_BATCH_TRAINING_REFIT_D": "5",
    "REX_LEARNING_FIT_BUDGET_S": "1",
}


@dataclass(frozen=True)
class Trained:
    lake: Path
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A simulated world of eight days and what the command made of its last five; the only run of Spark here."""
    lake = tmp_path_factory.mktemp("trained") / ANY_NAME
    simulate(WorldConfig(users=300, stories=1500, events=40_000, days=9, ends_at=AS_OF), lake)
    said = rex("train", str(lake), "--as-of", LOGGED, "--days", "5", "--force", var=lake.parent, timeout_s=900, **QUICK)
    assert said.returncode == 0, said.stderr[-4000:]
    return Trained(lake, said)


def test_the_released_model_is_the_file_of_its_hash_and_can_be_used(trained: Trained) -> None:
    note = last_release(trained.lake)
    assert note is not None
    data = released(trained.lake)
    assert data == file_of(trained.lake, note.sha256).read_bytes()
    assert decode(data, note.sha256).about["days"]["held_out"][1] < LOGGED
    constants = constants_version(BatchSettings(als_rank=4, als_iterations=2))
    assert decode(data, note.sha256).about["constants"] == constants
    assert note.sha256[:16] in trained.said.stdout


def test_the_verdict_and_the_card_stand_beside_the_baselines(trained: Trained) -> None:
    note = last_release(trained.lake)
    assert note is not None
    card = (trained.lake / "models" / note.sha256 / "card.md").read_text()
    for ranking in ("model", "popularity", "recency", "hand_weighted"):
        assert ranking in trained.said.stdout
        assert f"| {ranking} |" in card
    assert "no negatives were sampled" in card


def test_only_what_was_missing_was_computed_and_fits_at_their_cadence(trained: Trained) -> None:
    features = trained.lake / "features"
    counters = sorted(path.name for path in (features / "story_counters").glob("as_of=*"))
    assert len(counters) == 5
    assert [path.name for path in (features / "als_vectors").glob("as_of=*")] == [counters[0]]
    assert len(list((features / "top_stories").glob("as_of=*"))) == 5, "all that a snapshot is made of"


def test_examples_of_days_without_a_fit_of_their_own_have_taste(trained: Trained) -> None:
    rows = pq.read_table(trained.lake / "features" / "training_examples" / partition_name(AS_OF), partitioning=None)
    moments = np.asarray(rows["features_as_of"].cast(pa.int64()))
    als_score = np.asarray(rows["als_score"])
    assert len(np.unique(moments)) == 5
    for moment in np.unique(moments):
        assert (als_score[moments == moment] != 0).any(), "the fit of an earlier moment does not reach this one"


class TestLearningFromExamplesThatAreThere:
    """The step after Spark, on a copy of the examples with one thing changed."""

    @pytest.fixture
    def changed(self, trained: Trained, tmp_path: Path) -> Callable[[Callable[[pa.Table], pa.Table]], Path]:
        """A lake whose examples are changed by a function; its earlier release is that of the trained lake."""

        def make(change: Callable[[pa.Table], pa.Table]) -> Path:
            lake = tmp_path / "lake"
            shutil.copytree(trained.lake / "models", lake / "models")
            folder = Path("features") / "training_examples" / partition_name(AS_OF)
            table = change(pq.read_table(trained.lake / folder, partitioning=None))
            write_partition(lake, "training_examples", table, AS_OF)
            return lake

        return make

    def refused(self, lake: Path, told: str) -> None:
        """The command ends with one sentence and leaves the earlier release."""
        before = released(lake)
        said = rex_here("train", str(lake), "--as-of", LOGGED, "--from-examples", var=lake.parent, **QUICK)
        assert said.returncode == 1, said.stdout
        assert told in " ".join(said.stderr.split())
        assert "Traceback" not in said.stderr
        assert released(lake) == before

    def test_too_few_impressions(self, changed: Callable[..., Path]) -> None:
        self.refused(
            changed(lambda table: table.slice(0, 500)), "the training set has 500 rows; at least 1000 are needed"
        )

    def test_one_class_only(self, changed: Callable[..., Path]) -> None:
        def without_outcomes(table: pa.Table) -> pa.Table:
            for name in ("open", "read", "positive_feedback", "negative_feedback"):
                table = table.set_column(table.column_names.index(name), name, pa.array(np.zeros(len(table), bool)))
            return table

        self.refused(changed(without_outcomes), "both classes of one are needed")

    def test_older_features(self, changed: Callable[..., Path]) -> None:
        self.refused(changed(lambda table: table.drop_columns(["als_score"])), "it is older than the registry")

    def test_newer_features(self, changed: Callable[..., Path]) -> None:
        more = lambda table: table.append_column("mood", pa.array(np.ones(len(table), np.float32)))  # noqa: E731
        self.refused(changed(more), "it is newer than the registry")

    def test_a_model_that_beats_nothing(self, changed: Callable[..., Path]) -> None:
        def by_chance(table: pa.Table) -> pa.Table:
            at = np.random.default_rng(1).permutation(len(table))
            for name in ("open", "read", "positive_feedback", "negative_feedback"):
                table = table.set_column(table.column_names.index(name), name, table[name].take(pa.array(at)))
            return table

        self.refused(changed(by_chance), "the model is not released")

    def test_a_constant_feature_is_left_out_and_told(self, changed: Callable[..., Path]) -> None:
        def flat(table: pa.Table) -> pa.Table:
            constant = pa.array(np.zeros(len(table), np.float32))
            return table.set_column(table.column_names.index("als_score"), "als_score", constant)

        lake = changed(flat)
        said = rex_here("train", str(lake), "--as-of", LOGGED, "--from-examples", "--force", var=lake.parent, **QUICK)
        assert said.returncode == 0, said.stderr
        note = last_release(lake)
        assert note is not None
        assert "als_score has one value in all rows" in (lake / "models" / note.sha256 / "card.md").read_text()


def test_a_lake_without_a_batch_is_told(tmp_path: Path) -> None:
    (tmp_path / "lake" / "raw").mkdir(parents=True)
    said = rex_here("train", str(tmp_path / "lake"), var=tmp_path)
    assert said.returncode == 1
    assert "rex batch" in said.stderr
