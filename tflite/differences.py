"""Where an int8 .tflite loses accuracy: its layers beside those of the float32 file, on the same images."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import child, inspect, twins
from micro_yolo.tflite.edit import Graph
from micro_yolo.tflite.interpreter import Interpreter
from micro_yolo.tflite.ranges import WEIGHTED
from micro_yolo.tflite.twins import Pair

_FLOAT, _INT8, _IMAGES = "float32.tflite", "int8.tflite", "images.npy"
_MOST = 0.5
# Below these shares of a tensor's range a scale is called too wide for a channel, or for the tensor.
_NARROW_CHANNEL = 0.15
_UNUSED = 0.25


@dataclass(frozen=True)
class LayerError:
    """What an operator of the int8 file says, against the float32 file (`snr_db`, `cosine`) and its float twin.

    The twin gets the operator's own int8 inputs and has float weights: the difference is the error this operator adds,
    without what it inherits. Decibels are 10 log10 of signal power to error power, infinite where nothing differs. What
    only a sigmoid reads is compared behind the sigmoid, since where that is flat no error matters.

    Attributes:
        name: of the layer.
        op: builtin name of the operator.
        shape: of its output.
        scale: of its output.
        zero_point: of its output.
        snr_db: against the float32 file, with everything inherited.
        cosine: of the angle between the two tensors as vectors.
        own_snr_db: against the twin.
        saturation: share 0..1 of the twin's values that lie beyond the int8 range by more than half a step.
        unused: share 0..1 of the 256 levels outside the lowest and highest that occurred.
        peak_to_rms: largest |value| of the twin over its root mean square.
        channel_range: median over the channels of the share 0..1 of the int8 range that a channel spans.
        from_saturation: share 0..1 of the own error that comes from values beyond the range.
        from_rounding: likewise from rounding the output to its step.
        from_weights: the rest, for an operator without weights that of its integer arithmetic.
        constant: share 0..1 of the own error that is the same everywhere in a channel.
        weights_snr_db: of the stored weights against the float file's; None without weights.
        cause: the likely cause of the own error, in words.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    snr_db: float
    cosine: float
    own_snr_db: float
    saturation: float
    unused: float
    peak_to_rms: float
    channel_range: float
    from_saturation: float
    from_rounding: float
    from_weights: float
    constant: float
    weights_snr_db: float | None
    cause: str


@dataclass
class _Sums:
    """Power sums over the images seen so far: f of the float file, q dequantized, t of the twin.

    Those of a layer that only sigmoids read are taken behind the sigmoid, save `square`, `peak` and the ranges.
    """

    count: int = 0
    square: float = 0.0
    ff: float = 0.0
    qq: float = 0.0
    fq: float = 0.0
    fq_error: float = 0.0
    tt: float = 0.0
    tq_error: float = 0.0
    clip_error: float = 0.0
    round_error: float = 0.0
    beyond: int = 0
    peak: float = 0.0
    lowest: int = 127
    highest: int = -128
    channel_low: np.ndarray = field(default_factory=lambda: np.array(np.inf))
    channel_high: np.ndarray = field(default_factory=lambda: np.array(-np.inf))
    channel_error: np.ndarray = field(default_factory=lambda: np.array(0.0))

    def add(
        self, f: np.ndarray, stored: np.ndarray, t: np.ndarray, scale: float, zero_point: int, *, gate: bool
    ) -> None:
        q = (stored.astype(np.float32) - zero_point) * np.float32(scale)
        rounded = np.rint(t / np.float32(scale))
        np.clip(rounded, -128 - zero_point, 127 - zero_point, out=rounded)
        rounded *= np.float32(scale)
        channels = t.reshape(-1, t.shape[-1])
        low, high = channels.min(axis=0), channels.max(axis=0)
        self.channel_low = np.minimum(self.channel_low, low)
        self.channel_high = np.maximum(self.channel_high, high)
        self.lowest, self.highest = min(self.lowest, int(stored.min())), max(self.highest, int(stored.max()))
        least, most = (-128.5 - zero_point) * scale, (127.5 - zero_point) * scale
        beyond = (t < least) | (t > most) if low.min() < least or high.max() > most else None
        self.peak = max(self.peak, float(-low.min()), float(high.max()))
        self.count += f.size
        self.square += _power(t)
        if gate:
            f, q, t, rounded = _sigmoid(f), _sigmoid(q), _sigmoid(t), _sigmoid(rounded)
        error = q - t
        rounded -= t
        self.ff += _power(f)
        self.qq += _power(q)
        self.fq += float(np.vdot(f, q))
        self.fq_error += _power(f - q)
        self.tt += _power(t)
        self.tq_error += _power(error)
        clipped = 0.0 if beyond is None else _power(rounded[beyond])
        self.clip_error += clipped
        self.round_error += _power(rounded) - clipped
        self.beyond += 0 if beyond is None else int(beyond.sum())
        self.channel_error = self.channel_error + error.reshape(channels.shape).sum(axis=0, dtype=np.float64)


