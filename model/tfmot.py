"""The only place that imports tfmot (tensorflow-model-optimization): what of it we use, public and private, by name.

It takes no Keras 3 and its development has slowed, so that a new release may move any of these.
"""

from __future__ import annotations

from typing import Any

from micro_yolo.model.keras import quiet, tf, unswept

with quiet(), unswept():
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.quantization.keras import (
        quantize_config,
        quantize_wrapper,
        quantizers,
    )
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_wrapper

Quantizer = quantizers.Quantizer
QuantizeConfig = quantize_config.QuantizeConfig
# Its weights are in the order of the layer's, the quantizers' behind them.
QuantizeWrapper = quantize_wrapper.QuantizeWrapperV2

ConstantSparsity = tfmot.sparsity.keras.ConstantSparsity
PolynomialDecay = tfmot.sparsity.keras.PolynomialDecay
UpdatePruningStep = tfmot.sparsity.keras.UpdatePruningStep
strip_pruning = tfmot.sparsity.keras.strip_pruning
PruneLowMagnitude = pruning_wrapper.PruneLowMagnitude


def weight_quantizers(layer: Any) -> list[tuple[tf.Variable, Any, dict[str, tf.Variable]]]:
    """Of a layer: each weight that is quantized, its quantizer, and that one's own variables; none if not wrapped."""
    return list(getattr(layer, "_weight_vars", ()))


def output_variables(wrapper: Any) -> dict[str, tf.Variable]:
    """The own variables of the quantizer of a wrapped layer's output."""
    found: dict[str, tf.Variable] = wrapper._output_quantizer_vars
    return found


class Pruning(pruning_impl.Pruning):
    """tfmot's updates of masks, with masks that a subclass makes by `masked`."""

    def masked(self, weights: tf.Tensor, sparsity: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(a number for tfmot's summaries, mask of the weights' shape) at the schedule's sparsity, 0..1."""
        raise NotImplementedError

    def _update_mask(self, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # tfmot's conditional_mask_update calls this whenever the schedule says so.
        return self.masked(weights, self._pruning_schedule(self._step_fn())[1])
