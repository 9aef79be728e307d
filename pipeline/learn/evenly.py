"""The same share of every row cut at once, in one training: how to get to a share of the work in one go."""

from __future__ import annotations

import bisect
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from micro_yolo.model.channels import Keep, channels_of, cut, importance
from micro_yolo.model.count import count
from micro_yolo.model.spec import Arch
from micro_yolo.pipeline.learn.cuts import CHANNELS, Measured
from micro_yolo.pipeline.learn.progressive import Weights, measured, save_network, train_cut
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import Trained

if TYPE_CHECKING:
    from micro_yolo.pipeline.learn.session import Session

# Shares are tried in steps of this, and rows that are wide enough keep a multiple of so many channels: kernels work on
# blocks of them, and some more or less cost no time.
_SHARES, _BLOCK = 256, 8


def kept_evenly(
    arch: Arch,
    weights: Weights,
    units: tuple[str, ...],
    goals: tuple[float, float],
    most: float,
    by: Literal["l1", "gamma"] = "l1",
) -> dict[str, list[int]]:
    """Unit -> indices of its channels that stay, where the smallest share goes of each that meets the goals.

    Args:
      arch: the table.
      weights: its weights.
      units: what is cut, see model.channels.
      goals: most parameters, and most MACs.
      most: largest share that may go.
      by: as of `model.channels.importance`.

    Raises ValueError if the goals cannot be met.
    """
    order = {unit: np.argsort(-importance(arch, weights, unit, by), kind="stable") for unit in units}

    def keep(step: int) -> dict[str, list[int]]:
        left = {unit: _left(len(best), step / _SHARES) for unit, best in order.items()}
        return {unit: np.sort(best[: left[unit]]).tolist() for unit, best in order.items()}

    def is_met(step: int) -> bool:
        total = count(cut(arch, weights, keep(step))[0])
        return total.params <= goals[0] and total.macs <= goals[1]

    last = int(most * _SHARES)
    step = bisect.bisect_left(range(last + 1), True, key=is_met)
    if step > last:
        total = count(cut(arch, weights, keep(last))[0])
        raise ValueError(
            f"most: {most:g} of every row leaves {total.params:,} parameters and {total.macs / 1e6:,.1f} MMAC, more "
            "than the targets; allowed: a larger --most, or larger targets"
        )
    return keep(step)


def _left(width: int, share: float) -> int:
    left = width * (1 - share)
    if width < 2 * _BLOCK:
        return max(round(left), 1)
    return min(max(round(left / _BLOCK) * _BLOCK, _BLOCK), width)


def cut_evenly(
    keep: Keep, recipe: Recipe, distill: float, trained: Trained, session: Session, stage: Path
) -> tuple[Measured, Measured]:
    """Cut all at once, in one training, and finish the stage.

    Args:
      keep: of `kept_evenly`.
      recipe: of the training.
      distill: weight of the unpruned network as a teacher.
      trained: what is pruned.
      session: the data and the devices.
      stage: directory of the stage.

    Returns:
      The network as it was, and as it is.
    """
    from micro_yolo.model.build import weights_of

    arch, model = trained.arch, trained.weighted()
    weights, units = weights_of(model), channels_of(arch).units
    unpruned = measured(arch, session.of_chief(session.measure(model)))
    doomed = np.concatenate([np.delete(units[unit], np.asarray(its, int)) for unit, its in keep.items()])
    training = stage / "training"
    metrics, made = train_cut(trained, session, arch, weights, keep, doomed, recipe, training, distill=distill, seed=0)
    smaller = cut(arch, weights, keep)[0]
    network = measured(smaller, metrics)
    runs.write_json(stage / CHANNELS, {"original": channels_of(arch).widths(), "kept": keep})
    shutil.copyfile(training / runs.HISTORY, stage / runs.HISTORY)
    save_network(stage, smaller, made, {**dataclasses.asdict(network), "unpruned": unpruned})
    shutil.rmtree(training, ignore_errors=True)
    return unpruned, network
