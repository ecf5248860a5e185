"""Progress of an add on stderr, while it is a terminal."""

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from risedb.database import AddProgress


@contextmanager
def add_progress(total: int | None) -> "Iterator[Callable[[AddProgress], None] | None]":
    """Show documents, tokens, rate and, if the total is known, the time left."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents  {task.fields[tokens]:,} tokens  {task.fields[rate]:,.0f} tokens/s  left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("add", total=total, tokens=0, rate=0.0)

        def show(progress: "AddProgress") -> None:
            elapsed = max(bar.tasks[0].elapsed or 0.0, 1e-9)
            rate = progress.tokens / elapsed
            bar.update(task, completed=progress.documents, tokens=progress.tokens, rate=rate)

        yield show
