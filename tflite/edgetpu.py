"""Whether a .tflite suits the Coral Edge TPU, by its compiler's published list; and the compiler itself, where it is.

The compiler maps operators from the inputs on, up to the first that it cannot map; it and all that follow run on the
CPU. It is a closed program for 64-bit Linux, so without it there is only a prediction, by the table "Supported
operations" and the section "Model requirements" of Coral's page "TensorFlow models on the Edge TPU".
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.tflite.costs import macs
from micro_yolo.tflite.inspect import Model, Op, Tensor

COMPILER, LIBRARY = "edgetpu_compiler", "libedgetpu.so.1"
MAPPED, UNSURE, UNMAPPED = "mapped", "unsure", "not mapped"
# On-chip memory for weights; what is beyond it is fetched anew for each image.
CACHE_BYTES = 8 << 20
_BYTES = ("int8", "uint8")
_NONE = 0  # fusedActivationFunction
_SOFTMAX_ELEMENTS = 16000
_PLAIN = (
    "ADD LOGISTIC MAXIMUM MINIMUM MUL SUB TANH RELU RELU6 RELU_N1_TO_1 QUANTIZE L2_NORMALIZATION RSQRT SLICE "
    "SPACE_TO_DEPTH SQUARED_DIFFERENCE EXPAND_DIMS TRANSPOSE TRANSPOSE_CONV LSTM UNIDIRECTIONAL_SEQUENCE_LSTM"
)


@dataclass(frozen=True)
class Verdict:
    """On one operator: MAPPED, UNSURE (the list says it depends) or UNMAPPED, and why if not the first."""

    layer: str
    op: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Prediction:
    """What the compiler would do by its published list. A prediction: nothing was compiled.

    Attributes:
        verdicts: of the operators of the main graph in order.
        mapped: operators on the Edge TPU if no unsure one is mapped and all behind the first run on the CPU.
        mapped_at_best: and if all unsure ones are, and the CPU takes only what depends on one that is not.
        macs_share: part of the multiply-accumulates in `mapped`, 0 to 1.
        ends_at: the first operator that is surely not mapped; None if there is none.
        first_unsure: the first that may end the segment before that; None if there is none.
        cached: whether the constants fit in on-chip memory.
    """

    verdicts: tuple[Verdict, ...]
    mapped: int
    mapped_at_best: int
    macs_share: float
    ends_at: Verdict | None
    first_unsure: Verdict | None
    cached: bool


@dataclass(frozen=True)
class Compiled:
    """What the compiler said.

    Attributes:
        mapped: operators on the Edge TPU.
        on_cpu: operators on the CPU.
        operators: (name, count, status) as in its log.
        log: all that it said.
    """

    mapped: int
    on_cpu: int
    operators: tuple[tuple[str, int, str], ...]
    log: str


def predict(model: Model) -> Prediction:
    """Which operators the compiler would map."""
    tensors = [tensor for tensor in model.tensors if tensor.subgraph == 0]
    ops = [op for op in model.ops if op.subgraph == 0]
    verdicts = [_verdict(op, tensors) for op in ops]
    # The compiler leaves the conversion of a float input to the CPU, in front of its segment.
    front = {n for n, op in enumerate(ops) if op.name == "QUANTIZE" and set(op.inputs) <= set(model.inputs)}
    surely = next((n for n, each in enumerate(verdicts) if each.verdict != MAPPED and n not in front), len(ops))
    mapped = [op for n, op in enumerate(ops[:surely]) if verdicts[n].verdict == MAPPED]
    at_best, on_cpu = 0, set[int]()
    for n, (op, verdict) in enumerate(zip(ops, verdicts, strict=True)):
        if verdict.verdict != UNMAPPED and not on_cpu & set(op.inputs):
            at_best += 1
        elif n not in front:
            on_cpu |= set(op.outputs)
    total = sum(macs(model, op) for op in ops)
    end = next((n for n, each in enumerate(verdicts) if each.verdict == UNMAPPED and n not in front), len(ops))
    return Prediction(
        tuple(verdicts),
        len(mapped),
        at_best,
        sum(macs(model, op) for op in mapped) / total if total else 0.0,
        verdicts[end] if end < len(ops) else None,
        next((each for each in verdicts[:end] if each.verdict == UNSURE), None),
        sum(tensor.n_bytes for tensor in tensors if tensor.constant) <= CACHE_BYTES,
    )


def compiler() -> str | None:
    """Where the compiler is, None if it is not on the PATH."""
    return shutil.which(COMPILER)


def compile_with(program: str, path: Path, out: Path | None = None, timeout: float = 600) -> Compiled:
    """Run the compiler on a file, keeping the compiled one in the folder `out` if given.

    Raises ValueError if it fails, cannot be understood or takes longer than `timeout` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [program, "--show_operations", "--out_dir", folder, str(path)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"{path}: {COMPILER} did not end in {timeout:g} s") from None
        log = done.stdout + done.stderr
        # Also written to a file; which of the two has the table depends on the version.
        for written in Path(folder).glob("*.log"):
            log += written.read_text(errors="replace")
        if done.returncode:
            raise ValueError(f"{path}: {COMPILER} failed: {' '.join(log.split())[-300:]}")
        compiled = parse(log, path)
        if out is not None:
            for made in Path(folder).glob("*_edgetpu.tflite"):
                out.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, out / made.name)
    return compiled


