"""Whether this processor trains a network faster in bfloat16: both do a few steps of it by turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from micro_yolo.pipeline.learn.devices import cluster
from micro_yolo.pipeline.learn.session import isolated
from micro_yolo.pipeline.show.screen import QUIET, Show

if TYPE_CHECKING:
    from micro_yolo.model.spec import Arch

Chosen = Literal["float32", "bfloat16"]
AUTO = "auto"
# What Linux calls processors that multiply bfloat16; on others it is done by way of float32, several times slower.
_ABLE = frozenset(("avx512_bf16", "amx_bf16"))
# A gain below it is within what steps differ by, and not worth the digits.
_WORTH = 1.05
_TURNS = 3


def faster(arch: Arch, batch: int, show: Show = QUIET) -> Chosen:
    """float32, or bfloat16 where steps of this network on batches of `batch` images are faster in it; says why."""
    reason = _refusal()
    if reason:
        show.say(f"precision: float32; {reason}")
        return "float32"
    plain, short = (statistics.median(times) for times in _seconds(arch, batch))
    which: Chosen = "bfloat16" if plain > _WORTH * short else "float32"
    show.say(
        f"precision: {which}; a step takes {1000 * plain:.0f} ms in float32, {1000 * short:.0f} in bfloat16 "
        f"({plain / short:.2f} times as fast)"
    )
    return which


def _refusal() -> str:
    """Why bfloat16 is not tried; empty if it is."""
    if cluster()[1] > 1:
        return "one machine of several does not choose for all; allowed: --precision bfloat16"
    from micro_yolo.model.keras import tf

    if tf.config.list_physical_devices("GPU"):
        return "only processors are compared, and there is a GPU; allowed: --precision bfloat16"
    return "" if flags() & _ABLE else "this processor does not say that it multiplies bfloat16"


def flags() -> frozenset[str]:
    """What Linux says that the processor can do; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    told = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(told.partition(":")[2].split())


def _seconds(arch: Arch, batch: int) -> tuple[list[float], list[float]]:
    """Of a step in float32 and in bfloat16, several of each."""
    steps = [_step(arch, batch, precision) for precision in ("float32", "bfloat16")]
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(1 + _TURNS):
        for times, step in zip(taken, steps, strict=True):
            start = time.perf_counter()
            step()
            # The first of each finds its kernels.
            if turn:
                times.append(time.perf_counter() - start)
    return taken


def _step(arch: Arch, batch: int, precision: str) -> Callable[[], None]:
    """Forwards and backwards through the network, without the loss, which is float32 either way.

    Operation by operation: to trace both networks would take longer than all the steps.
    """
    import numpy as np

    from micro_yolo.model.build import build
    from micro_yolo.model.keras import tf

    with isolated(0, precision):
        model = build(arch)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (batch, *arch.size, 3)).astype(np.float32))

    def step() -> None:
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(model(images, training=True))
            total = tf.add_n([tf.reduce_mean(tf.square(tf.cast(each, tf.float32))) for each in outputs])
        for gradient in tape.gradient(total, model.trainable_variables):
            tf.convert_to_tensor(gradient)
        total.numpy()

    return step
