"""Progress bars for work that may be watched or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.progress import Progress


@contextmanager
def bar(progress: Progress | None, what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """A bar while the work lasts, full at its end; yields what advances it by one. `progress` None: nothing is shown."""
    if progress is None:
        yield lambda: None
        return
    task = progress.add_task(what, total=total)
    yield partial(progress.advance, task)
    progress.update(task, total=total or 1, completed=total or 1)
