"""A Keras model and sample images -> the bytes of a .tflite; `check` refuses what is not as asked for."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from micro_yolo.tflite import bias, inspect, ranges
from micro_yolo.tflite.edit import SIGNATURE, Graph
from micro_yolo.tflite.interpreter import Interpreter, quiet
from micro_yolo.tflite.ranges import WEIGHTED

VARIANTS = ("float32", "float16", "dynamic", "int16x8", "int8")
CALIBRATED = ("int16x8", "int8")
# Mean |difference| to the Keras model's outputs (0..1) above which a conversion is refused as broken, not just coarse.
TOLERANCE = {"float32": 1e-4, "float16": 5e-3, "dynamic": 0.05, "int16x8": 0.05, "int8": 0.1}
_FLOATS = ("float16", "float32", "float64", "bfloat16")
# An output that varies less than this in Keras may well be constant after rounding to 1/256.
_VISIBLE = 4 / 256
_MIN_SCALE, _MAX_SCALE = 1e-12, 1e6


@contextlib.contextmanager
def saved(model: Any) -> Iterator[str]:
    """A folder with what the converter reads of a Keras model: for `convert`, where several files are made of one."""
    with tempfile.TemporaryDirectory(prefix="micro-yolo-") as folder:
        with _silence():
            _save(model, folder)
        yield folder


def convert(
    model: Any,
    variant: str,
    samples: Sequence[np.ndarray] = (),
    *,
    aware: bool = False,
    folder: str | None = None,
    logits: Mapping[str, tuple[float, float]] | None = None,
) -> bytes:
    """The bytes of a .tflite with batch size 1 and one signature, whose outputs have the names of the model's.

    float32, float16 (weights) and dynamic (int8 weights) take and give float32. int16x8 is integer only, int16 in and
    out. int8 is integer only: uint8 pixels in with scale 1 and zero point 0, int8 out; every output has its own scale.
    Weights are quantized per channel, symmetrically.

    Args:
        model: Keras model from pixels 0..255, (B, h, w, 3), to sigmoid outputs.
        variant: one of VARIANTS.
        samples: uint8 (h, w, 3) images of the training set that set the ranges of the activations (CALIBRATED only).
        aware: the model is one of quantization-aware training and says itself how its int8 file is quantized: its
            integers and scales are stored as they are, without samples.
        folder: of `saved`, if there is one.
        logits: output -> the lowest and highest logit that an int8 file has to tell apart, see `tflite.ranges`.

    Raises:
        ValueError: unknown variant, no samples where they are needed, or the converter fails.
    """
    if variant not in VARIANTS:
        raise ValueError(f"convert: unknown variant, got {variant!r}; allowed: {', '.join(VARIANTS)}")
    if aware and variant != "int8":
        raise ValueError(f"convert: a quantization-aware model becomes int8 only, got {variant!r}; allowed: int8")
    if variant in CALIBRATED and not aware and not len(samples):
        raise ValueError(f"convert: {variant} needs sample images to calibrate on, got none")
    if folder is None:
        with saved(model) as folder:
            return convert(model, variant, samples, aware=aware, folder=folder, logits=logits)
    with _silence():
        try:
            return _convert(folder, variant, samples, aware=aware, logits=logits or {})
        # The converter has its own exception types besides ValueError and RuntimeError.
        except Exception as error:
            text = " ".join(str(error).split())
            raise ValueError(f"convert: {variant} failed: {text[:300] or type(error).__name__}") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        yield


def check(data: bytes, variant: str, model: Any, samples: Sequence[np.ndarray]) -> dict[str, float]:
    """Open the converted bytes, look at every tensor and operator, run them, and compare with Keras.

    Args:
        data: what `convert` gave.
        variant: one of VARIANTS.
        model: the Keras model it was made from.
        samples: uint8 (h, w, 3) images to run, at least one.

    Returns:
        Output name -> mean |difference| to Keras over the samples, in 0..1.

    Raises:
        ValueError: the file is not what `variant` promises; the message says why.
    """
    found = inspect.read(data)
    problems = [*_bad_ops(found), *_bad_tensors(found, variant)]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"convert: {variant} refused: {'; '.join(problems[:3])}{more}")
    return _run(data, variant, model, samples)


def named(model: Any, outputs: Any) -> dict[str, Any]:
    """What a Keras model gave, by name: {row: {part: ...}} is called ``{row}_{part}``, other outputs as the model's."""
    if isinstance(outputs, dict):
        return {f"{row}_{part}": grid for row, parts in outputs.items() for part, grid in parts.items()}
    return dict(zip(model.output_names, outputs if isinstance(outputs, list | tuple) else [outputs], strict=True))


