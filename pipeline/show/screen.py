"""What a stage tells while it works: nothing to a program that called it, lines and bars to people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from micro_yolo.model.printable import harmless
from micro_yolo.pipeline.show.terminal import Terminal
from micro_yolo.pipeline.store.history import losses_of, measured_of

Advance = Callable[..., None]


class Show:
    """Takes what a stage reports and shows nothing of it. `Screen` shows it; others may do something else with it."""

    @property
    def title(self) -> str:
        """Stands before the number of each epoch, for those who train more than once."""
        return ""

    @title.setter
    def title(self, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        """A line for people."""

    def draw(self, table: RenderableType) -> None:
        """A table, or whatever else rich can draw."""

    def warn(self, text: str) -> None:
        """Something that a user should know and that stops nothing; `text` without the word warning."""

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Advance]:
        """While the block runs, how far it is: it calls ``advance(n=1)`` for each of `total` that is done."""
        yield lambda n=1: None

    def step(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """One batch is done; `losses` are the epoch's means so far."""

    def epoch(self, row: Mapping[str, Any], epochs: int) -> None:
        """One of `epochs` is done; `row` is its line of the history."""


QUIET = Show()


class Screen(Show):
    """Lines on stdout; warnings and bars beside them on stderr, or among them. Use as a context manager.

    Bars are drawn on terminals only, and go when their work is done.
    """

    def __init__(self, notices: Literal["stdout", "stderr"] = "stderr") -> None:
        """`notices`: where warnings and bars go."""
        self._title = ""
        self._lines = Terminal()
        self._notices = Terminal(stderr=True) if notices == "stderr" else self._lines
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[losses]}"),
            console=self._notices,
            transient=True,
            disable=not self._notices.is_terminal,
        )
        self._epoch_bar: TaskID | None = None
        self._started: float | None = None
        self._epochs_here = 0

    @property
    def title(self) -> str:
        """Stands before the number of each epoch, for those who train more than once."""
        return self._title

    @title.setter
    def title(self, text: str) -> None:
        self._title = text

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        # Also after Ctrl-C in the middle of an epoch, or the terminal would stay without its cursor.
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print the line as it is."""
        _print(self._lines, text)

    def draw(self, table: RenderableType) -> None:
        """Print the table."""
        self._lines.print(table)

    def warn(self, text: str) -> None:
        """Print ``warning: text``."""
        _print(self._notices, f"warning: {text}")

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Advance]:
        """A bar named `title` until the block ends."""
        task = self._begin(title, total)
        try:
            yield lambda n=1: self._bars.advance(task, n)
        finally:
            self._end(task)

    def step(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """The bar of the epoch, with the losses."""
        if self._started is None:
            self._started, self._epochs_here = time.perf_counter(), 0
        if self._epoch_bar is None:
            self._epoch_bar = self._begin("", steps)
        self._bars.update(
            self._epoch_bar, completed=step, description=f"{self.title}epoch {epoch}", losses=_figures(losses)
        )

    def epoch(self, row: Mapping[str, Any], epochs: int) -> None:
        """A lasting line: losses, what was measured, and the time left of this training."""
        if self._epoch_bar is not None:
            self._end(self._epoch_bar)
            self._epoch_bar = None
        self._epochs_here += 1
        spent = 0.0 if self._started is None else time.perf_counter() - self._started
        left = spent / self._epochs_here * (epochs - row["epoch"])
        measured = "".join(f"  {name} {value:.1f}" for name, value in measured_of(row).items())
        self.say(
            f"{self.title}epoch {row['epoch']}/{epochs}  {_figures(row)}{measured}  "
            f"{row['images_per_second']:.1f} images/s  {int(left // 60)}:{int(left % 60):02d} left"
        )
        if row["epoch"] == epochs:
            self._started = None

    def _begin(self, title: str, total: int) -> TaskID:
        self._bars.start()
        return self._bars.add_task(harmless(title), total=total, losses="")

    def _end(self, task: TaskID) -> None:
        self._bars.remove_task(task)
        if not self._bars.task_ids:
            self._bars.stop()


def _print(console: Terminal, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)


def _figures(row: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {row[name]:.3f}" for name in losses_of(row))
