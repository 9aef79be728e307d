"""Every network as a Keras model: what it holds, that all of it learns, and that the one to convert says the same."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
from thinned import thinned

from micro_yolo.model.build import build, deployable
from micro_yolo.model.count import count
from micro_yolo.model.heads import HEADS
from micro_yolo.model.heads.part import Part
from micro_yolo.model.heads.yolo import Yolo
from micro_yolo.model.keras import keras, tf
from micro_yolo.model.layers import BatchNormalization, DepthwiseConv2D, UpSampling2D
from micro_yolo.model.quantization import network as quantize
from micro_yolo.model.quantization.wrap import Quantization
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.zoo import ARCHS

SIZE = (96, 128)
# What tfmot's quantization-aware training takes, and what becomes integer operators.
LAYERS = {
    "InputLayer", "Rescaling", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "LeakyReLU", "Activation",
    "GlobalAveragePooling2D", "Multiply", "Add", "MaxPooling2D", "UpSampling2D", "Concatenate",
}  # fmt: skip
PARTS = [
    ("conv", Row("x", "conv", 24, k=3, s=2)),
    ("conv without batch norm", Row("x", "conv", 24, k=5, bn=False, act="leaky")),
    ("separable", Row("x", "separable", 24, k=5, s=2)),
    ("mbconv", Row("x", "mbconv", 16, k=3, mid=32, se=1, skip=True)),
    ("mbconv without expansion", Row("x", "mbconv", 24, k=5, s=2)),
    ("pep", Row("x", "pep", 16, k=3, pre=4, mid=8, skip=True)),
    ("pep with stride", Row("x", "pep", 24, k=3, s=2, pre=4, mid=8, act="linear")),
    ("fca", Row("x", "fca", se=2)),
    ("pool", Row("x", "pool", k=2, s=1)),
    ("upsample", Row("x", "upsample", s=2)),
    ("concat", Row("x", "concat", src=("b", "a"))),
]


def small(name: str) -> Arch:
    return thinned(ARCHS[name]).resized(SIZE).with_classes(3)


def heads_of(arch: Arch) -> Arch:
    """The detection rows of a network, each behind a convolution as wide as what it reads there."""
    rows: list[Row] = []
    for row in arch.rows:
        if row.op in HEADS:
            (source,) = arch.sources[row.name]
            rows += [Row(f"to_{row.name}", "conv", arch.channels[source], src=("input",)), replace(row, src=())]
    return arch.replace(rows=tuple(rows))


def one_block(row: Row) -> Arch:
    rows = (Row("a", "conv", 8, k=3, s=2), Row("b", "conv", 16, act="relu"), row, Row("d", "detect", anchors=((9, 9),)))
    return Arch("net", rows, size=(32, 64), classes=2)


def images(size: tuple[int, int], count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def without_gradient(model: keras.Model, pixels: np.ndarray) -> list[str]:
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(model(pixels, training=True))
        loss = tf.add_n([tf.reduce_mean(tf.square(logits - 1)) for logits in outputs])
    gradients = tape.gradient(loss, model.trainable_variables)
    return [
        variable.name
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.isfinite(gradient).all() or not np.any(gradient)
    ]


def check_told(model: keras.Model, pixels: np.ndarray) -> None:
    """What layers say that they put out, which is not traced when they are put together, is what they do."""
    every = keras.Model(model.input, [layer.output for layer in model.layers])
    for told, got in zip(every.outputs, every(pixels), strict=True):
        assert (tuple(told.shape[1:]), told.dtype) == (tuple(got.shape[1:]), got.dtype)


@pytest.mark.parametrize("name", ARCHS)
def test_every_network(name: str) -> None:
    keras.utils.set_random_seed(1)
    arch = small(name)
    model = build(arch)
    pixels = images(SIZE)

    counted = count(arch)
    assert model.count_params() == counted.params
    assert sum(int(np.prod(each.shape)) for each in model.trainable_weights) == counted.trainable

    expected = {}
    for row in arch.detections:
        grid, anchors = (2, SIZE[0] // row.stride, SIZE[1] // row.stride), len(row.anchors)
        expected[row.row_name] = {
            "boxes": (*grid, anchors * 4), "objectness": (*grid, anchors), "classes": (*grid, anchors * 3)
        }  # fmt: skip
    logits = model(pixels, training=False)
    assert {row: {part: tuple(x.shape) for part, x in parts.items()} for row, parts in logits.items()} == expected
    assert [list(parts) for parts in logits.values()] == [["boxes", "objectness", "classes"]] * len(expected)
    assert all(np.isfinite(each).all() for each in tf.nest.flatten(logits))
    assert model.output_names == [f"{row}_{part}" for row in expected for part in ("box", "obj", "cls")]

    assert without_gradient(model, pixels) == []
    # Not those of a fresh model, but mild: real statistics of sixty layers blow float rounding up to 1e-4.
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            gamma, variance = rng.uniform(0.5, 1, size), rng.uniform(1, 1.5, size)
            layer.set_weights([gamma, *rng.normal(0, 0.1, (2, *size)), variance])
    deployed = deployable(arch, model)
    assert deployed.output_names == [f"{row}_{part}" for row in expected for part in ("boxes", "objectness", "classes")]
    both = (tf.nest.flatten(each) for each in (deployed(pixels.astype(np.float32)), model(pixels, training=False)))
    for got, wanted in zip(*both, strict=True):
        np.testing.assert_allclose(got, tf.sigmoid(wanted), rtol=0, atol=1e-5)

    kinds = [{type(layer).__name__ for layer in each.layers} for each in (model, deployed)]
    assert kinds[0] <= LAYERS and kinds[1] <= LAYERS - {"Rescaling"}


@pytest.mark.parametrize("name", ARCHS)
def test_params_are_those_of_keras(name: str) -> None:
    arch = ARCHS[name].with_classes(80)
    assert build(arch).count_params() == count(arch).params


@pytest.mark.parametrize("name", ARCHS)
def test_params_of_a_single_class_are_those_of_keras(name: str) -> None:
    arch = heads_of(ARCHS[name]).with_classes(1)
    assert build(arch).count_params() == count(arch).params


@pytest.mark.parametrize("row", [row for _, row in PARTS], ids=[name for name, _ in PARTS])
def test_every_block(row: Row) -> None:
    keras.utils.set_random_seed(1)
    arch = one_block(row)
    model = build(arch)
    assert model.count_params() == count(arch).params
    assert without_gradient(model, images(arch.size)) == []
    stride = arch.strides["x"]
    assert tuple(model.outputs[1].shape) == (None, 32 // stride, 64 // stride, 1)
    shapes = {layer.name: layer.output_shape for layer in model.layers if layer.name.startswith("x_")}
    assert list(shapes.values())[-1][1:] == count(arch).rows[2].shape
    check_told(model, images(arch.size).astype(np.float32))


class Points(Yolo):
    """A place and classes a cell."""

    op, fields = "points", ()
    parts = (Part("place", "xy", 2, lambda classes: 0.0), Part("classes", "cls", None, lambda classes: -3.0))

    def check(self, row: Row, where: str) -> None:
        """Nothing to check."""

    def predictions(self, row: Row) -> int:
        """One a cell."""
        return 1


def test_another_head_is_built_and_quantized_by_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "points", Points())
    rows = (Row("b", "conv", 8, k=3, s=2), Row("q", "points"), Row("a", "points", src=("b",)))
    arch = Arch("net", rows, size=(16, 24), classes=3)
    model, pixels = build(arch), images((16, 24)).astype(np.float32)
    shapes = {"place": (2, 8, 12, 2), "classes": (2, 8, 12, 3)}
    for network in (model, deployable(arch, model), quantize.wrapped(arch, Quantization(8))):
        outputs = network(pixels)
        check_told(network, pixels)
        # In the order of the table and of the head, not of the alphabet.
        assert [(row, list(parts)) for row, parts in outputs.items()] == [(row, ["place", "classes"]) for row in "qa"]
        assert all({part: tuple(x.shape) for part, x in parts.items()} == shapes for parts in outputs.values())
    assert model.output_names == ["q_xy", "q_cls", "a_xy", "a_cls"]
    assert deployable(arch, model).output_names == ["q_place", "q_classes", "a_place", "a_classes"]
    kernel, bias = model.get_layer("a_cls").get_weights()
    assert np.all(bias == -3) and 0.005 < kernel.std() < 0.02


def test_layers_are_named_after_their_rows() -> None:
    arch = small("micro_yolo")
    names = {layer.name for layer in build(arch).layers} - {"image", "rescale"}
    assert {name.split("_")[0] for name in names} == {row.name for row in arch.rows}
    assert {"l9_expand_bn", "l9_dw", "l9_se_squeeze", "l9_project", "l13_pw", "l1_conv", "l16_obj"} <= names


def test_the_same_seed_gives_the_same_weights() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        return build(one_block(Row("x", "mbconv", 16, k=3, mid=32, se=4))).get_weights()

    first, again, other = weights(5), weights(5), weights(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_no_squeeze_starts_dead() -> None:
    keras.utils.set_random_seed(3)
    model = build(small("micro_yolo"))
    squeezes = [layer.output for layer in model.layers if layer.name.endswith("_se_relu")]
    for squeeze in keras.Model(model.input, squeezes)(images(SIZE)):
        assert np.all(squeeze > 0)


def test_scores_start_low() -> None:
    for classes in (1, 3, 80):
        arch = ARCHS["yolo_lite"].resized((64, 64)).with_classes(classes)
        (parts,) = deployable(arch, build(arch))(images((64, 64)).astype(np.float32)).values()
        assert float(tf.reduce_mean(parts["objectness"])) == pytest.approx(0.01, abs=0.005)


def test_weights_of_another_table_are_refused() -> None:
    arch = small("micro_yolo")
    with pytest.raises(ValueError, match=r"^micro_yolo: the weights do not fit the table at layer l16_cls$"):
        deployable(arch, build(arch.with_classes(4)))
    with pytest.raises(ValueError, match=r"^yolo_lite: the weights do not fit the table at layer conv1_conv$"):
        deployable(ARCHS["yolo_lite"], build(arch))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision(policy: str) -> None:
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = build(ARCHS["yolo_lite"].resized((64, 64)).with_classes(2))
        assert model.get_layer("conv1_conv").compute_dtype == policy.removeprefix("mixed_")
        assert {each.dtype for each in tf.nest.flatten(model(images((64, 64))))} == {tf.float32}
        check_told(model, images((64, 64)).astype(np.float32))
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("layer", [DepthwiseConv2D, BatchNormalization, UpSampling2D])
def test_a_layer_names_what_its_call_takes(layer: type) -> None:
    """As tfmot's wrapper asks just so, and leaves out `training` where it is not named."""
    assert {"inputs", "training"} <= set(inspect.getfullargspec(layer.call).args)
