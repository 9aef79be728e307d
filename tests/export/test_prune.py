"""Cutting channels: the smaller network computes the same, tfmot's wrappers obey, the search goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from thinned import thinned

from micro_yolo.model.build import build, put_weights, weights_of, with_weights
from micro_yolo.model.channels import channels_of, cut
from micro_yolo.model.keras import keras, tf
from micro_yolo.model.sparsity import dooming, has_pattern, masks_of, strip_pruning, two_of_four
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.tfmot import PruneLowMagnitude, UpdatePruningStep
from micro_yolo.model.zoo import ARCHS
from micro_yolo.pipeline import convert, evaluate, prune
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn import progressive
from micro_yolo.pipeline.learn.loop import DivergedError, Outcome, Task
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.learn.session import Session
from micro_yolo.pipeline.store import runs

pytestmark = pytest.mark.slow
SIZE = (64, 64)
BATCH_NORM = keras.layers.BatchNormalization


def lively(model: keras.Model, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    for layer in model.layers:
        if isinstance(layer, BATCH_NORM):
            size = layer.gamma.shape
            gamma, variance = rng.uniform(0.5, 1, size), rng.uniform(1, 1.5, size)
            layer.set_weights([gamma, *rng.normal(0, 0.1, (2, *size)), variance])
    return weights_of(model)


def silenced(arch: Arch, weights: dict[str, list[np.ndarray]], dropped: np.ndarray) -> dict[str, list[np.ndarray]]:
    """The weights with the dropped channels' batch norm (or kernel and bias, where there is none) at zero."""
    found = channels_of(arch)
    without_norm = {axis.layer for axis in found.axes if axis.part == "bias"}
    quiet = {layer: [array.copy() for array in arrays] for layer, arrays in weights.items()}
    for axis in found.axes:
        gone = np.isin(axis.channels, dropped)
        if axis.part in ("gamma", "beta", "bias"):
            quiet[axis.layer][axis.weight][gone] = 0
        elif axis.part == "kernel_out" and axis.layer in without_norm:
            quiet[axis.layer][axis.weight][..., gone] = 0
    return quiet


