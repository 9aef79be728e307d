"""Costs and warnings of models made up here, so that each rule has its own."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_yolo.tflite import advice, costs, edgetpu
from micro_yolo.tflite.inspect import Model, Op, Tensor


def tensor(name: str, shape: tuple[int, ...], dtype: str = "int8", *, n_bytes: int = 0, scale: float = 0.1) -> Tensor:
    scales = (scale,) if dtype in ("int8", "uint8", "int16") else ()
    return Tensor(name, dtype, shape, scales, (0,) * len(scales), n_bytes > 0, n_bytes)


def model(tensors: list[Tensor], ops: list[Op], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Model:
    return Model(1000, tuple(tensors), tuple(ops), inputs, outputs, {"in": inputs[0]}, {"out": outputs[0]})


def conv_model(dtype: str = "int8", **options: int) -> Model:
    tensors = [
        tensor("image", (1, 8, 8, 3), dtype),
        tensor("w", (16, 3, 3, 3), dtype, n_bytes=432),
        tensor("b", (16,), "int32", n_bytes=64),
        tensor("net/l1_act/Relu6;net/l1_conv/Conv2D", (1, 4, 4, 16), dtype),
    ]
    return model(tensors, [Op("CONV_2D", (0, 1, 2), (3,), options=dict(options))], (0,), (3,))


@pytest.mark.parametrize(
    ("op", "entry", "kernel", "leave", "expected"),
    [
        ("CONV_2D", (1, 8, 8, 3), (16, 3, 3, 3), (1, 4, 4, 16), 4 * 4 * 16 * 27),
        ("CONV_2D", (1, 8, 8, 4), (16, 3, 3, 2), (1, 8, 8, 16), 8 * 8 * 16 * 18),  # in groups
        ("DEPTHWISE_CONV_2D", (1, 8, 8, 3), (1, 5, 5, 6), (1, 8, 8, 6), 8 * 8 * 6 * 25),
        ("FULLY_CONNECTED", (2, 10), (7, 10), (2, 7), 140),
        ("BATCH_MATMUL", (2, 3, 4), (2, 4, 5), (2, 3, 5), 2 * 3 * 4 * 5),
        ("ADD", (1, 8, 8, 3), (1, 8, 8, 3), (1, 8, 8, 3), 0),
    ],
)
def test_macs(op, entry, kernel, leave, expected):
    found = model([tensor("a", entry), tensor("k", kernel), tensor("o", leave)], [Op(op, (0, 1), (2,))], (0,), (2,))
    assert costs.macs(found, found.ops[0]) == expected


def test_macs_of_a_transposed_convolution():
    tensors = [
        tensor("s", (4,), "int32"),
        tensor("k", (6, 3, 3, 4)),
        tensor("a", (1, 5, 5, 4)),
        tensor("o", (1, 10, 10, 6)),
    ]
    found = model(tensors, [Op("TRANSPOSE_CONV", (0, 1, 2), (3,))], (2,), (3,))
    assert costs.macs(found, found.ops[0]) == 5 * 5 * 4 * 9 * 6


def test_layers_count_a_shared_constant_once():
    found = conv_model()
    twice = replace(found, ops=found.ops * 2)
    layers = costs.layers(twice)
    assert [layer.constant_bytes for layer in layers] == [496, 0]
    assert layers[0].name == "out"
    assert costs.short_name("net/l1_act/Relu6;net/l1_conv/Conv2D") == "l1_act"
    assert costs.short_name("tfl.quantize") == "tfl.quantize"


def test_arena_of_a_chain_reuses_memory():
    # 64, 256, 128, 64 bytes: only neighbours live together.
    tensors = [tensor(name, (size,)) for name, size in zip("abcd", (64, 256, 128, 64), strict=True)]
    chain = model(tensors, [Op("RELU", (n,), (n + 1,)) for n in range(3)], (0,), (3,))
    found = costs.arena(chain)
    assert (found.n_bytes, found.peak_bytes, found.peak_layer) == (384, 384, "c")


def test_arena_keeps_a_skip_alive():
    tensors = [tensor(name, (64,)) for name in "abcde"]
    ops = [Op("RELU", (0,), (1,)), Op("RELU", (1,), (2,)), Op("RELU", (2,), (3,)), Op("ADD", (3, 0), (4,))]
    assert costs.arena(model(tensors, ops, (0,), (4,))).peak_bytes == 192
    assert costs.arena(model(tensors[:1], [], (0,), (0,))).n_bytes in (0, 64)


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 9)), min_size=2, max_size=25))
def test_arena_never_lays_two_living_tensors_over_each_other(sizes):
    tensors = [tensor(str(n), (size,)) for n, (size, _) in enumerate(sizes)]
    ops = [Op("ADD", (n, n - min(n, back)), (n + 1,)) for n, (_, back) in enumerate(sizes[:-1])]
    found = model(tensors, ops, (0,), (len(sizes) - 1,))
    placed = costs.plan(found)
    assert len(placed) == len(tensors)
    for one, other in itertools.combinations(placed, 2):
        together = one.first <= other.last and other.first <= one.last
        assert not together or one.start + one.size <= other.start or other.start + other.size <= one.start
    arena = costs.arena(found)
    assert arena.peak_bytes <= arena.n_bytes <= sum(block.size for block in placed)


def test_a_clean_model_has_no_warnings():
    found = conv_model()
    weights = replace(found.tensors[1], scales=(0.1,) * 16, zero_points=(0,) * 16)
    assert advice.warnings(replace(found, tensors=(found.tensors[0], weights, *found.tensors[2:]))) == []


def test_weights_with_one_scale_are_told():
    assert any("1 layers have one scale for all channels" in each for each in advice.warnings(conv_model()))


def test_a_float_island_is_told():
    found = conv_model()
    tensors = (*found.tensors, tensor("f", (1, 4, 4, 16), "float32"), tensor("g", (1, 4, 4, 16), "float32"))
    tensors = (*tensors, tensor("back", (1, 4, 4, 16)))
    ops = (*found.ops, Op("DEQUANTIZE", (3,), (4,)), Op("EXP", (4,), (5,)), Op("QUANTIZE", (5,), (6,)))
    notes = advice.warnings(replace(found, tensors=tensors, ops=ops, outputs=(6,)))
    assert any(
        note.startswith("float islands: 1 operators compute in float among integers (EXP), first g") for note in notes
    )
    tail = advice.warnings(replace(found, tensors=tensors, ops=ops[:-1], outputs=(5,)))
    assert "float tail: the last 1 operators compute in float (EXP), first g" in tail
    assert not any("float" in note.split(":")[0] for note in (*tail[1:], *advice.warnings(conv_model("float32"))))


@pytest.mark.parametrize(("scale", "told"), [(1 / 256, False), (0.05, True)])
def test_a_scale_shared_by_boxes_and_scores_is_told(scale, told):
    tensors = [
        tensor("boxes", (1, 9, 4)),
        tensor("logits", (1, 9, 2)),
        tensor("scores", (1, 9, 2), scale=1 / 256),
        tensor("decoded", (1, 9, 4)),
        tensor("both", (1, 9, 6), scale=scale),
    ]
    ops = [Op("LOGISTIC", (1,), (2,)), Op("MUL", (0, 0), (3,)), Op("CONCATENATION", (3, 2), (4,))]
    notes = advice.warnings(model(tensors, ops, (0, 1), (4,)))
    assert any("steps between 0 and 1 and shares it" in note for note in notes) is told


def test_what_needs_another_library_is_told():
    found = conv_model()
    flex = replace(found, ops=(*found.ops, Op("CUSTOM:FlexErf", (3,), (3,)), Op("CUSTOM:Mine", (3,), (3,))))
    notes = advice.warnings(flex)
    assert any("FlexErf: needs TensorFlow's Flex library" in note for note in notes)
    assert any("Mine: not an operator of TFLite" in note for note in notes)


def test_dynamic_sizes_and_absurd_scales_are_told():
    found = conv_model()
    tensors = (replace(found.tensors[0], dynamic=True, scales=(math.nan,)), *found.tensors[1:])
    notes = advice.warnings(replace(found, tensors=tensors))
    assert any("no fixed size" in note for note in notes)
    assert any("1 tensors have a scale of zero or an absurd one, first image" in note for note in notes)


def test_targets_by_type():
    assert [each.on for each in advice.placed(conv_model(), [True])] == [
        {"XNNPACK": 1, "GPU delegate": 1, "Ethos-U": 1, "Edge TPU": 1}
    ]
    assert advice.placed(conv_model("float32"))[0].on == {"GPU delegate": 1, "Ethos-U": 0, "Edge TPU": 0}
    assert advice.placed(conv_model("int16"))[0].on == {"GPU delegate": 0, "Ethos-U": 1, "Edge TPU": 0}


def edge_tpu(op: str, *shapes: tuple[int, ...], constants: tuple[int, ...] = (), **options: int) -> edgetpu.Verdict:
    tensors = [tensor(str(n), shape, n_bytes=8 * (n in constants)) for n, shape in enumerate(shapes)]
    last = len(shapes) - 1
    found = model(tensors, [Op(op, tuple(range(last)), (last,), options=dict(options))], (0,), (last,))
    return edgetpu.predict(found).verdicts[0]


CELLS, KERNEL = (1, 8, 8, 4), (4, 3, 3, 4)


@pytest.mark.parametrize(
    ("found", "verdict", "reason"),
    [
        (edge_tpu("CONV_2D", CELLS, KERNEL, (4,), CELLS, constants=(1, 2)), "mapped", ""),
        (edge_tpu("CONV_2D", CELLS, KERNEL, CELLS), "not mapped", "constants"),
        (edge_tpu("CONV_2D", CELLS, KERNEL, CELLS, constants=(1,), dilationHFactor=2), "not mapped", "x and y"),
        (edge_tpu("DEPTHWISE_CONV_2D", CELLS, (1, 3, 3, 4), CELLS, constants=(1,), dilationWFactor=2),
         "not mapped", "dilated"),
        (edge_tpu("MAX_POOL_2D", CELLS, (1, 4, 4, 4), fusedActivationFunction=3), "not mapped", "fused"),
        (edge_tpu("MAX_POOL_2D", CELLS, (1, 4, 4, 4)), "mapped", ""),
        (edge_tpu("CONCATENATION", CELLS, CELLS, (1, 8, 8, 8)), "mapped", ""),
        (edge_tpu("CONCATENATION", CELLS, CELLS, CELLS, (1, 8, 8, 12), constants=(1,)), "not mapped", "two inputs"),
        (edge_tpu("RESIZE_NEAREST_NEIGHBOR", CELLS, (1, 16, 16, 4)), "unsure", "sizes"),
        (edge_tpu("MEAN", CELLS, (2,), (1, 1, 1, 4), constants=(1,)), "mapped", ""),
        (edge_tpu("MEAN", CELLS, (1,), (1, 8, 8, 1), constants=(1,)), "not mapped", "along x and y"),
        (edge_tpu("PAD", CELLS, (4, 2), (1, 9, 9, 4), constants=(1,)), "mapped", ""),
        (edge_tpu("PAD", CELLS, (4, 2), (1, 8, 8, 6), constants=(1,)), "not mapped", "along x and y"),
        (edge_tpu("SOFTMAX", (1, 20000), (1, 20000)), "not mapped", "16000"),
        (edge_tpu("SOFTMAX", (1, 100), (1, 100)), "mapped", ""),
        (edge_tpu("SQUEEZE", (5, 1, 10), (5, 10)), "not mapped", "leading"),
        (edge_tpu("FULLY_CONNECTED", (3, 4), (2, 4), (3, 2), constants=(1,)), "not mapped", "one dimension"),
        (edge_tpu("LEAKY_RELU", CELLS, CELLS), "not mapped", "not in the published list"),
        (edge_tpu("ADD", (2, 8, 8, 4), (2, 8, 8, 4), (2, 8, 8, 4)), "not mapped", "innermost"),
    ],
)  # fmt: skip
def test_edge_tpu_limits(found, verdict, reason):
    assert found.verdict == verdict
    assert reason in found.reason and bool(reason) is bool(found.reason)


def test_edge_tpu_segment_ends_at_the_first_operator_it_lacks():
    tensors = [tensor(str(n), CELLS) for n in range(6)]
    ops = [
        Op("RELU", (0,), (1,)),
        Op("RESIZE_BILINEAR", (1,), (2,)),
        Op("RELU", (0,), (3,)),  # not behind the doubtful one
        Op("LEAKY_RELU", (3,), (4,)),
        Op("RELU", (4,), (5,)),
    ]
    found = edgetpu.predict(model(tensors, ops, (0,), (5,)))
    assert (found.mapped, found.mapped_at_best) == (1, 3)
    assert found.first_unsure is not None and found.first_unsure.op == "RESIZE_BILINEAR"
    assert found.ends_at is not None and (found.ends_at.op, found.ends_at.layer) == ("LEAKY_RELU", "4")


def test_edge_tpu_leaves_a_float_input_to_the_cpu():
    tensors = [tensor("f", CELLS, "float32"), tensor("q", CELLS), tensor("o", CELLS)]
    found = edgetpu.predict(model(tensors, [Op("QUANTIZE", (0,), (1,)), Op("RELU", (1,), (2,))], (0,), (2,)))
    assert (found.mapped, found.mapped_at_best, found.ends_at) == (1, 1, None)


LOG = """Edge TPU Compiler version 16.0.384591198
Model compiled but not all operations are supported by the Edge TPU.
Number of operations that will run on Edge TPU: 79
Number of operations that will run on CPU: 3

Operator                       Count      Status

CONV_2D                        38         Mapped to Edge TPU
RESIZE_NEAREST_NEIGHBOR        1          Operation is otherwise supported, but not mapped
QUANTIZE                       2          Tensor has unsupported rank (up to 3 innermost dimensions mapped)
"""


def test_the_compilers_log():
    found = edgetpu.parse(LOG)
    assert (found.mapped, found.on_cpu) == (79, 3)
    assert found.operators[0] == ("CONV_2D", 38, "Mapped to Edge TPU")
    assert found.operators[1][2].startswith("Operation is otherwise supported")
    alone = "\n".join(line for line in LOG.splitlines() if "Number of" not in line)
    assert (edgetpu.parse(alone).mapped, edgetpu.parse(alone).on_cpu) == (38, 3)
    with pytest.raises(ValueError, match="cannot understand edgetpu_compiler's log: Internal error"):
        edgetpu.parse("Internal error")