def measure_apart(
    float_data: bytes,
    int8_data: bytes,
    images: Sequence[np.ndarray],
    *,
    threads: int = 1,
    name: object = "model",
    advance: Callable[[], None] = lambda: None,
) -> list[LayerError]:
    """`measure` in a process of its own, for files that this one did not make; `name` is theirs, for messages.

    Raises ValueError likewise, and if the runtime crashes on one of them.
    """
    with tempfile.TemporaryDirectory(prefix="micro-yolo-") as folder:
        Path(folder, _FLOAT).write_bytes(float_data)
        Path(folder, _INT8).write_bytes(int8_data)
        np.save(Path(folder, _IMAGES), np.stack(images))
        function = f"{__name__}:measured_in"
        found = child.call(function, name=name, advance=advance, folder=folder, threads=threads, called=str(name))
    return [LayerError(**{**each, "shape": tuple(each["shape"])}) for each in found]


def measured_in(*, folder: str, threads: int, called: str, advance: Callable[[], None]) -> list[dict[str, Any]]:
    """`measure` for tflite.child, of what `measure_apart` put into a folder."""
    float_data, int8_data = (Path(folder, name).read_bytes() for name in (_FLOAT, _INT8))
    images = np.load(Path(folder, _IMAGES))
    errors = measure(float_data, int8_data, images, threads=threads, name=called, advance=advance)
    return [asdict(error) for error in errors]


def measure(
    float_data: bytes,
    int8_data: bytes,
    images: Sequence[np.ndarray],
    *,
    threads: int = 1,
    name: object = "model",
    advance: Callable[[], None] = lambda: None,
) -> list[LayerError]:
    """Run both files on uint8 (h, w, 3) images of the model's size and compare every int8 layer.

    TFLite's own kernels run, not XNNPACK's, which do not show what is inside.

    Args:
        float_data: bytes of the float32 .tflite.
        int8_data: bytes of the int8 .tflite of the same network.
        images: at least one.
        threads: of each interpreter.
        name: for messages.
        advance: called after each image.

    Returns:
        One entry per layer, in graph order.

    Raises:
        ValueError: no images, or the files are not those of one network.
    """
    if not len(images):
        raise ValueError("differences: needs at least one image, got none")
    layers = twins.match(float_data, int8_data)
    watched, twin_of = twins.beside(float_data, int8_data, layers)
    tensors = [tensor for tensor in inspect.read(int8_data).tensors if tensor.subgraph == 0]
    whole = Interpreter(float_data, threads=threads, keep_tensors=True, name=str(name))
    integer = Interpreter(watched, threads=threads, keep_tensors=True, name=str(name))
    sums = {layer.name: _Sums() for layer in layers}
    gates = _read_by_sigmoids(int8_data)
    for image in images:
        for interpreter in (whole, integer):
            interpreter.look(image)
        for layer in layers:
            output = tensors[layer.int8_output]
            f, stored, t = (
                whole.tensor(layer.float_output),
                integer.tensor(layer.int8_output),
                integer.tensor(twin_of[layer.name]),
            )
            # The runtime works them out anew from what an operator reads and is told, whatever the file says.
            if not f.shape == stored.shape == t.shape == output.shape or not f.ndim:
                raise ValueError(
                    f"{name}: the runtime cannot run the model as it says: output of {layer.name} must be "
                    f"{list(output.shape)}, got {list(stored.shape)}, {list(f.shape)} in the float32 file"
                )
            sums[layer.name].add(
                f,
                stored,
                t,
                output.scales[0],
                output.zero_points[0],
                gate=layer.int8_output in gates,
            )
        advance()
    kept = _weights_snr(float_data, int8_data, layers)
    return [_error(layer, tensors[layer.int8_output], sums[layer.name], kept.get(layer.name)) for layer in layers]


def worst(errors: Sequence[LayerError], count: int) -> list[LayerError]:
    """The `count` layers that add most error of their own, relative to their signal; the worst first."""
    return sorted(errors, key=lambda error: error.own_snr_db)[:count]