@pytest.mark.parametrize("name", ARCHS)
def test_a_cut_network_computes_what_the_silenced_one_does(name: str) -> None:
    keras.utils.set_random_seed(3)
    arch = thinned(ARCHS[name]).resized(SIZE).with_classes(3)
    model = build(arch)
    rng = np.random.default_rng(4)
    weights = lively(model, rng)
    images = rng.integers(0, 256, (2, *SIZE, 3)).astype(np.float32)
    whole = [np.asarray(output) for output in tf.nest.flatten(model(images))]
    units = channels_of(arch).units
    for _ in range(3):
        kept = {unit: np.sort(rng.permutation(len(c))[: rng.integers(1, len(c) + 1)]) for unit, c in units.items()}
        dropped = np.concatenate([np.delete(units[unit], indices) for unit, indices in kept.items()])
        smaller, fewer = cut(arch, weights, {unit: indices.tolist() for unit, indices in kept.items()})
        put_weights(model, silenced(arch, weights, dropped))
        expected = [np.asarray(output) for output in tf.nest.flatten(model(images))]
        assert any(np.abs(a - b).max() > 1e-2 for a, b in zip(expected, whole, strict=True))
        for got, wanted in zip(tf.nest.flatten(with_weights(smaller, fewer)(images)), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


TIED = Arch(
    "tied",
    (
        Row("a", "conv", 8, k=3, s=2),
        Row("b", "mbconv", 8, k=3, mid=16, se=2, skip=True),
        Row("c", "separable", 8, k=3),
        Row("e", "conv", 8, bn=False),
        Row("d", "detect", anchors=((9, 9),)),
    ),
    size=(16, 16),
    classes=2,
)


def trained_steps(wrapped: keras.Model, steps: int) -> Iterator[int]:
    """Train towards noise with the step callback, as Trainer does; yields after each step."""
    optimizer = keras.optimizers.Adam(0.01)
    wrapped.optimizer = optimizer
    callback = UpdatePruningStep()
    callback.set_model(wrapped)
    callback.on_train_begin()
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(wrapped(images, training=True))
            loss = tf.add_n([tf.reduce_mean(tf.square(output - 1)) for output in outputs])
        variables = wrapped.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for number in range(steps):
        callback.on_train_batch_begin(number)
        step()
        callback.on_epoch_end(number)
        yield number


def test_doomed_channels_go_one_after_the_other_in_all_tied_layers() -> None:
    keras.utils.set_random_seed(0)
    model = build(TIED)
    # Nothing is zero by itself: a fresh bias is, and stays so where the activation never fires.
    kernel, bias = model.get_layer("e_conv").get_weights()
    model.get_layer("e_conv").set_weights([kernel, bias + 1])
    found = channels_of(TIED)
    dropped = np.concatenate([found.units["a"][[5, 1, 2]], found.units["e"][[0, 7]]])
    wrapped = dooming(model, TIED, dropped, steps=16)
    zeros = []
    for _ in trained_steps(wrapped, 16):
        scale = model.get_layer("a_bn").get_weights()[0]
        zeros.append(np.flatnonzero(scale == 0).tolist())
    assert zeros[0] in ([], [5])
    assert [1, 5] in zeros and zeros[-1] == [1, 2, 5]
    for layer in ("a_bn", "b_project_bn", "c_dw_bn"):
        gamma, beta = model.get_layer(layer).get_weights()[:2]
        assert np.flatnonzero(gamma == 0).tolist() == np.flatnonzero(beta == 0).tolist() == [1, 2, 5]
    kernel, bias = model.get_layer("e_conv").get_weights()
    assert np.flatnonzero(bias == 0).tolist() == [0, 7] == np.flatnonzero((kernel == 0).all(axis=(0, 1, 2))).tolist()
    assert np.all(model.get_layer("b_expand_bn").get_weights()[0] != 0)


def test_stripped_and_cut_is_the_network_that_was_trained() -> None:
    keras.utils.set_random_seed(0)
    model = build(TIED)
    unit = channels_of(TIED).units["b.mid"]
    wrapped = dooming(model, TIED, unit[[3, 0, 9]], steps=4)
    list(trained_steps(wrapped, 6))
    stripped = strip_pruning(wrapped)
    assert {type(layer).__module__.split(".")[0] for layer in stripped.layers} == {"micro_yolo", "tf_keras"}
    assert not any(isinstance(layer, PruneLowMagnitude) for layer in stripped.layers)
    smaller, weights = cut(TIED, weights_of(model), {"b.mid": [i for i in range(16) if i not in (0, 3, 9)]})
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)
    cut_down = with_weights(smaller, weights)
    for got, wanted in zip(tf.nest.flatten(cut_down(images)), tf.nest.flatten(stripped(images)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_two_of_four_leaves_two_of_four() -> None:
    keras.utils.set_random_seed(0)
    model = build(TIED)
    wrapped = two_of_four(model)
    list(trained_steps(wrapped, 3))
    masks = masks_of(wrapped)
    # The image has three channels, and a depthwise filter one.
    assert set(masks) == {"b_expand", "b_project", "b_se_squeeze", "c_pw", "e_conv", "d_box", "d_obj", "d_cls"}
    for layer in masks:
        kernel = model.get_layer(layer).get_weights()[0]
        assert has_pattern(model.get_layer(layer))
        # Filters in rows, consecutive inputs along them.
        fours = kernel.reshape(-1, kernel.shape[-1]).T.reshape(-1, 4)
        assert ((fours != 0).sum(axis=1) <= 2).all() and (fours != 0).any()


SHORT = Recipe(epochs=1, learning_rate=1e-4, warmup_epochs=0.0)


def config(run: Path, **changes: Any) -> prune.Config:
    settings: dict[str, Any] = {"rows": ("l4", "l6.mid"), "step": 0.25, "most": 0.5, "recipe": SHORT, "batch": 4}
    return prune.Config(run=run, augment=Strength(mosaic=0), **(settings | changes))


def steps_of(run: Path) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads((run / "prune" / "steps.json").read_text())["steps"]
    return steps


@pytest.fixture(scope="module")
def finished_run(shallow_run: Path) -> Path:
    return shallow_run


@pytest.fixture(scope="module")
def pruned(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("pruned") / "run"))
    prune.run(config(run, final_epochs=1))
    return run


def test_a_pruned_run_is_a_stage_like_others(pruned: Path, finished_run: Path) -> None:
    stage = pruned / "prune"
    assert [(step["unit"], step["before"], step["after"]) for step in steps_of(pruned)] == [
        ("l4", 16, 12), ("l4", 12, 8), ("l6.mid", 32, 24), ("l6.mid", 24, 16),
    ]  # fmt: skip
    arch, whole = Arch.load(stage / "arch.json"), Arch.load(finished_run / "train" / "arch.json")
    assert arch == whole.replace(
        rows=tuple(
            Row(**{**row.to_json(), "src": row.src, "anchors": row.anchors, **changed})
            for row in whole.rows
            for changed in [{"l4": {"out": 8}, "l6": {"mid": 16, "out": 8}}.get(row.name, {})]
        )
    )
    channels = json.loads((stage / "channels.json").read_text())
    assert {unit: len(kept) for unit, kept in channels["kept"].items()} == {"l4": 8, "l6.mid": 16}
    assert channels["original"]["l4"] == 16
    metrics = json.loads((stage / "metrics.json").read_text())
    assert metrics["params"] < metrics["unpruned"]["params"] and metrics["macs"] < metrics["unpruned"]["macs"]
    assert (stage / "steps.png").stat().st_size > 10_000
    assert (stage / "history.csv").is_file()
    assert sorted(path.name for path in stage.iterdir() if path.is_dir()) == [f"step_{n:02d}" for n in range(1, 5)]
    assert json.loads((stage / "config.json").read_text())["parent"]["path"].endswith("train")


def test_a_pruned_run_converts_to_a_smaller_file_and_is_measured(pruned: Path, tmp_path: Path) -> None:
    variants = {"float32": True, "int8": True, "samples": 8}
    export = convert.run(convert.Config(run=pruned, **variants)).export
    whole = convert.run(convert.Config(run=pruned, from_stage="train", out=tmp_path, **variants)).export
    for variant in ("float32", "int8"):
        name = f"model_{variant}.tflite"
        assert (export / name).stat().st_size < (whole / name).stat().st_size
    found = evaluate.run(evaluate.Config(model=export / "model_int8.tflite"))
    assert found.metrics["images"] == 4


def test_a_killed_search_goes_on_to_the_same_end(own_run: Path, pruned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = Session.train, []

    def dies(self: Session, *args: Any, **options: Any) -> Any:
        calls.append(1)
        outcome = train(self, *args, **options)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return outcome

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Session, "train", dies)
        prune.run(config(own_run, final_epochs=1))
    assert len(steps_of(own_run)) == 2
    assert not runs.is_finished(own_run / "prune")
    prune.run(prune.Config(run=own_run, resume=True))
    # To the last bit, what was measured of each step as well.
    assert steps_of(own_run) == steps_of(pruned)
    assert (own_run / "prune" / "channels.json").read_text() == (pruned / "prune" / "channels.json").read_text()


def untrained(_: Session, task: Task, recipe: Recipe, directory: Path, **options: Any) -> Outcome:
    """Stands for `Session.train`: leaves what it leaves, of weights as they were given."""
    assert recipe.passes and task.plain is not None
    directory.mkdir(parents=True)
    task.averaged.set_weights(task.plain.get_weights())
    task.averaged.save_weights(str(directory / runs.WEIGHTS))
    (directory / runs.HISTORY).write_text("epoch\n1\n")
    return Outcome({"epoch": 1, **task.evaluate()}, [])


def scripted(monkeypatch: pytest.MonkeyPatch, AP50: Callable[[keras.Model], float]) -> None:
    """Trainings that change nothing, and are measured as `AP50` says: for what is made of their outcome."""
    monkeypatch.setattr(Session, "measure", lambda self, model: lambda: {"AP": AP50(model) / 2, "AP50": AP50(model)})
    monkeypatch.setattr(Session, "train", untrained)


def test_a_cut_that_costs_too_much_is_taken_back(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def AP50(model: keras.Model) -> float:
        return 70.0 if model.get_layer("l4_pw").filters > 8 else 69.4

    scripted(monkeypatch, AP50)
    prune.run(config(own_run))
    steps = steps_of(own_run)
    assert [(s["unit"], s["after"], s["accepted"]) for s in steps] == [
        ("l4", 12, True), ("l4", 8, False), ("l6.mid", 24, True), ("l6.mid", 16, True),
    ]  # fmt: skip
    assert steps[1]["reason"] == "0.6 points below unpruned"
    arch = Arch.load(own_run / "prune" / "arch.json")
    assert (arch.row("l4").out, arch.row("l6").mid) == (12, 16)
    assert not (own_run / "prune" / "step_02").exists()


def test_a_step_that_was_recorded_but_not_drawn_is_drawn_later(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    scripted(monkeypatch, lambda model: 70.0)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(progressive, "draw", full)
        prune.run(config(own_run, rows=("l4",), step=0.5))
    assert len(steps_of(own_run)) == 1
    prune.run(prune.Config(run=own_run, resume=True))
    assert (own_run / "prune" / "steps.png").is_file() and runs.is_finished(own_run / "prune")


def test_a_target_ends_the_search(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, lambda model: 70.0)
    prune.run(config(own_run, rows=(), target_macs=0.97))
    metrics = json.loads((own_run / "prune" / "metrics.json").read_text())
    steps = steps_of(own_run)
    assert metrics["macs"] <= 0.97 * metrics["unpruned"]["macs"]
    assert all(step["network"]["macs"] > 0.97 * metrics["unpruned"]["macs"] for step in steps[:-1])


def test_a_training_that_diverges_is_a_refused_step(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, lambda model: 70.0)
    train = Session.train

    def diverges(self: Session, *args: Any, **options: Any) -> Any:
        if options["seed"] == 2:
            raise DivergedError("the loss is nan")
        return train(self, *args, **options)

    monkeypatch.setattr(Session, "train", diverges)
    prune.run(config(own_run))
    assert [(s["accepted"], s["reason"]) for s in steps_of(own_run)][:3] == [
        (True, ""), (False, "training diverged"), (True, ""),
    ]  # fmt: skip


def test_two_of_four_stage(own_run: Path) -> None:
    prune.run(config(own_run, rows=(), pattern="2:4"))
    stage = own_run / "prune"
    assert Arch.load(stage / "arch.json") == Arch.load(own_run / "train" / "arch.json")
    model = build(Arch.load(stage / "arch.json"))
    model.load_weights(str(stage / "model.weights.h5"))
    for layer in filter(has_pattern, model.layers):
        kernel = layer.get_weights()[0]
        fours = kernel.reshape(-1, kernel.shape[-1]).T.reshape(-1, 4)
        assert ((fours != 0).sum(axis=1) <= 2).all()
    assert json.loads((stage / "metrics.json").read_text())["zeros"] == pytest.approx(0.5, abs=0.1)


def test_a_coarse_validation_split_is_told(own_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    scripted(monkeypatch, lambda model: 70.0)
    prune.command(config(own_run, rows=("l6.mid",), most=0.25))
    assert "\nwarning: one box of" in f"\n{capsys.readouterr().out}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": ("l66",)}, r"^tiny: 'l66' has no channels that can be cut; nearest: l6\.mid"),
        ({"rows": ("l4", "l4")}, r"^rows: each at most once, got l4 l4$"),
        ({"rows": ("d1",)}, r"^tiny: 'd1' has no channels that can be cut"),
        ({"rows": ("l6",)}, r"^tiny\.l6: its channels are those of l4; allowed: name that row$"),
        ({"step": 0.0}, r"^step: must be between 0 and 1"),
        ({"most": 1.0}, r"^most: must be between 0 and 1"),
        ({"tolerance": -1.0}, r"must not be negative"),
        ({"target_params": 2.0e6}, r"^target_params: must be above 0 and less than the unpruned"),
        ({"pattern": "2:4"}, r"^pattern: 2:4 thins all rows alike"),
        ({"batch": 1000}, r"^batch: must not exceed the 12 training images, got 1000"),
        ({"eval_images": 0}, r"^eval_images: must be at least 1"),
    ],
)
def test_wrong_settings_make_no_stage(own_run: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prune.run(config(own_run, **changes))
    assert not (own_run / "prune").exists()


def test_what_cannot_be_pruned(own_run: Path, pruned: Path, tmp_path: Path) -> None:
    (own_run / "train" / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"its train is half-made; `python -m pipeline\.train"):
        prune.run(config(own_run))
    with pytest.raises(FileNotFoundError, match="no such run"):
        prune.run(config(tmp_path / "none"))
    with pytest.raises(ValueError, match="already holds a finished prune"):
        prune.run(config(pruned))
    with pytest.raises(ValueError, match="its prune stage is finished"):
        prune.run(config(pruned, resume=True))
