"""What long work shows: a bar with the losses and the time left, and one lasting line an epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LOSSES = ("total", "box", "objectness", "classes")


class TrainingProgress:
    """Use as a context manager around a `Trainer`'s work.

    `title` stands before the number of each epoch, for those who train more than once.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.title = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[losses]}"),
            console=self.console,
            transient=True,
        )
        self._task: Any = None
        self._started = time.perf_counter()
        self._epochs_here = 0

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, epoch: int, step: int, steps: int, losses: dict[str, float]) -> None:
        """One batch is done; `losses` are the epoch's means so far."""
        if self._task is None:
            self._task = self._bar.add_task("", total=steps, losses="")
        text = "  ".join(f"{name} {losses[name]:.3f}" for name in _LOSSES)
        self._bar.update(self._task, completed=step, total=steps, description=f"{self.title}epoch {epoch}", losses=text)

    def epoch(self, row: dict[str, Any], epochs: int) -> None:
        """One epoch is done; `row` is its line of the history."""
        self._epochs_here += 1
        left = (time.perf_counter() - self._started) / self._epochs_here * (epochs - row["epoch"])
        losses = "  ".join(f"{name} {row[name]:.3f}" for name in _LOSSES)
        measured = f"  AP {row['AP']:.1f}  AP50 {row['AP50']:.1f}" if row["AP"] is not None else ""
        self.console.print(
            f"{self.title}epoch {row['epoch']}/{epochs}  {losses}{measured}  {row['images_per_second']:.1f} images/s  "
            f"{int(left // 60)}:{int(left % 60):02d} left",
            soft_wrap=True,
            highlight=False,
        )

    def work(self, what: str, steps: Iterator[Any], total: int) -> Iterator[Any]:
        """`steps` again, shown as a bar named `what`."""
        task = self._bar.add_task(what, total=total, losses="")
        for item in steps:
            yield item
            self._bar.advance(task)
        self._bar.remove_task(task)
