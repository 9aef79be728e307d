"""The operations of `model.gradients` beside TensorFlow's own, forwards and backwards, alternating in one process.

    python benchmarks/operations.py
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/operations.py     # as a processor without AVX-512 would

Shapes are those of `micro_yolo` at 320 px, 8 images a step. The ratio is the median over the turns of TensorFlow's time
to ours: above 1, ours is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing

if TYPE_CHECKING:
    from micro_yolo.model.keras import tf

Op = Callable[..., Any]
# Side of the square image, channels, kernel.
DEPTHWISE = ((80, 64, 5), (20, 256, 5))
NORMS = ((320, 16), (160, 32), (80, 64), (40, 128), (20, 768), (10, 512))


@dataclass(frozen=True)
class Config:
    """The operations of `model.gradients` beside TensorFlow's own."""

    batch: int = 8
    """Images."""
    rounds: int = 15
    """Turns of each side."""


def run(config: Config) -> None:
    """Measure and print."""
    from micro_yolo.model import gradients
    from micro_yolo.model.keras import tf

    table = listing("operation", "input", "ours, ms", "TensorFlow's, ms", "ratio", words=(0, 1))

    def row(name: str, shape: tuple[int, int], weights: list[tf.Tensor], ours: Op, theirs: Op) -> None:
        side, channels = shape
        x = tf.random.normal((config.batch, side, side, channels))
        times = _alternating([_both_ways(tf, op, [x, *weights]) for op in (ours, theirs)], config.rounds)
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        shown = (f"{1000 * statistics.median(each):.2f}" for each in times)
        table.add_row(name, f"{side}x{side}x{channels}", *shown, f"{ratio:.2f}")

    for side, channels, k in DEPTHWISE:
        row(
            f"depthwise {k}x{k}",
            (side, channels),
            [tf.random.normal((k, k, channels, 1))],
            lambda x, kernel: gradients.depthwise(x, kernel, 1),
            lambda x, kernel: tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME"),
        )
    for side, channels in NORMS:
        row(
            "batch norm",
            (side, channels),
            [tf.ones(channels), tf.zeros(channels)],
            lambda x, gamma, beta: gradients.normalize(x, gamma, beta, 1e-3)[0],
            lambda x, gamma, beta: tf.compat.v1.nn.fused_batch_norm(x, gamma, beta)[0],
        )
    Console().print(table)


def _both_ways(tf: Any, op: Op, inputs: list[Any]) -> Callable[[], object]:
    """`op` of `inputs` and its gradients for all of them."""

    @tf.function(autograph=False)
    def both() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = op(*inputs)
        # What comes from above is as large as what went up.
        return tape.gradient(y, inputs, output_gradients=inputs[0])

    return both


def _alternating(sides: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each side in each turn; the first two turns are not counted."""
    times: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 2):
        for side, seconds in zip(sides, times, strict=True):
            started = time.perf_counter()
            side()
            if turn > 1:
                seconds.append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/operations.py", description=__doc__)
