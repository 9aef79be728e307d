"""Progressive channel pruning (Hu & Li, ICAART 2021): cut a sixteenth, train, keep the cut while mAP holds, go on.

    python -m pipeline.prune --run runs/cells
    python -m pipeline.prune --run runs/cells --target-params 0.75 --target-macs 0.8

It ends with `pipeline.qat` or `pipeline.convert` as the next command. See docs/prune.md.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from micro_yolo.pipeline.learn.cuts import goal, one_box_points
from micro_yolo.pipeline.learn.progressive import Progressive, measured, save_network
from micro_yolo.pipeline.learn.recipe import Recipe, Strength
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import resume, runs
from micro_yolo.pipeline.store.finished import Trained, find

if TYPE_CHECKING:
    from micro_yolo.pipeline.learn.session import Retraining

PROG = "python -m pipeline.prune"


@dataclass(frozen=True)
class Config:
    """Make a trained network narrower, a few channels at a time, as long as its accuracy holds."""

    run: Path | None = None
    """Run whose trained network is pruned; by default the newest."""
    rows: tuple[str, ...] = ()
    """What to cut, in this order: rows (l13) and inner widths (l22.mid); by default all, in the table's order."""
    step: float = 1 / 16
    """Share of a row's channels that goes at a time."""
    most: float = 0.5
    """Largest share of a row's channels that may go in all."""
    tolerance: float = 0.5
    """Points of AP50 on validation that a cut may be below the unpruned network."""
    by: Literal["l1", "gamma"] = "l1"
    """Channels go that are made by the filters of the smallest L1 norm, or have the smallest batch-norm scale."""
    pattern: Literal["channels", "2:4"] = "channels"
    """Whole channels are cut out; 2:4 leaves two of four consecutive weights, in one training, at unchanged size."""
    target_params: float | None = None
    """Stop at so many parameters: a count, or a share of the unpruned network's such as 0.75."""
    target_macs: float | None = None
    """Stop at so many multiply-accumulates, likewise; with both targets, when both are met."""
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=20, learning_rate=0.001, warmup_epochs=1.0))
    distill: float = 0.0
    """Weight of the unpruned network's outputs as a second teacher; 0 is none, as in the paper."""
    final_epochs: int = 0
    """Passes over the training images after the last cut, to recover what short trainings left."""
    eval_images: int | None = None
    """Measure steps on so many of the validation images; by default on all."""
    data: Path | None = None
    """Labelled images; by default those of the training."""
    batch: int = 8
    """Images a step."""
    augment: Strength = field(default_factory=Strength)
    cache_gib: float = 2.0
    """Memory for decoded images; a larger data set is decoded anew each epoch."""
    seed: int = 0
    """Of everything random."""
    resume: bool = False
    """Continue a pruning that was stopped, with the settings it recorded."""
    overwrite: bool = False
    """Replace a pruning of the run, and the stages made from it."""


