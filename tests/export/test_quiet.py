"""Stages called from a program: nothing is printed, progress goes to what they are given, results come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from micro_yolo.pipeline import convert, debug, edge, evaluate, predict, report, stages
from micro_yolo.pipeline.show.screen import Advance, Show


class Recorder(Show):
    """Keeps what it is told: how far each bar came, and the lines."""

    def __init__(self) -> None:
        self.bars: dict[str, tuple[int, int]] = {}
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Advance]:
        done = 0

        def advance(n: int = 1) -> None:
            nonlocal done
            done += n

        yield advance
        self.bars[title.split(" ")[0]] = (done, total)


@pytest.fixture(scope="module")
def finished_run(briefest_run: Path) -> Path:
    return briefest_run


def test_nothing_is_printed_by_a_stage_that_is_called(
    own_run: Path, tiny_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = convert.run(convert.Config(run=own_run, int8=True, samples=4))
    (file,) = made.files
    assert (made.export, file.path) == (file.path.parent, own_run / "export" / "model_int8.tflite")
    assert file.n_bytes == file.path.stat().st_size and max(file.differences.values()) < 0.05
    compared = stages.run(stages.Config(run=own_run, runs=1))
    assert [entry.variant for entry in compared.entries] == ["float32", "int8"]
    found = debug.run(debug.Config(run=own_run, images=2, keep=(1,)))
    assert [score.name for score in found.scores] == ["float32", "int8", "keep1"]
    page = report.run(report.Config(run=own_run, samples=1)).page
    assert page.is_file()
    predicted = predict.run(predict.Config((tiny_data / "images",), model=file.path, out=tmp_path / "out"))
    assert len(predicted.images) == 16
    assert edge.run(edge.Config((file.path,), target="edgetpu")).written is None
    assert capfd.readouterr() == ("", "")


def test_progress_goes_to_what_is_given(own_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    show = Recorder()
    (file,) = convert.run(convert.Config(run=own_run, int8=True, samples=4)).files
    evaluate.run(evaluate.Config(model=file.path), show)
    predict.run(predict.Config((tiny_data / "images",), model=file.path, out=tmp_path / "out"), show)
    edge.run(edge.Config((file.path,), target="edgetpu,ethos-u55-64"), show)
    assert show.bars == {str(file.path): (4, 4), "predicting": (16, 16), "compiling": (2, 2)}
    assert show.lines == []
    stages.run(stages.Config(run=own_run, runs=1), show)
    begun = [line.split(" ")[0] for line in show.lines]
    assert begun == [str(own_run / "train"), "next:", "measuring", "measuring"]