def _save(model: Any, folder: str) -> None:
    """A SavedModel with a named output per Keras output: what the .tflite's signature is made from.

    Its weights are constants: the converter makes them so anyway, and saving and loading variables takes longer than
    all the rest.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="image")

    # Nothing in a network depends on a tensor's value by an `if`, which AutoGraph would look for in every layer.
    @tf.function(input_signature=[image], autograph=False)
    def forward(image: Any) -> dict[str, Any]:
        return named(model, model(image, training=False))

    traced = forward.get_concrete_function()
    # TensorFlow puts what is in a dict in the order of the names.
    names, frozen = (
        sorted(traced.structured_outputs),
        convert_variables_to_constants_v2(traced, lower_control_flow=False),
    )

    @tf.function(input_signature=[image], autograph=False)
    def serve(image: Any) -> dict[str, Any]:
        return dict(zip(names, frozen(image), strict=True))

    module = tf.Module()
    module.serve = serve
    # Gradients, which nobody asks a .tflite for, are half of what a quantization-aware model would save.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder, signatures={SIGNATURE: serve}, options=options)


def _convert(
    folder: str,
    variant: str,
    samples: Sequence[np.ndarray],
    *,
    aware: bool,
    logits: Mapping[str, tuple[float, float]],
) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    if variant == "float32":
        return bytes(converter.convert())
    if variant == "int16x8":
        return _int16x8(bytes(converter.convert()), samples)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if aware:
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    if aware or variant not in CALIBRATED:
        return bytes(converter.convert())

    # In two steps, as convert() itself does it: the ranges are measured in between. The one image, on which the
    # converter calibrates, only tells it which activations have a range.
    from tensorflow.lite.python.convert import mlir_quantize

    whole = _full_range(samples[0].shape)
    converter.representative_dataset = lambda: iter([{"image": whole[None]}])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    converter._experimental_calibrate_only = True
    calibrated, means = ranges.measured(bytes(converter.convert()), samples, [whole])
    calibrated = ranges.widen_dead(ranges.within_sigmoids(calibrated, logits))
    quantized = bytes(mlir_quantize(calibrated, input_data_type=tf.uint8, output_data_type=tf.int8))
    return bias.corrected(calibrated, quantized, means)


def _int16x8(data: bytes, samples: Sequence[np.ndarray]) -> bytes:
    """Quantize a float .tflite as TFLiteConverter does, which offers no place for `split_shared_constants`."""
    import tensorflow as tf
    from tensorflow.lite.python.optimize.calibrator import Calibrator, add_intermediate_tensors

    first = Calibrator(add_intermediate_tensors(split_shared_constants(data)))
    whole = _full_range(samples[0].shape)
    calibrated, means = ranges.measured(bytes(first.calibrate(lambda: iter([[whole[None]]]))), samples, [whole])
    # Without an image it takes the ranges that are there.
    quantized = Calibrator(calibrated).calibrate_and_quantize(
        lambda: iter(()), tf.int16, tf.int16, allow_float=False, activations_type=tf.int16, bias_type=tf.int64
    )
    return bias.corrected(calibrated, bytes(quantized), means)


def split_shared_constants(data: bytes) -> bytes:
    """Give each convolution its own bias tensor.

    The converter stores equal constants once. The int16x8 quantizer then quantizes that bias for the first convolution
    only, and the others read it with the wrong scale.
    """
    graphs = Graph.every(data)
    for graph in graphs:
        used: set[int] = set()
        for op in graph.main.operators:
            if graph.op_name(op) not in WEIGHTED or len(op.inputs) < 3:
                continue
            index = int(op.inputs[2])
            if index in used:
                own = graph.duplicate(index)
                graph.main.tensors[own].name += b"_" + str(own).encode()
                op.inputs = np.array([*op.inputs[:2], own, *op.inputs[3:]], np.int32)
            used.add(index)
    return graphs[0].pack()


def _full_range(shape: tuple[int, ...]) -> np.ndarray:
    """Half black, half white: makes the input's calibrated range exactly 0..255, so that pixels are its integers.

    float32 (h, w, 3).
    """
    image = np.zeros(shape, np.float32)
    image[shape[0] // 2 :] = 255
    return image


def _bad_ops(found: inspect.Model) -> list[str]:
    strange = {op.name for op in found.ops if ":" in op.name}
    return [f"operator {name} is not a builtin one" for name in sorted(strange)]


def _bad_tensors(found: inspect.Model, variant: str) -> list[str]:
    problems: list[str] = []
    for tensor in found.tensors:
        if variant in CALIBRATED and tensor.dtype in _FLOATS:
            problems.append(f"tensor {tensor.name} is {tensor.dtype} in an integer file")
        # The scales of weights and biases follow the weights: a channel near zero has a tiny one, and that is right.
        least = 0 if tensor.constant else _MIN_SCALE
        if not all(least < scale < _MAX_SCALE for scale in tensor.scales):
            problems.append(
                f"tensor {tensor.name} has scale {min(tensor.scales)}: it was constant on the calibration images; "
                "calibrate on more images with --samples, or train longer"
            )
    if variant not in CALIBRATED:
        return problems
    for op in found.ops:
        if op.name in WEIGHTED:
            weights = found.tensor(op.inputs[1], op.subgraph)
            channels = weights.shape[3 if op.name == "DEPTHWISE_CONV_2D" else 0]
            if len(weights.scales) != channels:
                problems.append(f"weights {weights.name} have {len(weights.scales)} scales for {channels} channels")
            elif len(op.inputs) > 2 and op.inputs[2] >= 0:
                bias, given = found.tensor(op.inputs[2], op.subgraph), found.tensor(op.inputs[0], op.subgraph)
                expected = [given.scales[0] * scale for scale in weights.scales] if given.scales else []
                if len(bias.scales) != len(expected) or not np.allclose(bias.scales, expected, rtol=1e-3, atol=0):
                    problems.append(f"bias {bias.name} of {weights.name} was quantized for another convolution")
    if variant == "int8":
        ((name, index),) = found.signature_inputs.items()
        given = found.tensor(index)
        if (given.dtype, given.scales, given.zero_points) != ("uint8", (1.0,), (0,)):
            problems.append(
                f"input {name} must be uint8 with scale 1 and zero point 0, got {given.dtype} {given.scales}"
            )
        for name, index in found.signature_outputs.items():
            output = found.tensor(index)
            if (output.dtype, output.scales) != ("int8", (1 / 256,)):
                problems.append(f"output {name} must be int8 with scale 1/256, got {output.dtype} {output.scales}")
    return problems


def _run(data: bytes, variant: str, model: Any, samples: Sequence[np.ndarray]) -> dict[str, float]:
    if not len(samples):
        raise ValueError("convert: check needs at least one sample image, got none")
    try:
        interpreter = Interpreter(data)
        differences: dict[str, list[float]] = {name: [] for name in model.output_names}
        spread = {name: [np.inf, -np.inf, np.inf, -np.inf] for name in model.output_names}
        expected = named(model, model(np.stack(samples).astype(np.float32), training=False))
        grids = {name: np.asarray(grid) for name, grid in expected.items()}
        for number, sample in enumerate(samples):
            interpreter.look(sample)
            for name, grid in grids.items():
                wanted, got = grid[number : number + 1], interpreter.value(name)
                if got.shape != wanted.shape:
                    raise ValueError(f"output {name} has shape {got.shape}, Keras {wanted.shape}")
                if not np.isfinite(wanted).all():
                    raise ValueError(f"output {name} of the Keras model is not finite; train it again")
                if not np.isfinite(got).all():
                    raise ValueError(f"output {name} is not finite")
                differences[name].append(float(np.abs(got - wanted).mean()))
                low, high, keras_low, keras_high = spread[name]
                spread[name] = [
                    min(low, got.min()),
                    max(high, got.max()),
                    min(keras_low, wanted.min()),
                    max(keras_high, wanted.max()),
                ]
    except ValueError as error:
        raise ValueError(f"convert: {variant} refused: {error}") from None
    means = {name: float(np.mean(values)) for name, values in differences.items()}
    for name, (low, high, keras_low, keras_high) in spread.items():
        if low == high and keras_high - keras_low > _VISIBLE:
            raise ValueError(f"convert: {variant} refused: output {name} is {low:.3f} everywhere, Keras' is not")
        if means[name] > TOLERANCE[variant]:
            raise ValueError(
                f"convert: {variant} refused: output {name} differs from Keras by {means[name]:.4f} on average, "
                f"allowed: {TOLERANCE[variant]}"
            )
    return means
