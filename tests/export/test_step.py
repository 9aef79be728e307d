"""The training step: what it computes, beside the plain way to write it, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.model import gradients
from micro_yolo.model.build import Network, build, freeze
from micro_yolo.model.heads import loss_of
from micro_yolo.model.keras import seeded, tf
from micro_yolo.model.quantization import network as quantization
from micro_yolo.model.quantization.wrap import Quantization
from micro_yolo.model.spec import Arch, Row
from micro_yolo.pipeline.learn.loop import Task, Trainer, make_optimizer
from micro_yolo.pipeline.learn.recipe import Recipe

pytestmark = pytest.mark.slow
STEPS = 50
RECIPE = Recipe(epochs=5, warmup_epochs=1.0, ema=0.9)


class Same:
    """Stands for the batches: as many steps an epoch, whatever is in them."""

    steps, batch = STEPS // RECIPE.epochs, 4


def drawn(arch: Arch, count: int = 3) -> list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        low = rng.uniform(0, [arch.size[1] - 24, arch.size[0] - 24], (4, 3, 2))
        boxes = np.concatenate([low, low + rng.uniform(6, 24, (4, 3, 2))], axis=2)
        classes = rng.integers(0, arch.classes, (4, 3))
        images = rng.uniform(0, 255, (4, *arch.size, 3))
        made.append((tf.constant(images, tf.float32), tf.constant(boxes, tf.float32), tf.constant(classes, tf.int32)))
    return made


def made_float(arch: Arch) -> Network:
    with seeded(1):
        return build(arch)


def made_quantized(arch: Arch) -> Network:
    how, float_model = Quantization(), made_float(arch)
    model = quantization.begin(arch, float_model, how)
    quantization.calibrate(model, float_model, [np.full((1, *arch.size, 3), value, np.uint8) for value in (0, 200)])
    return model


@contextmanager
def stock_gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it layers compute as Keras' own do, backwards too."""
    asked: list[str] = []

    def depthwise(x: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
        asked.append("depthwise")
        return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")

    def upsample(x: tf.Tensor, times: int) -> tf.Tensor:
        asked.append("upsample")
        return tf.image.resize(x, (x.shape[1] * times, x.shape[2] * times), "nearest")

    with monkeypatch.context() as patch:
        patch.setattr(gradients, "depthwise", depthwise)
        patch.setattr(gradients, "upsample", upsample)
        yield
    assert set(asked) == {"depthwise", "upsample"}


@pytest.fixture(params=[made_float, made_quantized], ids=["float", "quantized"])
def made(request: pytest.FixtureRequest) -> Callable[[Arch], Network]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def wanted(tiny: Arch, made: Callable[[Arch], Network], monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], Network]:
    """Losses of the plain step, and the average it leaves."""
    model, averaged = made(tiny), made(tiny)
    averaged.set_weights(model.get_weights())
    with stock_gradients(monkeypatch):
        return plain_losses(tiny, model, averaged), averaged


