"""What a stage tells: nothing unless somebody listens, lines where the output is no terminal, bars where it is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from micro_yolo.pipeline.show.screen import QUIET, Screen, Show

ROW: dict[str, Any] = {
    "epoch": 1,
    "images": 8,
    "learning_rate": 0.001,
    "total": 3.5,
    "box": 1.0,
    "centre": 2.5,
    "gradient_norm": 9.0,
    "AP": None,
    "AP50": None,
    "seconds": 2.0,
    "images_per_second": 4.0,
}
LOSSES = {"total": 3.5, "box": 1.0, "centre": 2.5, "gradient_norm": 9.0}


def work(show: Show) -> None:
    show.say("a [bold]line[/bold] :smile: of " + "words " * 60)
    show.warn("it is odd")
    with show.bar("decoding", 3) as advance:
        advance()
        advance(n=2)
    show.title = "step 2, "
    for step in (1, 2):
        show.step(1, step, 2, LOSSES)
    show.epoch(ROW, 2)
    show.step(2, 1, 2, LOSSES)
    show.epoch(ROW | {"epoch": 2, "AP": 12.34, "AP50": 56.78}, 2)


def test_quiet_says_nothing_and_remembers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    work(QUIET)
    assert capsys.readouterr() == ("", "")
    assert QUIET.title == "" and vars(QUIET) == {}


@pytest.mark.parametrize("notices", ["stdout", "stderr"])
def test_without_a_terminal_there_are_lines_only(notices: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(notices) as show:
        work(show)
    out, err = capsys.readouterr()
    warning = "warning: it is odd"
    assert err == (f"{warning}\n" if notices == "stderr" else "")
    lines = out.splitlines()
    assert lines.pop(0) == "a [bold]line[/bold] :smile: of " + "words " * 60
    if notices == "stdout":
        assert lines.pop(0) == warning
    # The names of the losses are those that were reported.
    first, second = lines
    assert first.startswith("step 2, epoch 1/2  total 3.500  box 1.000  centre 2.500  4.0 images/s  0:0")
    assert second.startswith(
        "step 2, epoch 2/2  total 3.500  box 1.000  centre 2.500  AP 12.3  AP50 56.8  4.0 images/s"
    )
    assert second.endswith(" 0:00 left")


def test_a_terminal_has_bars_that_go(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with Screen() as show, show.bar("decoding", 2) as outer:
        outer()
        with show.bar("reading", 5) as inner:
            inner(3)
        show.step(1, 1, 2, LOSSES)
        # Bars are drawn ten times a second.
        time.sleep(0.3)
        show.epoch(ROW, 2)
    shown = capsys.readouterr().err
    for word in ("decoding", "1/2", "reading", "epoch 1", "centre 2.500"):
        assert word in shown
    assert "gradient" not in shown
    # The cursor is back.
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") > -1


def test_an_interrupted_epoch_leaves_the_terminal_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(KeyboardInterrupt), Screen("stdout") as show:
        show.step(1, 1, 2, LOSSES)
        raise KeyboardInterrupt
    shown = capsys.readouterr().out
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") > -1


def test_the_time_left_is_that_of_the_training_at_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 20.0, 1000.0, 1030.0])
    monkeypatch.setattr("micro_yolo.pipeline.show.screen.time.perf_counter", lambda: next(clock))
    with Screen() as show:
        for epochs, numbers in ((2, (1, 2)), (3, (1,))):
            for number in numbers:
                show.step(number, 1, 1, LOSSES)
                show.epoch(ROW | {"epoch": number}, epochs)
    left = [line.rsplit("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert left == ["0:10 left", "0:00 left", "1:00 left"]
