"""Every private or dying name of a library that the product leans on, and what for: a new release fails with a name.

Three kinds count: names that begin with an underscore or with `experimental`; all of keras-cv and tfmot, which will see
no Keras 3, and of the converter and interpreter, which LiteRT's new API is to replace; and what a library
generates or prints for itself. The table is complete: `test_the_table_is_what_the_product_uses` reads the source.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable

import pytest
import upstream_checks as checks
from upstream_checks import QUANTIZATION, SPARSITY, TFMOT, found, takes
from upstream_use import leaned_on, used


@dataclasses.dataclass(frozen=True)
class Name:
    """`name` as it stands in the source, or its whole path; `holds` raises or is false where it is no longer so."""

    name: str
    why: str
    holds: Callable[[], object] | None = None


TABLE = (
    # tf-keras
    Name("_nodes_by_depth", "which layer reads which, where tfmot's copies no longer say so", checks.nodes_by_depth),
    Name(
        "_trainable",
        "a kernel whose integers are fixed is not trained, even when weights are loaded",
        checks.keeps_trainable_apart,
    ),
    Name(
        "_trainable_weights",
        "tfmot's wrapper lists a kernel here itself; fixed ones are taken out",
        checks.keeps_trainable_apart,
    ),
    Name("_non_trainable_weights", "where fixed kernels are listed instead", checks.keeps_trainable_apart),
    Name(
        "_var_key", "which variable of the list that an optimizer was built for one is, on any device", checks.numbered
    ),
    Name("_index_dict", "its number in the list", checks.numbered),
    Name("_momentums", "Adam's first moments, in the order of that list: a step is one operation", checks.moments),
    Name("_velocities", "its second ones", checks.moments),
    Name(
        "tensorflow.keras.Model.__module__", "that TensorFlow's Keras is Keras 2, which tfmot wants", checks.same_keras
    ),
    Name(
        "tf_keras.src.backend._SEED_GENERATOR",
        "fresh weights drawn by --seed, without touching Python's random numbers",
        checks.seeds_weights,
    ),
    Name(
        "tf_keras.src.saving.saving_lib._save_state",
        "weights to memory, as HDF5 can crash where it writes to a full disk itself",
        checks.saves_to_memory,
    ),
    Name("_infer_output_signature", "how Keras comes to know what a layer puts out: it is told", checks.untraced),
    Name("_maybe_build", "a layer that is put into a network makes its weights", checks.untraced),
    Name("_name_scope", "under which they get their names", checks.untraced),
    Name("tf_keras.backend.clear_session", "networks made one after the other do not fill the memory"),
    Name("tf_keras.backend.get_value", "the learning rate of a step, from an optimizer's schedule or variable"),
    Name(
        "tf_keras.backend.learning_phase_scope",
        "wrapped layers are made without a branch of training",
        checks.learning_phase,
    ),
    # tfmot
    Name(
        f"{QUANTIZATION}.quantize_config.QuantizeConfig",
        "the base of what tfmot asks of a quantized layer",
        checks.quantized,
    ),
    Name(
        f"{QUANTIZATION}.quantize_wrapper.QuantizeWrapperV2",
        "puts quantizers around a layer, whose weights stay in front",
        checks.wrapped,
    ),
    Name(
        f"{QUANTIZATION}.quantizers.Quantizer",
        "the base of our quantizers",
        lambda: {"build", "__call__", "get_config"} <= set(vars(found(f"{QUANTIZATION}.quantizers.Quantizer"))),
    ),
    Name("_weight_vars", "kernel, quantizer and variables of a wrapped layer", checks.weight_vars),
    Name("_output_quantizer_vars", "the variables of a wrapped layer's output quantizer", checks.output_quantizer_vars),
    Name(f"{TFMOT}.sparsity.keras.ConstantSparsity", "2:4 sparsity from the first step on", checks.two_of_four),
    Name(
        f"{TFMOT}.sparsity.keras.PolynomialDecay",
        "the share of channels that are gone at a step",
        takes(
            f"{TFMOT}.sparsity.keras.PolynomialDecay",
            "initial_sparsity",
            "final_sparsity",
            "begin_step",
            "end_step",
            "power",
            "frequency",
        ),
    ),
    Name(f"{TFMOT}.sparsity.keras.UpdatePruningStep", "the callback that updates masks after a step"),
    Name(f"{TFMOT}.sparsity.keras.strip_pruning", "takes the wrappers off"),
    Name(f"{SPARSITY}.pruning_impl.Pruning", "what decides a mask; ours decides by channels", checks.update_mask),
    Name(
        f"{SPARSITY}.pruning_wrapper.PruneLowMagnitude",
        "the wrapper that multiplies by a mask, and its mask",
        checks.two_of_four,
    ),
    Name("_update_mask", "overridden: whole channels in an order of ours", checks.update_mask),
    Name("_pruning_schedule", "when, and how much, of tfmot's own Pruning", checks.pruning_schedule),
    Name("_step_fn", "the training step, of tfmot's own Pruning", checks.pruning_schedule),
    # keras-cv, of which there will be no new release
    Name("keras_cv.losses.CIoULoss", "the box loss", checks.ciou),
    # TensorFlow's converter
    Name(
        "experimental",
        "tf.autograph.experimental.do_not_convert: AutoGraph does not look for an `if` in every wrapped layer",
        checks.does_not_convert,
    ),
    Name(
        "experimental_custom_gradients",
        "a SavedModel without gradients, half of its size",
        takes("tensorflow.saved_model.SaveOptions", "experimental_custom_gradients"),
    ),
    Name(
        "tensorflow.python.framework.convert_to_constants.convert_variables_to_constants_v2",
        "a SavedModel without variables, in half the time",
        checks.weights_become_constants,
    ),
    Name(
        "tensorflow.lite.TFLiteConverter.from_saved_model",
        "makes the .tflite",
        takes("tensorflow.lite.TFLiteConverter.from_saved_model", "saved_model_dir", "signature_keys"),
    ),
    Name("tensorflow.lite.Optimize.DEFAULT", "that weights are quantized"),
    Name("tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8", "that everything is integers, or refused"),
    Name(
        "_experimental_calibrate_only",
        "stops the converter after calibration, to mend its ranges",
        checks.calibrates_only,
    ),
    Name(
        "tensorflow.lite.python.convert.mlir_quantize",
        "goes on where calibration stopped",
        takes("tensorflow.lite.python.convert.mlir_quantize", "input_data_str", "input_data_type", "output_data_type"),
    ),
    Name(
        "tensorflow.lite.python.optimize.calibrator.Calibrator",
        "int16x8, whose biases are split and whose ranges are found beforehand",
        takes(
            "tensorflow.lite.python.optimize.calibrator.Calibrator.calibrate_and_quantize",
            "dataset_gen",
            "input_type",
            "output_type",
            "allow_float",
            "activations_type",
            "bias_type",
        ),
    ),
    Name("tensorflow.lite.python.optimize.calibrator.add_intermediate_tensors", "what the calibrator wants to read"),
    # LiteRT
    Name(
        "ai_edge_litert.interpreter.Interpreter",
        "runs a .tflite",
        takes("ai_edge_litert.interpreter.Interpreter", "model_content", "num_threads"),
    ),
    Name(
        "ai_edge_litert.interpreter.OpResolverType",
        "TFLite's own kernels instead of XNNPACK",
        lambda: found("ai_edge_litert.interpreter.OpResolverType").AUTO,
    ),
    Name(
        "ai_edge_litert.interpreter.load_delegate",
        "a delegate from a shared library",
        takes("ai_edge_litert.interpreter.load_delegate", "library", "options"),
    ),
    Name(
        "experimental_delegates",
        "runs on a delegate",
        takes("ai_edge_litert.interpreter.Interpreter", "experimental_delegates"),
    ),
    Name(
        "experimental_op_resolver_type",
        "which kernels run",
        takes("ai_edge_litert.interpreter.Interpreter", "experimental_op_resolver_type"),
    ),
    Name(
        "experimental_preserve_all_tensors",
        "every tensor can be read afterwards, for the debugger",
        lambda: checks.interpreter(experimental_preserve_all_tensors=True),
    ),
    Name("_get_ops_details", "which operators a delegate has taken", checks.ops_details),
    Name(
        "ai_edge_litert.schema_py_generated",
        "a .tflite as objects, which are read and edited",
        checks.schema_goes_around,
    ),
    # flatbuffers
    Name(
        "flatbuffers.Builder",
        "writes a .tflite and its metadata; StartVector is overridden to align constants",
        checks.vectors_are_aligned,
    ),
    Name("flatbuffers.flexbuffers.Dumps", "the options of the custom operator that suppresses", checks.flexbuffers),
    Name("flatbuffers.flexbuffers.Loads", "as above", checks.flexbuffers),
    Name("flatbuffers.table.Table", "reads other people's metadata, by field numbers", checks.tables_are_read),
    # tyro
    Name(
        "tyro.constructors.ConstructorRegistry",
        "`X | None` shows as X in the help",
        lambda: found("tyro.constructors.ConstructorRegistry")().primitive_rule,
    ),
    Name(
        "tyro.constructors.PrimitiveConstructorSpec",
        "as above",
        takes("tyro.constructors.PrimitiveConstructorSpec", "is_instance", "str_from_instance"),
    ),
    Name(
        "tyro.constructors.PrimitiveTypeInfo",
        "as above",
        lambda: found("tyro.constructors.PrimitiveTypeInfo").make(int, set()).type is int,
    ),
    Name("the text of tyro's error box", "what is wrong with an option, told in words of our own", checks.box_tells),
)
UNSCANNED = {"the text of tyro's error box"}


@pytest.mark.parametrize("name", TABLE, ids=lambda name: name.name)
def test_it_is_as_it_was(name: Name) -> None:
    told = f"{name.name} is not what it was; the product uses it for: {name.why}"
    try:
        held = found(name.name) is not None if name.holds is None else name.holds()
    except Exception as error:
        raise AssertionError(f"{told} ({type(error).__name__}: {error})") from error
    assert held, told


def covers(row: str, name: str) -> bool:
    """Whether a row speaks of a name: it is the row's, something in it, or a module imported for it."""
    return row == name or name.startswith(f"{row}.") or row.startswith(f"{name}.")