def run(config: Config) -> Path:
    """Prune as `config` says and return the run's directory.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    trained = find(config.run, before="prune")
    stage = trained.run / "prune"
    if config.resume:
        config = resume.recorded(config, stage, prog=PROG)
    _check(config, trained)
    if not config.resume:
        runs.check_new_run(trained.run, stage="prune", overwrite=config.overwrite)

    from micro_yolo.pipeline.learn.session import Retraining
    from micro_yolo.pipeline.show.bars import TrainingProgress

    with TrainingProgress() as show:
        work = Retraining(
            trained,
            show,
            data=config.data,
            batch=config.batch,
            augment=config.augment,
            cache_gib=config.cache_gib,
            seed=config.seed,
            eval_images=config.eval_images,
        )
        _warn_if_coarse(config, work)
        # Nothing that a user can have done wrong is left: only now is there a new stage, or the old one gone.
        if not config.resume:
            runs.new_run(trained.run, stage="prune", overwrite=config.overwrite)
            facts = {**trained.facts(), "category_ids": work.dataset.category_ids}
            runs.write_json(stage / runs.CONFIG, runs.record(config, parent=trained.stage, **facts))
        if config.pattern == "2:4":
            _leave_two_of_four(config, work, stage)
        else:
            Progressive(config, work, stage).run()
    print(f"{trained.run}; next: python -m pipeline.qat --run {trained.run}, or pipeline.convert --int8")
    return trained.run


def _check(config: Config, trained: Trained) -> None:
    """Raise ValueError for what is wrong with the settings alone, before any slow work."""
    from micro_yolo.model.channels import check_unit
    from micro_yolo.model.count import count

    for name in ("step", "most"):
        if not 0 < getattr(config, name) < 1:
            raise ValueError(f"{name}: must be between 0 and 1, got {getattr(config, name)}; allowed: such as 0.0625")
    for name in ("tolerance", "distill", "final_epochs"):
        if not (getattr(config, name) >= 0 and math.isfinite(getattr(config, name))):
            raise ValueError(f"{name}: must not be negative, got {getattr(config, name)}")
    total = count(trained.arch)
    goal(config.target_params, total.params, "target_params")
    goal(config.target_macs, total.macs, "target_macs")
    if config.pattern == "2:4":
        if config.rows or config.target_params is not None or config.target_macs is not None:
            raise ValueError("pattern: 2:4 thins all rows alike and keeps the size; leave out --rows and the targets")
        return
    for unit in config.rows:
        check_unit(trained.arch, unit)
    if len(set(config.rows)) < len(config.rows):
        raise ValueError(f"rows: each at most once, got {' '.join(config.rows)}")


def _warn_if_coarse(config: Config, work: Retraining) -> None:
    counts = np.bincount(work.val.classes[~work.val.crowd], minlength=len(work.dataset.names))
    if not counts.any():
        raise ValueError(f"{work.dataset.root}: the validation images have no boxes to measure with")
    name, points = one_box_points(dict(zip(work.dataset.names, counts.tolist(), strict=True)))
    if config.pattern == "channels" and points > config.tolerance:
        print(
            f"warning: one box of {name} is worth {points:.1f} points of AP50 on {len(work.val)} validation images, "
            f"more than the tolerance of {config.tolerance:g}: a cut may be kept or refused by chance; more images or "
            "a larger --tolerance would tell more",
            flush=True,
        )


def _leave_two_of_four(config: Config, work: Retraining, stage: Path) -> None:
    """Have tfmot's 2:4 sparsity in one training, in which the network keeps its shape."""
    from micro_yolo.model.build import build, weights_of
    from micro_yolo.model.sparsity import masks_of, strip_pruning, two_of_four
    from micro_yolo.model.tfmot import UpdatePruningStep

    plain = work.trained.weighted()
    unpruned = measured(work.trained.arch, work.measure(plain)())
    averaged, wrapped = build(work.trained.arch), two_of_four(plain)
    measure = work.measure(averaged)

    def masked() -> None:
        # The average remembers weights from before the masks.
        for name, mask in masks_of(wrapped).items():
            layer = averaged.get_layer(name)
            layer.set_weights([layer.get_weights()[0] * mask, *layer.get_weights()[1:]])

    def evaluate() -> dict[str, Any]:
        masked()
        return measure()

    metrics = work.train(
        wrapped,
        averaged,
        evaluate,
        config.recipe,
        stage / "training",
        plain=plain,
        callbacks=[UpdatePruningStep()],
        penalty=work.taught(config.distill),
        rank_by="AP50",
    )
    strip_pruning(wrapped)
    averaged.load_weights(str(stage / "training" / runs.WEIGHTS))
    weights = weights_of(averaged)
    sizes = [(np.count_nonzero(weights[name][0]), mask.size) for name, mask in masks_of(wrapped).items()]
    zero = 1 - sum(n for n, _ in sizes) / sum(n for _, n in sizes)
    shutil.copyfile(stage / "training" / runs.HISTORY, stage / runs.HISTORY)
    network = measured(work.trained.arch, metrics)
    save_network(
        stage, work.trained.arch, weights, {**dataclasses.asdict(network), "unpruned": unpruned, "zeros": zero}
    )
    shutil.rmtree(stage / "training")
    print(
        f"{100 * zero:.1f} % of the weights of {len(sizes)} convolutions are zero; AP50 {network.AP50:.1f} of "
        f"{unpruned.AP50:.1f}. The file keeps its size, though it packs better; only runtimes with 2:4 kernels gain "
        "speed"
    )


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
