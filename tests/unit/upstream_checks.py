"""What the product relies on in each of those names of test_upstream.py, tried out: true where it is as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import io
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TFMOT = "tensorflow_model_optimization"
QUANTIZATION = f"{TFMOT}.python.core.quantization.keras"
SPARSITY = f"{TFMOT}.python.core.sparsity.keras"


def found(path: str) -> Any:
    """What a dotted path names."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        # `tensorflow.lite` is an attribute of tensorflow and, for what is private in it, also a folder.
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            value = importlib.import_module(".".join(parts[:end]))
            for part in parts[end:]:
                value = getattr(value, part)
            return value
    raise AttributeError(f"there is no {path}")


def takes(path: str, *names: str) -> Callable[[], bool]:
    """Whether what a path names takes parameters of these names."""
    return lambda: set(names) <= set(inspect.signature(found(path)).parameters)


def keras() -> Any:
    from micro_yolo.model.keras import keras

    return keras


def branch() -> Any:
    """A model in which two layers read one."""
    layers = keras().layers
    given = keras().Input((4, 4, 2), name="given")
    one = layers.Conv2D(3, 1, name="one")(given)
    return keras().Model(given, [layers.ReLU(name="two")(one), layers.ReLU(name="three")(one)])


def nodes_by_depth() -> bool:
    nodes = [node for level in branch()._nodes_by_depth.values() for node in level]
    read = {node.layer.name: [parent.layer.name for parent in node.parent_nodes] for node in nodes}
    return read == {"given": [], "one": ["given"], "two": ["one"], "three": ["one"]}


def untraced() -> bool:
    from micro_yolo.model.keras import making

    def said(model: Any) -> Any:
        return [
            (layer.name, layer.output_shape, layer.output.dtype, [weight.name for weight in layer.weights])
            for layer in model.layers
        ]

    return bool(said(branch()) == said(making(branch)()))


def numbered() -> bool:
    model = branch()
    optimizer = keras().optimizers.AdamW(0.1)
    optimizer.build(model.trainable_variables)
    return [optimizer._index_dict[optimizer._var_key(v)] for v in model.trainable_variables] == [0, 1]


def moments() -> bool:
    model = branch()
    optimizer = keras().optimizers.AdamW(0.5)
    gradients = [np.full(v.shape, 2.0, np.float32) for v in model.trainable_variables]
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    first, second = ([v.numpy() for v in each] for each in (optimizer._momentums, optimizer._velocities))
    return all(
        np.allclose(one, 0.2) and np.allclose(two, 0.004) and one.shape == two.shape == gradient.shape
        for one, two, gradient in zip(first, second, gradients, strict=True)
    )