def parse(log: str, name: object = "model") -> Compiled:
    """The figures in a log of the compiler. Raises ValueError if there are none."""
    mapped = re.search(r"will run on Edge TPU: *(\d+)", log)
    on_cpu = re.search(r"will run on CPU: *(\d+)", log)
    rows = re.findall(r"^([A-Z][A-Z0-9_]+) +(\d+) +(\S.*?) *$", log, re.M)
    operators = tuple(dict.fromkeys((op, int(count), status) for op, count, status in rows))
    if mapped is None and not operators:
        raise ValueError(f"{name}: cannot understand {COMPILER}'s log: {' '.join(log.split())[-300:]}")
    # Where everything is mapped, some versions give the table alone.
    on_tpu = sum(count for _, count, status in operators if status.startswith("Mapped"))
    others = sum(count for _, count, status in operators) - on_tpu
    return Compiled(int(mapped[1]) if mapped else on_tpu, int(on_cpu[1]) if on_cpu else others, operators, log)


def library() -> str | None:
    """The Edge TPU's runtime library, None if it is not installed."""
    return LIBRARY if find_library("edgetpu") else None


def missing() -> list[str]:
    """What is needed to compile for an Edge TPU and to measure on one, and is not here."""
    needs = []
    if compiler() is None:
        needs.append(f"{COMPILER} is not on the PATH (Coral's package edgetpu-compiler, 64-bit Linux on x86)")
    if library() is None:
        needs.append("libedgetpu is not installed (Coral's package libedgetpu1-std), so no device was looked for")
    return needs


def _verdict(op: Op, tensors: list[Tensor]) -> Verdict:
    reads = [tensors[index] for index in op.inputs if index >= 0]
    writes = [tensors[index] for index in op.outputs if index >= 0]
    layer = writes[0].name if writes else ""
    reason = _tensor_limits(op, reads, writes)
    if reason:
        return Verdict(layer, op.name, UNMAPPED, reason)
    if op.name in _PLAIN.split():
        return Verdict(layer, op.name, MAPPED, "")
    limits = _LIMITS.get(op.name)
    if limits is None:
        return Verdict(layer, op.name, UNMAPPED, "not in the published list")
    verdict, reason = limits(op, reads, writes)
    return Verdict(layer, op.name, verdict, reason)


def _tensor_limits(op: Op, reads: list[Tensor], writes: list[Tensor]) -> str:
    parameters = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2}.get(op.name, 0)
    if any(not tensor.constant for tensor in reads[1 : 1 + parameters]):
        return "weights and bias must be constants"
    if any(tensor.constant and tensor.dtype == "int4" for tensor in reads):
        return "weights must be 8-bit integers, got int4; `python -m pipeline.convert --pack none` keeps a byte each"
    activations = [tensor for tensor in (*reads, *writes) if not tensor.constant]
    for tensor in activations:
        # What QUANTIZE reads or makes of floats is the CPU's; between two 8-bit types it is mapped.
        if tensor.dtype not in _BYTES:
            return f"tensors must be 8-bit integers, got {tensor.dtype}"
        if tensor.dynamic:
            return "sizes must be known when compiled, got a dynamic one"
        if any(side != 1 for side in tensor.shape[:-3]):
            return f"only the three innermost sides may be above 1, got {list(tensor.shape)}"
    return ""


