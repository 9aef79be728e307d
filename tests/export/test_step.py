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
from micro_yolo.model.heads import loss_of, settings_of
from micro_yolo.model.keras import keras, seeded, tf
from micro_yolo.model.layers import BatchNormalization
from micro_yolo.model.quantization import network as quantization
from micro_yolo.model.quantization.wrap import Quantization
from micro_yolo.model.spec import Arch, Row
from micro_yolo.pipeline.learn.loop import Task, Trainer
from micro_yolo.pipeline.learn.optimizer import make_optimizer
from micro_yolo.pipeline.learn.recipe import Recipe

pytestmark = pytest.mark.slow
STEPS = 50
RECIPE = Recipe(epochs=5, warmup_epochs=1.0, ema=0.9)
# One of each that is computed otherwise than Keras does it.
BRIEF = Arch(
    "brief",
    (
        Row("l1", "conv", 8, k=3, s=2),
        Row("l2", "mbconv", 16, k=5, s=2, mid=16, se=1),
        Row("up", "upsample", s=2),
        Row("d1", "detect", anchors=((30.0, 30.0), (20.0, 44.0))),
    ),
    size=(64, 96),
    classes=5,
)


# Two heads, the second with rows of its own.
FORKED = BRIEF.replace(
    rows=(
        *(row for row in BRIEF.rows if row.name != "up"),
        Row("l3", "conv", 16, k=3, src=("l2",)),
        Row("d2", "detect", anchors=((10.0, 12.0), (6.0, 5.0))),
    )
)


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

    def stock_norm(self: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
        asked.append("norm")
        return super(BatchNormalization, self).call(*args, **kwargs)

    def depthwise(x: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
        asked.append("depthwise")
        return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")

    def upsample(x: tf.Tensor, times: int) -> tf.Tensor:
        asked.append("upsample")
        return tf.image.resize(x, (x.shape[1] * times, x.shape[2] * times), "nearest")

    with monkeypatch.context() as patch:
        patch.setattr(BatchNormalization, "call", stock_norm)
        patch.setattr(gradients, "depthwise", depthwise)
        patch.setattr(gradients, "upsample", upsample)
        yield
    assert set(asked) == {"depthwise", "norm", "upsample"}


@pytest.fixture(params=[made_float, made_quantized], ids=["float", "quantized"])
def made(request: pytest.FixtureRequest) -> Callable[[Arch], Network]:
    return request.param  # type: ignore[no-any-return]


def steady_loss(arch: Arch) -> Any:
    """Weights that follow the class loss would carry its last bits into every gradient."""
    return loss_of(arch, settings_of(arch, {"classes_first": 0}))


class Plain:
    """Training written as one would who has never heard of speed."""

    def __init__(self, arch: Arch, model: Network, averaged: Network) -> None:
        self.model, self.averaged = model, averaged
        self.losses, self.optimizer = steady_loss(arch), make_optimizer(RECIPE, model.trainable_variables, Same.steps)
        averaged.set_weights(model.get_weights())
        self.step = tf.function(self._step, autograph=False)

    def _step(self, images: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Total loss and norm of the gradient."""
        with tf.GradientTape() as tape:
            total = self.losses(self.model(images, training=True), boxes, classes)["total"]
        found = tape.gradient(total, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(found, self.model.trainable_variables, strict=True))
        done = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(RECIPE.ema, (1.0 + done) / (10.0 + done))
        for mean, weight in zip(self.averaged.weights, self.model.weights, strict=True):
            mean.assign(decay * mean + (1.0 - decay) * weight if mean.dtype.is_floating else weight)
        return total, tf.linalg.global_norm(found)


def trainer_of(arch: Arch, model: Network, averaged: Network, folder: Path, **options: Any) -> Trainer:
    task, alone = Task(model, averaged, steady_loss(arch), dict), tf.distribute.get_strategy()
    return Trainer(task, RECIPE, Same(), folder, **({"strategy": alone} | options))  # type: ignore[arg-type]


def test_xla_is_for_one_device(tiny: Arch, tmp_path: Path) -> None:
    class Two:
        num_replicas_in_sync = 2

    with pytest.raises(ValueError, match=r"^xla: compiles for one device, got 2; allowed: without --xla$"):
        trainer_of(tiny, made_float(tiny), made_float(tiny), tmp_path, strategy=Two(), xla=True)


def test_fifty_steps_are_the_plain_ones(
    tmp_path: Path, made: Callable[[Arch], Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    three = drawn(BRIEF)
    batches = [three[number % 3] for number in range(STEPS)]
    plain = Plain(BRIEF, made(BRIEF), made(BRIEF))
    weights, wanted = [], []
    with stock_gradients(monkeypatch):
        for batch in batches:
            weights.append(plain.model.get_weights())
            wanted.append([float(value) for value in plain.step(*batch)])
    trainer = trainer_of(BRIEF, made(BRIEF), made(BRIEF), tmp_path)
    got = []
    for batch, begun in zip(batches, weights, strict=True):
        # Each from the same weights: left alone, both go apart as any two trainings do that differ by a last bit.
        trainer.task.model.set_weights(begun)
        losses = trainer.step(batch)
        got.append([float(losses[name]) for name in ("total", "gradient_norm")])
    # Of many values to be rounded to integers some lie halfway, and float rounding decides.
    np.testing.assert_allclose(got, wanted, rtol=1e-3 if made is made_float else 3e-2)
    if made is made_float:
        # So it does at a kink, such as where two values of a max-pool are equal: a gradient then goes another way, and
        # which step that happens to is another on each kind of processor. All others are much nearer.
        losses, norms = np.abs(np.divide(got, wanted) - 1).T
        assert losses.max() < 1e-5 and np.sort(norms)[-2] < 2e-5
    last, average = trainer.task.model.get_weights(), trainer.task.averaged.get_weights()
    for ours, theirs in zip(last + average, plain.model.get_weights() + plain.averaged.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-3)


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


@pytest.mark.parametrize("mean", [0.0, 5.0])
def test_a_batch_norm_is_tensorflows(mean: float) -> None:
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(mean, 2.0, (3, 20, 28, 6)), tf.float32)
    gamma, beta, mean_of, variance_of = (tf.constant(rng.uniform(0.5, 2.0, 6), tf.float32) for _ in range(4))
    upstream = tf.constant(rng.normal(size=x.shape), tf.float32)
    results = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9)
        layer.build(x.shape)
        layer.set_weights([gamma, beta, mean_of, variance_of])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            total = tf.reduce_sum(y * upstream)
        found = tape.gradient(total, [x, layer.gamma, layer.beta])
        results.append([y, *found, *layer.get_weights(), layer(x, training=False)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)
    # The weights were moved by it, or this would show nothing.
    assert not np.allclose(results[0][6], mean_of)


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


def test_frozen_rows_stay_as_they_are(tmp_path: Path, made: Callable[[Arch], Network]) -> None:
    model, averaged = made(FORKED), made(FORKED)
    for each in (model, averaged):
        freeze(each, FORKED, "d1")
    trainer = trainer_of(FORKED, model, averaged, tmp_path)
    before = {id(weight): weight.numpy() for each in (model, averaged) for weight in each.weights}
    for batch in drawn(FORKED):
        trainer.step(batch)
    for each in (model, averaged):
        changed = {
            layer.name.split("_")[0]
            for layer in each.layers
            for weight in layer.weights
            # The ranges of activations are no weights: they go on following what they see.
            if not weight.name.endswith(("low:0", "high:0")) and not np.array_equal(before[id(weight)], weight)
        }
        assert changed == {"l3", "d2"}


def test_nothing_is_computed_backwards_below_what_is_frozen(tiny: Arch, tmp_path: Path) -> None:
    def gradients_of(frozen: str | None) -> int:
        model, averaged = made_float(tiny), made_float(tiny)
        if frozen:
            freeze(model, tiny, frozen)
        trainer = trainer_of(tiny, model, averaged, tmp_path / str(frozen))
        graph = trainer.step.get_concrete_function(drawn(tiny)[0]).graph
        return sum(op.type.endswith(("BackpropInput", "BackpropFilter")) for op in graph.get_operations())

    everything, last = gradients_of(None), gradients_of("cat")
    # Of l7 and d2: four kernels, and what these read; nobody asks for what l7 reads, so that is not run.
    assert everything > 25
    assert last == 4 + 4


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


def test_a_gpu_is_not_asked_after_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

    trainer = trainer_of(BRIEF, made_float(BRIEF), made_float(BRIEF), tmp_path)
    monkeypatch.setattr(trainer, "step", step)
    monkeypatch.setattr(trainer.batches, "steps", 100, raising=False)
    monkeypatch.setattr(trainer.batches, "start_epoch", lambda epoch: None, raising=False)
    row = trainer._epoch(1, [None] * 100)
    assert row["total"] == 1.0
    assert len(asked) == 100
    assert len(set(asked)) <= 20
