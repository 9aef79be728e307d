"""An int8 file is the network of quantization-aware training: its integers, its scales, its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from int8_files import lively, strangers
from thinned import thinned

from micro_yolo.model.heads import HEADS
from micro_yolo.model.heads.part import Part
from micro_yolo.model.heads.yolo import Yolo
from micro_yolo.model.keras import keras, unswept
from micro_yolo.model.ops import OPS
from micro_yolo.model.quantization import network as quantize
from micro_yolo.model.quantization.settle import odd, settle
from micro_yolo.model.quantization.wrap import Quantization
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.zoo import ARCHS
from micro_yolo.pipeline.measure.exactness import outputs, said, steps_apart
from micro_yolo.tflite.convert import check, convert

pytestmark = pytest.mark.slow

STEM = Row("stem", "conv", 8, k=3, s=2)
# Every operation, those with several forms in each. All read the stem but where a source is given.
CASES = (
    Row("conv", "conv", 8, k=3, s=2),
    Row("biased", "conv", 8, k=3, bn=False),
    Row("relu", "conv", 8, act="relu"),
    Row("leaky", "conv", 8, k=3, act="leaky"),
    Row("linear", "conv", 8, act="linear"),
    Row("separable", "separable", 12, k=5, s=2),
    Row("separableleaky", "separable", 8, k=3, act="leaky"),
    Row("mb", "mbconv", 12, k=3, s=2, mid=16),
    Row("mbdepthwise", "mbconv", 12, k=3),
    Row("mbskip", "mbconv", 8, k=5, mid=16, skip=True),
    Row("mbgate", "mbconv", 8, k=3, mid=16, se=4, skip=True),
    Row("mbleaky", "mbconv", 12, k=3, mid=16, se=4, act="leaky"),
    Row("pep", "pep", 12, k=3, pre=4, mid=16),
    Row("pepskip", "pep", 8, k=3, pre=4, mid=16, skip=True),
    Row("fca", "fca", se=4),
    Row("pool", "pool", k=2, s=2),
    Row("poolstill", "pool", k=2),
    Row("upsample", "upsample", s=2, src=("pool",)),
    Row("concat", "concat", src=("upsample", "leaky", "linear", "mbskip")),
)
FAMILIES = ("micro_yolo_mobile", "yolov3_tiny", "yolo_lite", "yolo_nano", "micro_yolo")
BITS = (8, 4)


class Probe(Yolo):
    """What a block puts out, through one convolution: three for each block would be most of the network."""

    op, fields = "probe", ()
    parts = (Part("boxes", "box", 7, lambda classes: 0.0),)

    def check(self, row: Row, where: str) -> None:
        """Nothing to check."""

    def predictions(self, row: Row) -> int:
        """One a cell."""
        return 1


@pytest.fixture(scope="module", autouse=True)
def probe() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(HEADS, "probe", Probe())
        yield


def blocks() -> Arch:
    return Arch(
        "blocks",
        (
            STEM,
            Row("dstem", "probe"),
            *(dataclasses.replace(row, src=row.src or ("stem",)) for row in CASES),
            *(Row(f"d{row.name}", "probe", src=(row.name,)) for row in CASES),
        ),
        size=(32, 48),
        classes=2,
    )


def narrowed(arch: Arch, by: int) -> Arch:
    """The network with widths divided by `by`; narrow ones stay at 4."""
    widths = ("out", "mid", "pre", "se")
    rows = (
        dataclasses.replace(row, **{name: max(getattr(row, name) // by, min(4, getattr(row, name))) for name in widths})
        for row in arch.rows
    )
    return arch.replace(rows=tuple(rows))


@dataclass(frozen=True)
class Made:
    """A network and its file."""

    arch: Arch
    model: keras.Model
    data: bytes
    got: dict[str, np.ndarray]
    wanted: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def made(tiny_data: Path) -> Callable[[str, int], Made]:
    """``made("yolo_lite", 4)``: the network quantized on drawn pictures, and its file; each once."""
    from micro_yolo.pipeline.data import load
    from micro_yolo.tflite.image import load_image, resize

    @cache
    def start(name: str) -> tuple[Arch, np.ndarray, keras.Model]:
        arch = blocks() if name == "blocks" else narrowed(thinned(ARCHS[name]).resized((64, 64)).with_classes(3), 4)
        files = load(tiny_data).splits["train"].files
        pixels = np.stack([resize(load_image(path), arch.size)[0] for path in files])
        trained = lively(arch, pixels)
        if name == "blocks":
            gamma, beta, mean, variance = trained.get_layer("conv_bn").get_weights()
            # What training may leave of a channel: nothing, or a constant.
            gamma[:3], beta[:3], mean[0] = (0, 0, 1e-12), (0, 0.4, 0.4), 0
            trained.get_layer("conv_bn").set_weights([gamma, beta, mean, variance])
        return arch, pixels, trained

    @cache
    @unswept()
    def make(name: str, bits: int) -> Made:
        arch, pixels, trained = start(name)
        how = Quantization(bits)
        model = quantize.begin(arch, trained, how)
        quantize.calibrate(model, trained, [pixels[:6], pixels[6:]])
        settle(model)
        deployed = quantize.deployable(arch, model, how)
        data = convert(deployed, "int8", aware=True)
        check(data, "int8", deployed, pixels[:1])
        return Made(arch, model, data, outputs(data, pixels[:4]), said(model, pixels[:4]))

    return make


def test_all_operations_are_looked_at() -> None:
    rows = [*CASES, *(row for name in FAMILIES for row in ARCHS[name].rows)]
    assert {row.op for row in CASES} == set(OPS)
    assert {row.op for row in rows} | {"probe"} == set(OPS) | set(HEADS)


@pytest.mark.parametrize("bits", BITS)
def test_every_kernel_of_the_blocks_is_stored_as_it_was_trained(made: Callable[..., Made], bits: int) -> None:
    it = made("blocks", bits)
    assert strangers(it.arch, it.model, it.data) == []
    levels = max(len(np.unique(kernel.vqk)) for kernel in quantize.kernels(it.model).values())
    assert 2 ** (bits - 1) < levels <= 2**bits


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("block", ["stem", *(row.name for row in CASES)])
def test_a_block_computes_in_integers_what_it_did_in_training(made: Callable[..., Made], block: str, bits: int) -> None:
    it = made("blocks", bits)
    name = f"d{block}_boxes"
    assert np.ptp(it.wanted[name]) > 4
    assert np.mean(np.abs(it.got[name] - it.wanted[name]) <= 1) >= 0.999


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_is_stored_and_computes_as_it_was_trained(made: Callable[..., Made], name: str, bits: int) -> None:
    it = made(name, bits)
    assert strangers(it.arch, it.model, it.data) == []
    assert all(np.ptp(values) > 16 for values in it.wanted.values())
    assert np.mean(steps_apart(it.got, it.wanted) <= 1) >= 0.999


def test_ratios_are_moved_a_little_to_where_nothing_is_halfway() -> None:
    ratios = np.geomspace(1e-6, 2, 2000)
    moved = odd(ratios)
    assert np.abs(moved / ratios - 1).max() <= 1e-3
    assert all(Fraction(ratio).limit_denominator(10**9).denominator % 2 for ratio in moved.tolist())


def test_a_half_is_moved_to_the_first_odd_ratio_within_a_thousandth() -> None:
    assert odd(np.array([0.5, 1 / 3, 2.0])).tolist() == [500 / 1001, 1 / 3, 2.0]
    # The worked example of `odd`: 5 halves are 2.5, 5 of these are 2.4975.
    assert 5 * odd(np.array([0.5]))[0] == pytest.approx(2500 / 1001)


def test_a_kernel_that_differs_by_one_is_noticed(made: Callable[..., Made]) -> None:
    it = made("blocks", 4)
    layer, _, kernel, shifts = next(iter(quantize.shifted_kernels(it.model)))
    before, start = kernel.numpy(), np.exp(shifts["log_kds"].numpy())[0]
    changed = before.copy()
    changed[0, 0, 0, 0] += start if before[0, 0, 0, 0] < 0 else -start
    kernel.assign(changed)
    try:
        assert strangers(it.arch, it.model, it.data) == [layer.name, "file"]
    finally:
        kernel.assign(before)