_Limit = Callable[[Op, list[Tensor], list[Tensor]], tuple[str, str]]


def _no_activation(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    if op.options.get("fusedActivationFunction", _NONE) != _NONE:
        return UNMAPPED, "no fused activation allowed"
    return MAPPED, ""


def _concatenation(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    if any(tensor.constant for tensor in reads):
        if len(reads) != 2:
            return UNMAPPED, "with a constant input there must be two inputs"
        return UNSURE, "a constant input must be all zero"
    return _no_activation(op, reads, writes)


def _conv(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    dilation = op.options.get("dilationHFactor", 1), op.options.get("dilationWFactor", 1)
    if dilation[0] != dilation[1]:
        return UNMAPPED, f"the dilation must be the same in x and y, got {list(dilation)}"
    return MAPPED, ""


def _depthwise(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    dilation = op.options.get("dilationHFactor", 1), op.options.get("dilationWFactor", 1)
    return (MAPPED, "") if dilation == (1, 1) else (UNMAPPED, f"no dilated kernels, got {list(dilation)}")


def _fully_connected(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    if op.options.get("weightsFormat", 0):
        return UNMAPPED, "weights must have the default format"
    if writes and math.prod(writes[0].shape[:-1]) != 1:
        return UNMAPPED, f"the output must have one dimension, got {list(writes[0].shape)}"
    return MAPPED, ""


def _resize(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    return UNSURE, "depends on the sizes: may not be mapped, to avoid a loss of precision"


def _reshape(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    return UNSURE, "may not be mapped for large tensors"


def _softmax(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    shape = reads[0].shape if reads else ()
    if math.prod(shape[:-1]) != 1 or math.prod(shape) > _SOFTMAX_ELEMENTS:
        return UNMAPPED, f"one dimension of at most {_SOFTMAX_ELEMENTS} elements, got {list(shape)}"
    return MAPPED, ""


def _squeeze(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    shape = reads[0].shape if reads else ()
    leading = next((n for n, side in enumerate(shape) if side != 1), len(shape))
    return (MAPPED, "") if 1 not in shape[leading:] else (UNMAPPED, f"only leading sides of 1, got {list(shape)}")


def _reduction(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    entry, leave = (tensors[0].shape if tensors else () for tensors in (reads, writes))
    if len(entry) == 4 and leave and (leave[-1] != entry[-1] or math.prod(leave) > math.prod(entry[1:])):
        return UNMAPPED, f"only along x and y, got {list(entry)} -> {list(leave)}"
    return (MAPPED, "") if len(entry) == 4 else (UNSURE, "only along x and y")


def _pad(op: Op, reads: list[Tensor], writes: list[Tensor]) -> tuple[str, str]:
    entry, leave = (tensors[0].shape if tensors else () for tensors in (reads, writes))
    if len(entry) == len(leave) == 4 and (entry[0], entry[3]) != (leave[0], leave[3]):
        return UNMAPPED, f"only along x and y, got {list(entry)} -> {list(leave)}"
    return (MAPPED, "") if len(entry) == 4 else (UNSURE, "only along x and y")


def _depends(reason: str) -> _Limit:
    return lambda op, reads, writes: (UNSURE, reason)


_LIMITS: dict[str, _Limit] = {
    "AVERAGE_POOL_2D": _no_activation,
    "MAX_POOL_2D": _no_activation,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SOFTMAX": _softmax,
    "SQUEEZE": _squeeze,
    "MEAN": _reduction,
    "SUM": _reduction,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "PAD": _pad,
    "PACK": _depends("not in the batch dimension"),
    "SPLIT": _depends("not in the batch dimension"),
    "STRIDED_SLICE": _depends("all strides must be 1"),
    "PRELU": _depends("alpha must have one dimension"),
}