def test_the_table_is_what_the_product_uses() -> None:
    places = leaned_on()
    table = {name.name for name in TABLE}
    assert len(table) == len(TABLE)
    missing = {name: place for name, place in places.items() if not any(covers(row, name) for row in table)}
    assert not missing, "not in TABLE, with what for"
    idle = {row for row in table - UNSCANNED if not any(row == name or name.startswith(f"{row}.") for name in places)}
    assert not idle, "in TABLE, and used nowhere"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import keras_cv\nx = keras_cv.layers.RandomFlip()", "keras_cv.layers.RandomFlip"),
        ("from keras_cv.layers import RandomFlip as Flip", "keras_cv.layers.RandomFlip"),
        ("x = tf.lite.Interpreter", "tensorflow.lite.Interpreter"),
        ("from tensorflow.python.framework import ops", "tensorflow.python.framework.ops"),
        ("from tensorflow._api import v2", "tensorflow._api.v2"),
        ("layer._inbound_nodes", "_inbound_nodes"),
        ("f(experimental_it=1)", "experimental_it"),
        ("getattr(layer, '_hidden', None)", "_hidden"),
        ("tf.config.experimental.set_memory_growth(x, True)", "experimental"),
    ],
)
def test_the_reading_finds_it(code: str, name: str) -> None:
    assert {each for each, _ in used(ast.parse(code), {})} - {"keras_cv"} == {name}


def test_the_reading_leaves_out_what_is_public() -> None:
    code = "import os, tensorflow as tf\nos._exit(0)\ntf.reshape(x, (1,))\nrecord._replace(a=1)\nx.__class__"
    assert not list(used(ast.parse(code), {}))