def plain_losses(arch: Arch, model: Network, averaged: Network) -> list[float]:
    """The losses of `STEPS` steps, written as one would who has never heard of speed."""
    optimizer = make_optimizer(RECIPE, model.trainable_variables, Same.steps)
    losses = loss_of(arch)

    @tf.function(reduce_retracing=True)
    def step(images: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            total = losses(model(images, training=True), boxes, classes)["total"]
        found = tape.gradient(total, model.trainable_variables)
        optimizer.apply_gradients(zip(found, model.trainable_variables, strict=True))
        done = tf.cast(optimizer.iterations, tf.float32)
        decay = tf.minimum(RECIPE.ema, (1.0 + done) / (10.0 + done))
        for mean, weight in zip(averaged.weights, model.weights, strict=True):
            mean.assign(decay * mean + (1.0 - decay) * weight if mean.dtype.is_floating else weight)
        return total

    batches = drawn(arch)
    return [float(step(*batches[number % len(batches)])) for number in range(STEPS)]


def trainer_of(arch: Arch, model: Network, averaged: Network, folder: Path, **options: Any) -> Trainer:
    task, alone = Task(model, averaged, loss_of(arch), dict), tf.distribute.get_strategy()
    return Trainer(task, RECIPE, Same(), folder, **({"strategy": alone} | options))  # type: ignore[arg-type]


def test_xla_is_for_one_device(tiny: Arch, tmp_path: Path) -> None:
    class Two:
        num_replicas_in_sync = 2

    with pytest.raises(ValueError, match=r"^xla: compiles for one device, got 2; allowed: without --xla$"):
        trainer_of(tiny, made_float(tiny), made_float(tiny), tmp_path, strategy=Two(), xla=True)


def test_the_steps_cost_what_plain_steps_cost(
    tiny: Arch, tmp_path: Path, wanted: tuple[list[float], Network], made: Callable[[Arch], Network]
) -> None:
    model, averaged = made(tiny), made(tiny)
    trainer, batches = trainer_of(tiny, model, averaged, tmp_path), drawn(tiny)
    got = [float(trainer.step(batches[number % len(batches)])["total"]) for number in range(STEPS)]
    # Sooner or later a value that is halfway between two integers is rounded to the other, and weights part.
    same = STEPS if made is made_float else 12
    np.testing.assert_allclose(got[:same], wanted[0][:same], rtol=1e-6)
    np.testing.assert_allclose(got, wanted[0], rtol=2e-3)
    if made is made_float:
        for ours, theirs in zip(averaged.get_weights(), wanted[1].get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [(20, 28), (13, 13)])
@pytest.mark.parametrize(("k", "stride"), [(5, 1), (5, 2), (7, 1), (7, 3), (4, 2)])
def test_a_depthwise_gradient_in_pieces_is_tensorflows(side: tuple[int, int], k: int, stride: int) -> None:
    rng = np.random.default_rng(k)
    x = tf.constant(rng.normal(size=(2, *side, 6)), tf.float32)
    kernel = tf.constant(rng.normal(size=(k, k, 6, 1)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, kernel])
        ours = gradients.depthwise(x, kernel, stride)
        theirs = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")
        upstream = tf.constant(rng.normal(size=theirs.shape), tf.float32)
        sums = [tf.reduce_sum(y * upstream) for y in (ours, theirs)]
    np.testing.assert_array_equal(ours, theirs)
    for got, wanted in zip(*(tape.gradient(total, [x, kernel]) for total in sums), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_an_upsampling_gradient_is_tensorflows() -> None:
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, 5, 7, 6)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, theirs = gradients.upsample(x, 3), tf.image.resize(x, (15, 21), "nearest")
        upstream = tf.constant(rng.normal(size=theirs.shape), tf.float32)
        sums = [tf.reduce_sum(y * upstream) for y in (ours, theirs)]
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(*(tape.gradient(total, x) for total in sums), rtol=1e-5, atol=1e-5)


def test_xla_compiles_the_step(tmp_path: Path) -> None:
    arch = Arch(
        "small",
        (
            Row("l1", "conv", 4, k=3, s=4),
            Row("up", "upsample", s=2),
            Row("d1", "detect", anchors=((10.0, 12.0),)),
        ),
        size=(32, 32),
        classes=2,
    )

    def loss(compiled: bool) -> float:
        trainer = trainer_of(arch, made_float(arch), made_float(arch), tmp_path / str(compiled), xla=compiled)
        trainer.step(drawn(arch)[0])
        return float(trainer.step(drawn(arch)[0])["total"])

    assert loss(True) == pytest.approx(loss(False), rel=1e-4)


def test_frozen_rows_stay_as_they_are(tiny: Arch, tmp_path: Path, made: Callable[[Arch], Network]) -> None:
    model, averaged = made(tiny), made(tiny)
    for each in (model, averaged):
        freeze(each, tiny, "d1")
    trainer = trainer_of(tiny, model, averaged, tmp_path)
    before = {id(weight): weight.numpy() for each in (model, averaged) for weight in each.weights}
    for batch in drawn(tiny):
        trainer.step(batch)
    for each in (model, averaged):
        changed = {
            layer.name.split("_")[0]
            for layer in each.layers
            for weight in layer.weights
            # The ranges of activations are no weights: they go on following what they see.
            if not weight.name.endswith(("low:0", "high:0")) and not np.array_equal(before[id(weight)], weight)
        }
        assert changed == {"l7", "d2"}


def test_nothing_is_computed_backwards_below_what_is_frozen(tiny: Arch, tmp_path: Path) -> None:
    def gradients_of(frozen: str | None) -> int:
        model, averaged = made_float(tiny), made_float(tiny)
        if frozen:
            freeze(model, tiny, frozen)
        trainer = trainer_of(tiny, model, averaged, tmp_path / str(frozen))
        graph = trainer.step.get_concrete_function(drawn(tiny)[0]).graph
        return sum(op.type.endswith(("BackpropInput", "BackpropFilter", "GradV3")) for op in graph.get_operations())

    everything, last = gradients_of(None), gradients_of("cat")
    # Of l7 and d2: a batch norm, four kernels, and what these read; nobody asks for what l7 reads, so it is not run.
    assert everything > 30
    assert last == 1 + 4 + 4


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("l66", "freeze: unknown row, got 'l66'; nearest: l6; allowed: a row of tiny above its last, which"),
        ("d2", "freeze: leaves nothing to train, got 'd2'; allowed: a row of tiny above its last, which"),
    ],
)
def test_a_row_that_cannot_be_frozen(tiny: Arch, row: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        tiny.check_freeze(row)
    tiny.check_freeze("l7")


def test_a_gpu_is_not_asked_after_each_step(tiny: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Later(float):
        """A loss that is not there yet."""

        def __float__(self) -> float:
            asked.append(steps)
            return 1.0

    steps = 0

    def step(_: Any) -> dict[str, Any]:
        nonlocal steps
        steps += 1
        return {"total": Later()}

    trainer = trainer_of(tiny, made_float(tiny), made_float(tiny), tmp_path)
    monkeypatch.setattr(trainer, "step", step)
    monkeypatch.setattr(trainer.batches, "steps", 100, raising=False)
    monkeypatch.setattr(trainer.batches, "start_epoch", lambda epoch: None, raising=False)
    row = trainer._epoch(1, [None] * 100)
    assert row["total"] == 1.0
    assert len(asked) == 100
    assert len(set(asked)) <= 20