def _error(layer: Pair, output: inspect.Tensor, sums: _Sums, weights_snr_db: float | None) -> LayerError:
    own = sums.tq_error or 1.0
    span = 255 * output.scales[0]
    from_saturation, from_rounding = min(sums.clip_error / own, 1.0), min(sums.round_error / own, 1.0)
    per_channel = sums.count / sums.channel_error.size
    found = LayerError(
        name=layer.name,
        op=layer.op,
        shape=output.shape,
        scale=output.scales[0],
        zero_point=output.zero_points[0],
        snr_db=_db(sums.ff, sums.fq_error),
        cosine=sums.fq / math.sqrt(sums.ff * sums.qq) if sums.ff and sums.qq else float(sums.ff == sums.qq),
        own_snr_db=_db(sums.tt, sums.tq_error),
        saturation=sums.beyond / sums.count,
        unused=1 - (sums.highest - sums.lowest) / 255,
        peak_to_rms=sums.peak / math.sqrt(sums.square / sums.count) if sums.square else 0.0,
        channel_range=float(np.median((sums.channel_high - sums.channel_low) / span)),
        from_saturation=from_saturation,
        from_rounding=from_rounding,
        from_weights=max(0.0, 1 - from_saturation - from_rounding) if sums.tq_error else 0.0,
        constant=float((sums.channel_error**2).sum() / per_channel / own),
        weights_snr_db=weights_snr_db,
        cause="",
    )
    return LayerError(**{**vars(found), "cause": _cause(found, has_signal=sums.square > 0)})


def _cause(error: LayerError, *, has_signal: bool) -> str:
    if not has_signal:
        return "never fires on these images"
    if math.isinf(error.own_snr_db):
        return "none: exact"
    if error.from_saturation > _MOST:
        return f"saturation: {error.saturation:.2%} of its values lie beyond its int8 range"
    if error.from_rounding <= _MOST:
        if error.weights_snr_db is None:
            return "integer arithmetic of the operator"
        where = f"rounding of its weights ({error.weights_snr_db:.0f} dB)"
        if error.constant > _MOST:
            return f"{where}: {error.constant:.0%} of the error is a constant shift per channel"
        return where
    if error.unused > _UNUSED:
        return f"range too wide: {error.unused:.0%} of the levels never occur"
    if error.channel_range < _NARROW_CHANNEL:
        return f"one scale for unequal channels: half of them span less than {error.channel_range:.0%} of the range"
    return f"coarse step: the peak, {error.peak_to_rms:.0f} times the RMS, sets it"


def _weights_snr(float_data: bytes, int8_data: bytes, layers: Sequence[Pair]) -> dict[str, float]:
    """Signal to error of the stored weights of each convolution, in dB."""
    whole, integer = Graph.of(float_data), Graph.of(int8_data)
    found = {}
    for layer in (layer for layer in layers if layer.op in WEIGHTED):
        kept: list[tuple[np.ndarray, Any]] = []
        for graph, place, dtype in ((whole, layer.float_op, np.float32), (integer, layer.int8_op, np.int8)):
            # Of one that has no second input, the runtime has said so before.
            index = int(graph.main.operators[place].inputs[1])
            tensor, shape = graph.main.tensors[index], graph.shape(index)
            values = graph.values(index) if index >= 0 and graph.dtype(index) == np.dtype(dtype).name else None
            fits = not kept or (shape == kept[0][0].shape and _has_scales(tensor))
            if values is None or not fits:
                raise ValueError(
                    f"{layer.name}: the int8 file must have the same operators as the float32 file, with weights and "
                    f"scales of their shapes, got {graph.dtype(index)} {list(shape)}"
                )
            kept.append((values.view(dtype).reshape(shape).astype(np.float64), tensor.quantization))
        (values, _), (stored, quantization) = kept
        along = [1] * stored.ndim
        along[quantization.quantizedDimension] = -1
        restored = stored * np.asarray(quantization.scale, np.float64).reshape(along)
        found[layer.name] = _db(float((values**2).sum()), float(((values - restored) ** 2).sum()))
    return found


def _has_scales(tensor: Any) -> bool:
    """Whether it has one for all, or one for each of a dimension that it has."""
    quantization, shape = tensor.quantization, list(tensor.shape)
    scales = () if quantization is None or quantization.scale is None else quantization.scale
    along = 0 if quantization is None else quantization.quantizedDimension
    return 0 <= along < len(shape) and len(scales) in (1, shape[along])


def _read_by_sigmoids(data: bytes) -> set[int]:
    """The tensors of the main graph that nothing but LOGISTIC operators read."""
    model = inspect.read(data)
    readers: dict[int, set[str]] = {}
    for op in (op for op in model.ops if op.subgraph == 0):
        for index in op.inputs:
            readers.setdefault(index, set()).add(op.name)
    return {index for index, ops in readers.items() if ops == {"LOGISTIC"}} - {*model.outputs}


def _power(values: np.ndarray) -> float:
    return float(np.vdot(values, values))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


def _db(signal: float, error: float) -> float:
    if error == 0:
        return math.inf
    # Scales of a damaged file leave infinite errors, or none that is a number.
    ratio = signal / error
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf
