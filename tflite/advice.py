"""What to know of a .tflite before it is deployed, and which targets take which of its operators."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from micro_yolo.tflite import edgetpu
from micro_yolo.tflite.inspect import Model, Op, Tensor

GPU, ETHOS_U, EDGE_TPU = "GPU delegate", "Ethos-U", "Edge TPU"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_FLOATS = ("float32", "float16", "bfloat16", "float64")
_BRIDGES = ("QUANTIZE", "DEQUANTIZE")
_INTEGERS = ("int8", "uint8", "int16")
# A scale by which 0..1 is at least this many steps is fine enough for scores.
_STEPS = 128


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Operators of TFLite's GPU delegate.
_ON_GPU = _named(
    "ABS ADD AVERAGE_POOL_2D BATCH_MATMUL CAST CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE "
    "DEQUANTIZE DIV ELU EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL "
    "HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM "
    "MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU "
    "RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT_V2 SIN SLICE SOFTMAX "
    "SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE "
    "TRANSPOSE_CONV"
)
# Of `vela --supported-ops-report`, Ethos-U55 and U65, whose lists are the shorter ones.
_ON_ETHOS_U = _named(
    "ABS ADD ARG_MAX AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D ELU EXP EXPAND_DIMS "
    "FULLY_CONNECTED GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG "
    "PACK PAD PADV2 PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE "
    "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RSQRT SLICE SOFTMAX SPLIT SPLIT_V SQUARED_DIFFERENCE "
    "SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK"
)


@dataclass(frozen=True)
class Placed:
    """Where the operators of one kind run.

    Attributes:
        op: operator.
        count: in the main graph.
        on: target -> how many of them it takes, by its published list; of the Edge TPU, surely and with the unsure.
    """

    op: str
    count: int
    on: dict[str, int]


def placed(model: Model, delegated: list[bool] | None = None, cpu: str = "XNNPACK") -> list[Placed]:
    """The kinds of operators of the main graph, most frequent first; `delegated` is what `cpu` was seen to take."""
    ops = [op for op in model.ops if op.subgraph == 0]
    tensors = _tensors(model)
    verdicts = edgetpu.predict(model).verdicts
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for n, (op, verdict) in enumerate(zip(ops, verdicts, strict=True)):
        found = counts[op.name]
        found[""] += 1
        if delegated is not None:
            found[cpu] += delegated[n]
        found[GPU] += takes_gpu(op, tensors)
        found[ETHOS_U] += takes_ethos_u(op, tensors)
        found[EDGE_TPU] += verdict.verdict != edgetpu.UNMAPPED
    rows = sorted(counts.items(), key=lambda item: -item[1][""])
    return [Placed(op, found[""], {target: count for target, count in found.items() if target}) for op, found in rows]


def takes_gpu(op: Op, tensors: list[Tensor]) -> bool:
    """Whether TFLite's GPU delegate has the operator, for the types of its activations."""
    return op.name in _ON_GPU and _types(op, tensors) <= {"float32", "float16", "int8", "uint8", "bool", "int32"}


def takes_ethos_u(op: Op, tensors: list[Tensor]) -> bool:
    """Whether Vela's list has the operator, for integer activations; limits of shapes are Vela's to say."""
    # It ends by a signal on kernels of four bits.
    if any(index >= 0 and tensors[index].dtype == "int4" for index in op.inputs):
        return False
    return op.name in _ON_ETHOS_U and _types(op, tensors) <= {*_INTEGERS, "int32"}


def warnings(model: Model) -> list[str]:
    """What a deployer should know, most serious first."""
    tensors = _tensors(model)
    ops = [op for op in model.ops if op.subgraph == 0]
    return [
        *_foreign(ops),
        *_sizes(model, tensors),
        *_ranges(model.tensors),
        *_islands(ops, tensors),
        *_scores(model, ops, tensors),
        *_weights(ops, tensors),
        *_targets(model, ops, tensors),
    ]


