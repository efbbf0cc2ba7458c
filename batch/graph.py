"""The whole batch graph. A job is named after the dataset it writes, and so is its function, which takes what it reads, by name.

A job's function is pure: Spark DataFrames in, one DataFrame out. It also gets `context`, the moments (`as_of`) to compute for
in one pass, and asks batch/point_in_time.py what each of them may see; every row it returns names its `as_of`. The first five
jobs, which read the raw lake, return bad rows too, with a `reason`, and batch/run.py sends those to quarantine. batch/run.py reads
the inputs, checks and writes the outputs.

Airflow's DAG, docs/batch-graph.md and batch/run.py come from JOBS. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from features.derived_datasets import DERIVED
from features.raw_datasets import RAW


@dataclass(frozen=True, slots=True)
class Job:
    """Writes the derived dataset `name` from the datasets it `reads`."""

    name: str
    reads: tuple[str, ...]
    run: str
    """`module:function`; the function is pure: DataFrames in (by the names in `reads`), one DataFrame out."""
    validates: str = ""
    """The raw dataset whose rows this job judges; empty: it reads only what has been judged."""
    looks_back: tuple[str, ...] = ()
    """Those of `reads` that it reads of all earlier as_ofs of the schedule, as moments (see batch/moments/), where another job reads
    those of the as_of itself, as DataFrames. It runs only when it is named: a lake has no such past at first."""

    @property
    def file(self) -> str:
        """Where the function is."""
        return self.run.partition(":")[0].replace(".", "/") + ".py"


def _validate(raw: str, *more: str) -> Job:
    return Job(f"valid_{raw}", (raw, *more), f"batch.jobs.validated:valid_{raw}", validates=raw)


def _derive(name: str, *reads: str, module: str = "", looks_back: tuple[str, ...] = ()) -> Job:
    return Job(name, (*reads, *looks_back), f"batch.jobs.{module or name}:{name}", looks_back=looks_back)


RANKED_BY = (
    "story_features",
    "author_features",
    "publication_features",
    "topic_features",
    "language_features",
    "user_profiles",
    "user_author_affinity",
    "user_publication_affinity",
    "user_topic_affinity",
    "als_vectors",
    "similar_stories",
    "top_stories",
)
"""Derived datasets that the service ranks by: a snapshot is built from them, and training examples from those of earlier days."""

JOBS = (
    # What came in, checked and deduplicated.
    _validate("stories"),
    _validate("users"),
    _validate("edges"),
    _validate("events", "valid_stories"),
    _validate("promotions"),
    # How stories do, and their authors, publications, topics and languages; what is trending.
    _derive("story_counters", "valid_events"),
    _derive("author_features", "story_counters", "valid_stories", "valid_edges", module="rates"),
    _derive("publication_features", "story_counters", "valid_stories", module="rates"),
    _derive("topic_features", "story_counters", "valid_stories", module="rates"),
    _derive("language_features", "story_counters", "valid_stories", module="rates"),
    _derive("story_features", "story_counters", "valid_stories", "author_features", module="rates"),
    _derive("top_stories", "story_counters", "valid_stories"),
    # Who likes what: profiles, affinities, ALS vectors (matrix factorisation), stories with the same users.
    _derive("user_profiles", "valid_users", "valid_edges", "valid_events"),
    _derive("user_author_affinity", "valid_events", "valid_stories", module="affinities"),
    _derive("user_publication_affinity", "valid_events", "valid_stories", module="affinities"),
    _derive("user_topic_affinity", "valid_events", "valid_stories", module="affinities"),
    _derive("als_vectors", "valid_events"),
    _derive("similar_stories", "valid_events"),
    # What models learn from; only when asked for.
    _derive(
        "training_examples",
        "valid_events",
        "valid_stories",
        "valid_edges",
        looks_back=(*RANKED_BY, "valid_promotions"),
    ),
)

BY_NAME = {job.name: job for job in JOBS}


def order(names: Iterable[str] | None = None) -> list[Job]:
    """The jobs `names` (by default all that do not look back) so that each comes after what it reads, in waves.

    KeyError with the known names when there is no such job.
    """
    wanted = {job.name for job in JOBS if not job.looks_back} if names is None else {_job(name).name for name in names}
    sorter = TopologicalSorter({job.name: [r for r in job.reads if r in BY_NAME] for job in JOBS})
    return [BY_NAME[name] for name in sorter.static_order() if name in wanted]


def closure(name: str) -> list[Job]:
    """The job `name` and everything it needs, in order."""
    found: set[str] = set()
    to_visit = [name]
    while to_visit:
        job = _job(to_visit.pop())
        if job.name not in found:
            found.add(job.name)
            to_visit.extend(read for read in job.reads if read in BY_NAME)
    return order(found)


def validate(jobs: tuple[Job, ...]) -> None:
    """ValueError unless every dataset has one writer, every read is raw or written, and no job needs its own output."""
    written = [job.name for job in jobs]
    raw = {dataset.name for dataset in RAW}
    if sorted(written) != sorted(dataset.name for dataset in DERIVED):
        raise ValueError(
            f"jobs and derived datasets differ: {sorted(set(written) ^ {d.name for d in DERIVED}) or 'a job is named twice'}"
        )
    for job in jobs:
        if lost := set(job.reads) - set(written) - raw:
            raise ValueError(f"job {job.name} reads {sorted(lost)}, which nothing writes")
    try:
        TopologicalSorter({job.name: job.reads for job in jobs}).prepare()
    except CycleError as error:
        raise ValueError(f"the jobs form a circle: {' -> '.join(error.args[1])}") from error


def _job(name: str) -> Job:
    try:
        return BY_NAME[name]
    except KeyError:
        raise KeyError(f"no job {name!r}; known: {', '.join(BY_NAME)}") from None


validate(JOBS)
