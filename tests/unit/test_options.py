"""Keyword arguments of the Python API are the options of the command lines, and become the stages' Config."""

from __future__ import annotations

import inspect
import types
import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest

import micro_yolo
from micro_yolo.options import call, configure
from micro_yolo.pipeline import benchmark, convert, evaluate, prune, qat, train
from micro_yolo.pipeline.data import Dataset
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli

# What the objects themselves say, or what only a command line can use.
STAGES = [
    (micro_yolo.train, train, set()),
    (micro_yolo.evaluate, evaluate, {"run", "model", "json"}),
    (micro_yolo.benchmark, benchmark, set()),
    (micro_yolo.Run.prune, prune, {"run"}),
    (micro_yolo.Run.quantize, qat, {"run"}),
    (micro_yolo.Run.convert, convert, {"run"}),
    (micro_yolo.Run.evaluate, evaluate, {"run", "model", "json"}),
]


def typed(config: type) -> set[str]:
    names = {option.removeprefix("--").removeprefix("no-").replace("-", "_") for option in cli.options(config)}
    return {"from_stage" if name == "from" else name for name in names - {"help"}}


@pytest.mark.parametrize(("function", "stage", "without"), STAGES, ids=lambda each: getattr(each, "__name__", ""))
def test_the_signature_lists_the_options_of_the_command(function: Any, stage: Any, without: set[str]) -> None:
    own = {"self", "show", "model", "models"}
    assert set(inspect.signature(function).parameters) - own == typed(stage.Config) - without


@pytest.mark.parametrize("stage", [train, prune, qat, convert, evaluate], ids=lambda each: each.__name__)
def test_defaults_are_the_commands(stage: Any) -> None:
    assert configure(stage.Config, {}) == stage.Config()


def test_the_signature_has_the_defaults_of_its_stage() -> None:
    epochs = [inspect.signature(f).parameters["epochs"].default for f in (micro_yolo.train, micro_yolo.Run.prune)]
    assert epochs == [None, 20]


def test_options_in_groups() -> None:
    made = configure(prune.Config, {"epochs": 3, "mosaic": 0, "batch": 2})
    assert made.recipe == Recipe(epochs=3, learning_rate=0.001, warmup_epochs=1.0)
    assert made.augment == Strength(mosaic=0)
    assert made.batch == 2


def test_values_become_what_the_command_would_make_of_them() -> None:
    dataset = Dataset(Path("set"), "coco", ("a",), (1,), {})
    made = configure(train.Config, {"data": dataset, "size": 320, "run": "runs/x", "learning_rate": 1, "resume": True})
    assert (made.data, made.size, made.run, made.resume) == (Path("set"), "320", Path("runs/x"), True)
    assert isinstance(made.recipe.learning_rate, float)
    assert configure(prune.Config, {"rows": ["l1", "l2.mid"]}).rows == ("l1", "l2.mid")
    assert configure(benchmark.Config, {"models": "a.tflite"}).models == (Path("a.tflite"),)
    assert configure(train.Config, {"data": None, "size": None}) == train.Config()


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("resize", "squash", "resize: unknown, got 'squash'; allowed: stretch, letterbox, mediapipe"),
        ("epochs", "3", "epochs: must be a whole number, got '3'"),
        ("epochs", True, "epochs: must be a whole number, got True"),
        ("epochs", 0, "epochs: must be above 0, got 0"),
        ("mosaic", "x", "mosaic: must be a number, got 'x'"),
        ("resume", 1, "resume: must be True or False, got 1"),
        ("data", 3, "data: must be a path, got 3"),
        ("arch", None, "arch: must be text, got None"),
    ],
)
def test_a_wrong_value_is_told_by_its_rule(option: str, value: Any, told: str) -> None:
    with pytest.raises(ValueError) as raised:
        configure(train.Config, {option: value})
    assert str(raised.value) == told


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"^epoch: unknown option; nearest: epochs$"):
        micro_yolo.train("data", epoch=3)
    with pytest.raises(TypeError, match=r"^qqqqq: unknown option; allowed: run, from_stage, float32, "):
        configure(convert.Config, {"qqqqq": 3})


def test_what_the_object_says_is_no_option() -> None:
    with pytest.raises(TypeError, match=r"^json: unknown option"):
        micro_yolo.evaluate("none.tflite", json=True)


def test_warnings_of_a_stage_are_pythons_unless_shown() -> None:
    class Heard(micro_yolo.Show):
        heard: ClassVar[list[str]] = []

        def warn(self, text: str) -> None:
            self.heard.append(text)

    def run(config: train.Config, show: micro_yolo.Show) -> train.Config:
        warnings.warn("a library's notice", stacklevel=1)
        show.warn("one image is left out")
        return config

    stage = types.SimpleNamespace(Config=train.Config, run=run)
    with pytest.warns(UserWarning) as caught:
        assert call(stage, {"data": "x"}, {"seed": 3}, None) == train.Config(data=Path("x"), seed=3)
    assert [str(each.message) for each in caught] == ["one image is left out"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(types.SimpleNamespace(Config=train.Config, run=lambda _, show: show.warn("heard")), {}, {}, Heard())
    assert Heard.heard == ["heard"]


def test_a_screen_is_closed_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(micro_yolo.Screen, "__exit__", lambda *_: closed.append(True))

    def run(config: train.Config, show: micro_yolo.Show) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(types.SimpleNamespace(Config=train.Config, run=run), {}, {}, micro_yolo.Screen())
    assert closed


@pytest.mark.parametrize(("images", "epochs"), [(1, 300), (40, 300), (292, 41), (1200, 10), (100_000, 10)])
def test_few_images_are_shown_more_often(images: int, epochs: int) -> None:
    assert Recipe().settled(images).passes == epochs
    assert Recipe(epochs=7).settled(images).passes == 7


def test_a_start_has_its_share_of_the_usual_rate() -> None:
    assert [Recipe().settled(9, rate).learning_rate for rate in (1.0, 1.5)] == [0.002, 0.003]
    assert Recipe(optimizer="sgd").settled(9, 1.5).learning_rate == 0.015
    assert Recipe(learning_rate=0.01).settled(9, 1.5).learning_rate == 0.01


def test_a_recipe_without_epochs_trains_nothing() -> None:
    with pytest.raises(ValueError, match="epochs: must be told"):
        _ = Recipe().passes