class Halved:
    """A quantizer with one variable, which halves."""

    def build(self, shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {"share": layer.add_weight(f"{name}_share", shape=(), initializer="ones", trainable=False)}

    def __call__(self, inputs: Any, training: Any, weights: dict[str, Any], **_: Any) -> Any:
        return inputs * weights["share"] / 2

    def get_config(self) -> dict[str, Any]:
        return {}


def quantized() -> Any:
    """The wrapper tfmot puts around a convolution whose kernel and output are quantized."""
    base = found(f"{QUANTIZATION}.quantize_config.QuantizeConfig")
    quantizer = type("Q", (Halved, found(f"{QUANTIZATION}.quantizers.Quantizer")), {})()

    class Config(base):
        def get_weights_and_quantizers(self, layer: Any) -> Any:
            return [(layer.kernel, quantizer)]

        def get_activations_and_quantizers(self, layer: Any) -> Any:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
            layer.kernel = quantize_weights[0]

        def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
            pass

        def get_output_quantizers(self, layer: Any) -> Any:
            return [quantizer]

        def get_config(self) -> dict[str, Any]:
            return {}

    layer = keras().layers.Conv2D(3, 1, name="one")
    layer.build((None, 4, 4, 2))
    wrapper = found(f"{QUANTIZATION}.quantize_wrapper.QuantizeWrapperV2")(layer, Config(), name_prefix="")
    wrapper(keras().Input((4, 4, 2)))
    return wrapper


def wrapped() -> bool:
    layer = quantized()
    return layer.name == "one" and [w.shape.rank for w in layer.trainable_weights] == [4, 1]


def weight_vars() -> bool:
    wrapper = quantized()
    ((kernel, quantizer, variables),) = wrapper._weight_vars
    return isinstance(quantizer, Halved) and set(variables) == {"share"} and kernel.shape == (1, 1, 2, 3)


def output_quantizer_vars() -> bool:
    wrapper = quantized()
    same = isinstance(wrapper.quantize_config.get_output_quantizers(wrapper.layer)[0], Halved)
    return same and set(wrapper._output_quantizer_vars) == {"share"}


def keeps_trainable_apart() -> bool:
    wrapper = quantized()
    ((kernel, _, _),) = wrapper._weight_vars
    kernel._trainable = False
    wrapper._trainable_weights = [weight for weight in wrapper._trainable_weights if weight is not kernel]
    wrapper._non_trainable_weights.append(kernel)
    trained, kept = ([id(weight) for weight in ws] for ws in (wrapper.trainable_weights, wrapper.non_trainable_weights))
    return not kernel.trainable and id(kernel) not in trained and id(kernel) in kept


def pruning() -> Any:
    """The wrapper tfmot prunes a convolution with, its mask having been updated once."""
    schedule = found(f"{TFMOT}.sparsity.keras.ConstantSparsity")(0.5, begin_step=0, frequency=1)
    kind = found(f"{SPARSITY}.pruning_wrapper.PruneLowMagnitude")
    wrapper = kind(keras().layers.Conv2D(2, 1), pruning_schedule=schedule, sparsity_m_by_n=(2, 4))
    wrapper.build((None, 4, 4, 8))
    wrapper.pruning_step.assign(1)
    wrapper.pruning_obj.conditional_mask_update()
    return wrapper


def update_mask() -> bool:
    wrapper = pruning()
    seen: list[int] = []

    class Own(found(f"{SPARSITY}.pruning_impl.Pruning")):
        def _update_mask(self, weights: Any) -> Any:
            seen.append(int(self._step_fn()))
            return found("tensorflow").zeros(()), found("tensorflow").zeros_like(weights)

    own = Own(
        training_step_fn=lambda: wrapper.pruning_step,
        pruning_vars=wrapper.pruning_vars,
        pruning_schedule=wrapper.pruning_schedule,
        block_size=wrapper.block_size,
        block_pooling_type=wrapper.block_pooling_type,
    )
    own.conditional_mask_update()
    return seen == [1] and not wrapper.pruning_vars[0][1].numpy().any()


def pruning_schedule() -> bool:
    own = pruning().pruning_obj
    should, sparsity = own._pruning_schedule(own._step_fn())
    return bool(should) and float(sparsity) == 0.5


def two_of_four() -> bool:
    mask = pruning().pruning_vars[0][1].numpy()
    return mask.shape == (1, 1, 8, 2) and (mask.reshape(2, 4, 2).sum(axis=1) == 2).all()


def schema(name: str) -> Any:
    return found(f"ai_edge_litert.schema_py_generated.{name}")


def model_bytes() -> bytes:
    """A .tflite of one ReLU, written by the schema's own objects."""
    import flatbuffers

    graph = schema("ModelT")()
    graph.version, graph.description = 3, "one"
    code = schema("OperatorCodeT")()
    code.builtinCode = code.deprecatedBuiltinCode = schema("BuiltinOperator").RELU
    operator = schema("OperatorT")()
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    main = schema("SubGraphT")()
    main.tensors = []
    for name in ("given", "made"):
        tensor = schema("TensorT")()
        tensor.name, tensor.shape, tensor.type = name, np.array([1, 4], np.int32), schema("TensorType").FLOAT32
        main.tensors.append(tensor)
    main.inputs, main.outputs, main.operators = operator.inputs, operator.outputs, [operator]
    graph.operatorCodes, graph.subgraphs, graph.buffers = [code], [main], [schema("BufferT")()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def schema_goes_around() -> bool:
    data = model_bytes()
    graph = schema("ModelT").InitFromPackedBuf(data, 0)
    counted = schema("Model").GetRootAs(data, 0)
    names = [name for name in vars(schema("BuiltinOperator")) if not name.startswith("_")]
    return (
        graph.subgraphs[0].tensors[1].name == b"made"
        and counted.Subgraphs(0).Tensors(0).ShapeLength() == 2
        and all(name == name.upper() for name in names)
        and schema("SubGraphT")(inputs=[1]).inputs == [1]
    )


def interpreter(**more: Any) -> Any:
    runtime = found("ai_edge_litert.interpreter.Interpreter")(model_content=model_bytes(), **more)
    runtime.allocate_tensors()
    return runtime


def ops_details() -> bool:
    kinds = found("ai_edge_litert.interpreter.OpResolverType")
    builtin = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    plain = interpreter(experimental_op_resolver_type=builtin)._get_ops_details()
    (node,) = plain
    return [list(node["inputs"]), list(node["outputs"])] == [[0], [1]]


def vectors_are_aligned() -> bool:
    seen: list[tuple[int, int]] = []
    base = found("flatbuffers.Builder")

    class Builder(base):
        def StartVector(self, size: int, count: int, alignment: int) -> Any:
            seen.append((size, alignment))
            return super().StartVector(size, count, 16)

    builder = Builder(64)
    buffer = schema("BufferT")()
    buffer.data = np.arange(3, dtype=np.uint8)
    builder.Finish(buffer.Pack(builder))
    return (1, 1) in seen


def tables_are_read() -> bool:
    builder = found("flatbuffers.Builder")(64)
    text = builder.CreateString("inside")
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.Finish(builder.EndObject())
    data = builder.Output()
    at = int.from_bytes(data[:4], "little")
    table = found("flatbuffers.table.Table")(data, at)
    where = table.Offset(4) + table.Pos
    return table.String(where) == b"inside" and table.Offset(6) == 0 and table.VectorLen(table.Offset(4)) == 6


def flexbuffers() -> bool:
    dumps, loads = found("flatbuffers.flexbuffers.Dumps"), found("flatbuffers.flexbuffers.Loads")
    told = {"count": 3, "threshold": 0.5, "regular": False}
    return loads(bytes(dumps(told))) == told


def does_not_convert() -> bool:
    tf = found("tensorflow")

    def choose(x: Any) -> Any:
        return 1 if x > 0 else 2

    with pytest.raises(TypeError, match="symbolic"):
        tf.function(tf.autograph.experimental.do_not_convert(choose))(tf.constant(1.0))
    return int(tf.function(choose)(tf.constant(1.0))) == 1


def weights_become_constants() -> bool:
    tf = found("tensorflow")
    two = tf.Variable(2.0)
    traced = tf.function(lambda x: {"b": x * two, "a": x + two}).get_concrete_function(tf.TensorSpec((), tf.float32))
    frozen = found("tensorflow.python.framework.convert_to_constants.convert_variables_to_constants_v2")(traced)
    two.assign(7.0)
    return [float(value) for value in frozen(tf.constant(3.0))] == [5.0, 6.0] and not frozen.variables


def calibrates_only() -> bool:
    base = found("tensorflow.lite.python.lite.TFLiteConverterBaseV2")
    return vars(base())["_experimental_calibrate_only"] is False


def box_tells() -> bool:
    import tyro

    @dataclasses.dataclass
    class Config:
        """Something."""

        size: int
        share: float = 1.0

    told = []
    for args in (["--size", "big"], ["--size", "1", "--share", "x"], [], ["--size"]):
        text = io.StringIO()
        with contextlib.redirect_stderr(text), contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit):
            tyro.cli(Config, args=args)
        told.append(" ".join(text.getvalue().split()))
    wanted = ("invalid literal for int() with base 10: 'big'", "could not convert string to float: 'x'")
    return all(part in text for part, text in zip(wanted, told, strict=False)) and all("--size" in t for t in told[2:])


def ciou() -> bool:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2]], np.float32)
    other = np.array([[0, 0, 2, 2], [1, 0, 3, 2]], np.float32)
    # By hand: IoU 2 / 6, centres 1 apart, their box 3 x 2; the shapes are equal.
    lost = found("keras_cv.losses.CIoULoss")("xyxy", reduction="none")(boxes, other)
    return np.allclose(lost, [0, 1 - 1 / 3 + 1 / 13], atol=1e-3)


def learning_phase() -> bool:
    with keras().backend.learning_phase_scope(0):
        return keras().backend.learning_phase() == 0


def seeds_weights() -> bool:
    generator = found("tf_keras.src.backend._SEED_GENERATOR")
    before = getattr(generator, "generator", None)
    state, drawn = random.getstate(), []
    try:
        for seed in (3, 3, 4):
            generator.generator = random.Random(seed)
            drawn.append(keras().initializers.GlorotUniform()((2, 3)).numpy().tolist())
    finally:
        generator.generator = before
    return drawn[0] == drawn[1] != drawn[2] and random.getstate() == state


def saves_to_memory() -> bool:
    from micro_yolo.model.keras import hdf5_of

    model = keras().Sequential([keras().layers.Dense(2, input_shape=(3,)), keras().layers.Dense(1)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.weights.h5")
        path.write_bytes(hdf5_of(model))
        wanted = model.get_weights()
        model.set_weights([0 * weight for weight in wanted])
        model.load_weights(str(path))
    return all(map(np.array_equal, model.get_weights(), wanted))


def same_keras() -> bool:
    return found("tensorflow.keras.Model") is found("tf_keras.Model")
