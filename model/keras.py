"""The only place that imports Keras: `from model.keras import keras, tf`.

Keras 2 (tf-keras), because tfmot and keras-cv refuse Keras 3 models.
"""

import contextlib
import gc
import io
import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from micro_yolo.model import memory

P = ParamSpec("P")
T = TypeVar("T")

memory.keep()
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def unswept() -> Iterator[None]:
    """Nobody looks for garbage meanwhile. Also a decorator.

    To import TensorFlow, to make a network or to trace it leaves a million objects that stay. Looking through all of
    them each time that there are a few more takes a quarter of the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries print while they are imported off the screen; their C++ parts ignore log levels then."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with quiet(), unswept():
    import tensorflow as tf
    import tf_keras as keras
    from tf_keras.src.backend import _SEED_GENERATOR
    from tf_keras.src.engine.keras_tensor import KerasTensor
    from tf_keras.src.saving.saving_lib import H5IOStore, _save_state

if "tf_keras" not in tf.keras.Model.__module__:
    # tensorflow.keras is resolved once a process, so a tensorflow used earlier has already chosen.
    raise ImportError("model.keras: Keras 2 is needed, got Keras 3; import model.keras before tensorflow.keras is used")

tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """A layer says the shape of what it will put out; Keras traces it to see, three quarters of the time of a network.

    Of a wrapper the layer inside says it: what tfmot puts around a layer changes no shape.
    """
    kind = keras.layers.Layer
    traced = kind._infer_output_signature

    def told(layer: Any, inputs: Any, args: Any, kwargs: Any, input_masks: Any) -> Any:
        inner = layer.layer if isinstance(layer, keras.layers.Wrapper) else layer
        if args or type(inner).compute_output_shape is kind.compute_output_shape:
            return traced(layer, inputs, args, kwargs, input_masks)
        with tf.name_scope(layer._name_scope()):
            layer._maybe_build(inputs)
        # Tracing has the layer inside give its kernel away to tfmot's wrapper, which decides where a file has it.
        if getattr(layer, "_weight_vars", ()):
            return traced(layer, inputs, args, kwargs, input_masks)
        shape = inner.compute_output_shape(tf.nest.map_structure(lambda each: each.shape, inputs))
        return KerasTensor(tf.TensorSpec(shape, layer.compute_dtype))

    kind._infer_output_signature = told
    try:
        yield
    finally:
        kind._infer_output_signature = traced


def making(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator of what makes a network: nobody looks for garbage meanwhile, nor for an `if` in each of its layers.

    AutoGraph would do that for each layer of ours and of tfmot's. None depends on a tensor's value by an `if`. Nor is
    any traced, but those whose kernels are quantized.
    """
    return unswept()(_untraced()(tf.autograph.experimental.do_not_convert(function)))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fresh weights are drawn by `seed`, from random numbers of their own: those of the process stay where they are."""
    # What keras.utils.set_random_seed sets; else Keras draws from Python's.
    before = getattr(_SEED_GENERATOR, "generator", None)
    _SEED_GENERATOR.generator = random.Random(seed)
    try:
        yield
    finally:
        _SEED_GENERATOR.generator = before


def nodes_of(model: keras.Model) -> list[Any]:
    """Every call of a layer in a functional model: `layer`, and `parent_nodes` with the calls whose outputs it reads.

    Not layer.input: tfmot hands unquantized layers from copy to copy, and they speak of the first.
    """
    return [node for level in model._nodes_by_depth.values() for node in level]


def fix(layer: keras.layers.Layer, weight: tf.Variable) -> None:
    """A trainable weight that `layer` made itself is no longer trained; of its others none changes its place."""
    # Keras looks again at what each variable says, when it loads weights.
    weight._trainable = False
    layer._trainable_weights = [each for each in layer._trainable_weights if each is not weight]
    layer._non_trainable_weights.append(weight)


def hdf5_of(model: keras.Model) -> memoryview:
    """What `model.save_weights` writes to a ``.weights.h5``, in memory, as HDF5 may crash where its own writes fail."""
    memory = io.BytesIO()
    store = H5IOStore(memory, mode="w")
    _save_state(model, weights_store=store, assets_store=None, inner_path="", visited_trackables=set())
    store.close()
    return memory.getbuffer()


__all__ = ["fix", "hdf5_of", "keras", "making", "nodes_of", "quiet", "seeded", "tf", "unswept"]
