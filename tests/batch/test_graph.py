"""The graph is checked when it is imported, and gives jobs in an order in which they can run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from batch.graph import JOBS, closure, order, validate


def test_every_job_comes_after_what_it_reads() -> None:
    done: set[str] = set()
    for job in order([job.name for job in JOBS]):
        assert not ({read for read in job.reads if read in {j.name for j in JOBS}} - done), job
        done.add(job.name)
    assert len(done) == len(JOBS)


def test_a_job_that_looks_back_runs_only_when_it_is_named() -> None:
    assert {job.name for job in JOBS} - {job.name for job in order()} == {"training_examples"}
    assert [job.name for job in order(["training_examples"])] == ["training_examples"]


def test_closure_is_the_job_and_all_it_needs_and_nothing_else() -> None:
    needed = [job.name for job in closure("top_stories")]
    # Counters need events, and events need stories to know which stories there are.
    assert needed == ["valid_stories", "valid_events", "story_counters", "top_stories"]


def test_an_unknown_job_is_named_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="no job 'nonsense'; known: valid_stories"):
        order(["nonsense"])


def test_a_graph_with_a_read_that_nothing_writes_is_refused() -> None:
    broken = (*JOBS[:-1], replace(JOBS[-1], reads=("nowhere",)))
    with pytest.raises(ValueError, match="reads \\['nowhere'\\], which nothing writes"):
        validate(broken)


def test_a_graph_that_runs_in_a_circle_is_refused() -> None:
    circular = (replace(JOBS[0], reads=("valid_events",)), *JOBS[1:])
    with pytest.raises(ValueError, match="the jobs form a circle"):
        validate(circular)


def test_a_dataset_without_a_writer_is_refused() -> None:
    with pytest.raises(ValueError, match="differ: \\['training_examples'\\]"):
        validate(JOBS[:-1])


@pytest.mark.process
def test_importing_the_graph_does_not_import_spark() -> None:
    code = "import sys, batch.graph; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