def _foreign(ops: list[Op]) -> list[str]:
    found = sorted({op.name for op in ops if op.name.startswith(("CUSTOM:", "UNKNOWN:"))})
    notes = []
    for name in found:
        if name == "CUSTOM:TFLite_Detection_PostProcess":
            notes.append(
                "suppression is inside the file (TFLite_Detection_PostProcess): every TFLite runtime for CPUs has it, "
                "accelerators leave it to the CPU"
            )
        elif name.startswith("CUSTOM:Flex"):
            notes.append(f"{name}: needs TensorFlow's Flex library in the application")
        elif name == "CUSTOM:edgetpu-custom-op":
            notes.append(f"{name}: compiled for the Coral Edge TPU, runs nowhere else")
        elif name == "CUSTOM:ethos-u":
            notes.append(f"{name}: compiled for Arm's Ethos-U, runs nowhere else")
        else:
            notes.append(f"{name}: not an operator of TFLite, the application must bring it")
    return notes


def _sizes(model: Model, tensors: list[Tensor]) -> list[str]:
    notes = []
    if any(tensors[index].dynamic for index in (*model.inputs, *model.outputs)):
        notes.append("an input or output has no fixed size: accelerators refuse it; convert with one size and batch 1")
    for index in model.inputs:
        shape = tensors[index].shape
        if len(shape) == 4 and shape[0] > 1:
            notes.append(f"the batch of {tensors[index].name} is {shape[0]}: devices look at one picture at a time")
    if not model.signature_outputs:
        notes.append("no signature: outputs can only be told apart by their order")
    if any(tensor.subgraph for tensor in model.tensors):
        notes.append("control flow (several subgraphs): accelerators refuse it")
    return notes


def _ranges(tensors: tuple[Tensor, ...]) -> list[str]:
    bad = [t.name for t in tensors if any(not (math.isfinite(s) and 0 < s < 1e6) for s in t.scales)]
    return [f"{len(bad)} tensors have a scale of zero or an absurd one, first {bad[0]}"] if bad else []


def _islands(ops: list[Op], tensors: list[Tensor]) -> list[str]:
    """Float operators in a file that computes in integers elsewhere."""
    weighted = [op for op in ops if op.name in WEIGHTED]
    whole = [op for op in weighted if _types(op, tensors) <= {*_INTEGERS, "int32"}]
    floats = [n for n, op in enumerate(ops) if op.name not in _BRIDGES and _types(op, tensors) & set(_FLOATS)]
    if not whole or not floats:
        hybrid = [op for op in weighted if op not in whole and _weight(op, tensors).dtype == "int8"]
        told = "layers have int8 weights and float activations: smaller, but no accelerator runs them"
        return [f"{len(hybrid)} {told}"] if hybrid else []
    # What is computed in integers afterwards makes an island; the rest is a tail.
    writer = {index: n for n, op in enumerate(ops) for index in op.outputs}
    open_ = [index for op in ops if op.name == "QUANTIZE" for index in op.inputs]
    inside: set[int] = set()
    while open_:
        number = writer.get(open_.pop())
        if number in floats and number not in inside:
            inside.add(number)
            open_ += ops[number].inputs
    notes = []
    for found, told in (
        (
            [n for n in floats if n in inside],
            "float islands: {} operators compute in float among integers ({}), {}",
        ),
        ([n for n in floats if n not in inside], "float tail: the last {} operators compute in float ({}), {}"),
    ):
        if found:
            names = ", ".join(sorted({ops[n].name for n in found}))
            outputs = ops[found[0]].outputs
            notes.append(told.format(len(found), names, f"first {tensors[outputs[0]].name if outputs else '-'}"))
    return notes


