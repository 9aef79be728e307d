"""`--precision auto`: bfloat16 where steps are faster in it, and what it came to is what a run records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micro_yolo.model.keras import keras
from micro_yolo.model.spec import Arch
from micro_yolo.pipeline import train
from micro_yolo.pipeline.learn import precision
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs

ABLE = frozenset(("avx2", "avx512_bf16"))


class Heard(Show):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def finished_run(shallow_run: Path) -> Path:
    return shallow_run


@pytest.mark.parametrize(
    ("plain", "short", "came_to", "told"),
    [
        (0.5, 0.4, "bfloat16", "500 ms in float32, 400 in bfloat16 (1.25 times as fast)"),
        (0.5, 0.49, "float32", "500 ms in float32, 490 in bfloat16 (1.02 times as fast)"),
        (0.5, 1.0, "float32", "500 ms in float32, 1000 in bfloat16 (0.50 times as fast)"),
    ],
)
def test_what_is_faster_is_taken_and_said(
    plain: float, short: float, came_to: str, told: str, tiny: Arch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "flags", lambda: ABLE)
    # One slow step of three decides nothing.
    monkeypatch.setattr(precision, "_seconds", lambda *_: ([plain, plain, 9.0], [9.0, short, short]))
    heard = Heard()
    assert precision.faster(tiny, 4, heard) == came_to
    assert heard.lines == [f"precision: {came_to}; a step takes {told}"]


def test_it_is_not_tried_where_nothing_could_come_of_it(tiny: Arch, monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(*_: Any) -> None:
        raise AssertionError("tried")

    monkeypatch.setattr(precision, "_seconds", tried)
    monkeypatch.setattr(precision, "flags", lambda: frozenset(("avx2", "avx512f")))
    heard = Heard()
    assert precision.faster(tiny, 4, heard) == "float32"
    monkeypatch.setattr(precision, "flags", lambda: ABLE)
    monkeypatch.setattr(precision, "cluster", lambda: (0, 2))
    assert precision.faster(tiny, 4, heard) == "float32"
    first, second = heard.lines
    assert first == "precision: float32; this processor does not say that it multiplies bfloat16"
    assert second.startswith("precision: float32; one machine of several does not choose for all")


def test_both_are_timed_on_the_network_itself(tiny: Arch, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[set[str]] = []
    step = precision._step

    def seen(arch: Arch, batch: int, name: str) -> Any:
        assert (arch, batch) == (tiny, 2)
        made.append({name})
        return step(arch, batch, name)

    monkeypatch.setattr(precision, "_step", seen)
    plain, short = precision._seconds(tiny, 2)
    assert made == [{"float32"}, {"bfloat16"}]
    assert len(plain) == len(short) == 3 and min(*plain, *short) > 0
    assert keras.mixed_precision.global_policy().name == "float32"


def test_a_run_records_what_it_came_to_and_goes_on_so(
    finished_run: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(precision, "faster", lambda arch, batch, show: asked.append(batch) or "bfloat16")

    class Stops(Show):
        def epoch(self, row: Any, epochs: int) -> None:
            raise KeyboardInterrupt

    begun = train.Config(
        data=tiny_data,
        arch=str(finished_run / "train" / runs.ARCH),
        run=tmp_path / "run",
        batch=4,
        recipe=Recipe(epochs=2, plain_epochs=2),
        precision="auto",
    )
    with pytest.raises(KeyboardInterrupt):
        train.run(begun, Stops())
    file = tmp_path / "run" / "train" / runs.CONFIG
    assert runs.read_json(file)["settings"]["precision"] == "bfloat16"
    train.run(train.Config(run=tmp_path / "run", resume=True))
    assert asked == [4] and runs.read_json(file)["settings"]["precision"] == "bfloat16"