def _scores(model: Model, ops: list[Op], tensors: list[Tensor]) -> list[str]:
    """Outputs in which boxes and scores share one scale: the larger boxes leave the scores a few steps."""
    writer = {index: op for op in ops for index in op.outputs}
    notes = []
    for index in model.outputs:
        tensor = tensors[index]
        if tensor.dtype not in ("int8", "uint8") or len(tensor.scales) != 1:
            continue
        sources = _sources(index, writer)
        if "LOGISTIC" not in sources or tensor.scales[0] * _STEPS <= 1:
            continue
        steps = math.floor(1 / tensor.scales[0])
        mixed = " and shares it with what is not a score" if len(sources) > 1 else ""
        notes.append(
            f"output {tensor.name}: its scale leaves scores {steps} steps between 0 and 1{mixed}; "
            "boxes and scores need outputs of their own"
        )
    return notes


def _sources(index: int, writer: dict[int, Op]) -> set[str]:
    """The operators that make a tensor, seen through those that only move values."""
    moves = _named("CONCATENATION RESHAPE TRANSPOSE PACK STRIDED_SLICE QUANTIZE SQUEEZE EXPAND_DIMS PAD")
    found, open_, seen = set(), [index], {index}
    while open_:
        op = writer.get(open_.pop())
        if op is None:
            continue
        if op.name not in moves:
            found.add(op.name)
            continue
        new = [entry for entry in op.inputs if entry not in seen]
        seen.update(new)
        open_ += new
    return found


def _weights(ops: list[Op], tensors: list[Tensor]) -> list[str]:
    notes = []
    coarse = [
        op.name
        for op in ops
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
        and (weight := _weight(op, tensors)).dtype == "int8"
        and len(weight.scales) == 1
        and max(weight.shape, default=1) > 1
        and weight.shape[3 if op.name == "DEPTHWISE_CONV_2D" else 0] > 1
    ]
    if coarse:
        depthwise = coarse.count("DEPTHWISE_CONV_2D")
        notes.append(
            f"{len(coarse)} layers have one scale for all channels of their weights ({depthwise} of them depthwise), "
            "which costs accuracy"
        )
    halves = [t for t in tensors if t.constant and t.dtype == "float16"]
    if halves:
        notes.append("weights are float16: a CPU unpacks them to float32 when it loads the file")
    wide = [t for t in tensors if not t.constant and t.dtype == "int16"]
    if wide:
        notes.append("activations are int16: the GPU delegate and the Edge TPU refuse them, XNNPACK leaves most alone")
    return notes


def _targets(model: Model, ops: list[Op], tensors: list[Tensor]) -> list[str]:
    notes = []
    for target, takes in ((GPU, takes_gpu), (ETHOS_U, takes_ethos_u)):
        left = sorted({op.name for op in ops if not takes(op, tensors)})
        if left:
            count = sum(not takes(op, tensors) for op in ops)
            notes.append(f"{target}: leaves {count} of {len(ops)} operators to the CPU ({', '.join(left)})")
    found = edgetpu.predict(model)
    if found.ends_at is not None:
        at = found.ends_at
        notes.append(
            f"{EDGE_TPU} (predicted): {found.mapped} of {len(ops)} operators, ends at {at.op} {at.layer}: {at.reason}"
        )
    elif found.first_unsure is not None:
        at = found.first_unsure
        notes.append(
            f"{EDGE_TPU} (predicted): {found.mapped} to {found.mapped_at_best} of {len(ops)} operators; {at.op} "
            f"{at.layer} {at.reason}"
        )
    return notes


def _tensors(model: Model) -> list[Tensor]:
    return [tensor for tensor in model.tensors if tensor.subgraph == 0]


def _types(op: Op, tensors: list[Tensor]) -> set[str]:
    return {tensors[index].dtype for index in (*op.inputs, *op.outputs) if index >= 0 and not tensors[index].constant}


def _weight(op: Op, tensors: list[Tensor]) -> Tensor:
    index = op.inputs[1] if len(op.inputs) > 1 else -1
    return tensors[index] if index >= 0 else Tensor("", "", (), (), (), False, 0)
