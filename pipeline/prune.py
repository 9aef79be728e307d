"""Progressive channel pruning (Hu & Li, ICAART 2021): cut a sixteenth, train, keep the cut while mAP holds, go on.

    python -m pipeline.prune --run runs/cells
    python -m pipeline.prune --run runs/cells --target-params 0.75 --target-macs 0.8
    python -m pipeline.prune --run runs/cells --pattern even --target-macs 0.66

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

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.learn import devices
from micro_yolo.pipeline.learn.cuts import Cuts, Measured, goal, one_box_points, table
from micro_yolo.pipeline.learn.evenly import cut_evenly, kept_evenly
from micro_yolo.pipeline.learn.options import Options
from micro_yolo.pipeline.learn.progressive import Plan, Progressive, measured, save_network, train_wrapped
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import killed, resume, runs
from micro_yolo.pipeline.store.finished import Trained, find

if TYPE_CHECKING:
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.learn.session import Session

PROG = "python -m pipeline.prune"


@dataclass(frozen=True)
class Config(Options):
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
    pattern: Literal["channels", "even", "2:4"] = "channels"
    """channels: row after row, while AP50 holds; even: of all rows the same share, to the targets, in one training;
    2:4: two of four consecutive weights stay, in one training, at unchanged size."""
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


@dataclass(frozen=True)
class Result:
    """What a pruning leaves.

    Attributes:
      run: directory of the run.
      stage: its `prune`.
      unpruned: the network it began with.
      network: the one it ended with.
      cuts: every step, of the channels pattern.
      zeros: share of the weights that are zero, of the 2:4 pattern.
      convolutions: how many have that pattern.
    """

    run: Path
    stage: Path
    unpruned: Measured
    network: Measured
    cuts: Cuts | None = None
    zeros: float | None = None
    convolutions: int = 0


def run(config: Config, show: Show = QUIET) -> Result:
    """Prune as `config` says.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    devices.check_run(config.run)
    trained = find(config.run, before="prune")
    begun = devices.begun(trained.run, "prune") if config.resume else None
    if begun is not None:
        killed.check_alone(begun)
        config = resume.recorded(config, begun, prog=PROG)
        resume.check_parent(begun, trained.stage)
    _check(config, trained)
    is_chief = devices.cluster()[0] == 0
    if begun is None and is_chief:
        runs.check_new_run(trained.run, stage="prune", overwrite=config.overwrite)

    from micro_yolo.pipeline.data.fingerprint import check_content, content
    from micro_yolo.pipeline.learn.session import Session, isolated, recorded_loss

    dataset = trained.dataset(config.data)
    if begun is not None:
        check_content(dataset, resume.facts(begun), str(begun))
    with isolated(config.seed):
        loss = trained.loss if begun is None else recorded_loss(begun)
        session = Session(
            trained.arch, dataset, trained.resize, config, show, loss=loss, eval_images=config.eval_images
        )
        _warn_if_coarse(config, session)
        keep = session.of_chief(lambda: _even(config, trained)) if config.pattern == "even" else {}
        # Nothing that a user can have done wrong is left: only now is there a new stage, or the old one gone.
        session.check_parent(trained)
        stage = devices.own(trained.run, "prune")
        if begun is None:
            stage = devices.new(trained.run, "prune", overwrite=config.overwrite)
            facts = {**trained.facts(config.data), "category_ids": dataset.category_ids, "loss": session.loss}
            runs.begin(stage, config, parent=trained.stage, content=content(dataset), **facts)
        with killed.alone(stage):
            runs.sweep(stage.parent)
            if config.pattern == "2:4":
                result = _leave_two_of_four(config, trained, session, stage)
            elif config.pattern == "even":
                networks = cut_evenly(keep, config.recipe, config.distill, trained, session, stage)
                result = Result(trained.run, stage, *networks)
            else:
                cuts, network = Progressive(_plan(config, trained), trained, session, stage).run()
                result = Result(trained.run, stage, cuts.unpruned, network, cuts)
        # The others wait until the chief has written its own, as they may go on with the next stage.
        session.of_chief(lambda: None)
    if not is_chief:
        devices.leave(trained.run)
    return dataclasses.replace(result, stage=trained.run / "prune")


def _goals(config: Config, arch: Arch) -> tuple[float, float]:
    """Most parameters and MACs. Raises ValueError for a target that is none."""
    from micro_yolo.model.count import count

    total = count(arch)
    params = goal(config.target_params, total.params, "target_params")
    return params, goal(config.target_macs, total.macs, "target_macs")


def _units(config: Config, arch: Arch) -> tuple[str, ...]:
    from micro_yolo.model.channels import channels_of

    return config.rows or tuple(channels_of(arch).units)


def _even(config: Config, trained: Trained) -> dict[str, list[int]]:
    from micro_yolo.model.build import weights_of

    arch, weights = trained.arch, weights_of(trained.weighted())
    return kept_evenly(arch, weights, _units(config, arch), _goals(config, arch), config.most, config.by)


def _plan(config: Config, trained: Trained) -> Plan:
    goals = _goals(config, trained.arch)
    return Plan(
        units=_units(config, trained.arch),
        step=config.step,
        most=config.most,
        tolerance=config.tolerance,
        by=config.by,
        goals=goals if _has_target(config) else None,
        recipe=config.recipe,
        distill=config.distill,
        final_epochs=config.final_epochs,
    )


def _check(config: Config, trained: Trained) -> None:
    """Raise ValueError for what is wrong with the settings and the table alone, before any slow work."""
    from micro_yolo.model.channels import check_unit

    config.check()
    for name in ("step", "most"):
        if not 0 < getattr(config, name) < 1:
            raise ValueError(f"{name}: must be between 0 and 1, got {getattr(config, name)}; allowed: such as 0.0625")
    for name in ("tolerance", "distill", "final_epochs"):
        if not (getattr(config, name) >= 0 and math.isfinite(getattr(config, name))):
            raise ValueError(f"{name}: must not be negative, got {getattr(config, name)}")
    _goals(config, trained.arch)
    if config.pattern == "even" and (not _has_target(config) or config.final_epochs):
        raise ValueError(
            "pattern: even wants --target-macs or --target-params, such as 0.66, and trains once, for --epochs; leave "
            "out --final-epochs"
        )
    if config.pattern == "2:4":
        if config.rows or _has_target(config):
            raise ValueError("pattern: 2:4 thins all rows alike and keeps the size; leave out --rows and the targets")
        return
    for unit in config.rows:
        check_unit(trained.arch, unit)
    if len(set(config.rows)) < len(config.rows):
        raise ValueError(f"rows: each at most once, got {' '.join(config.rows)}")


def _has_target(config: Config) -> bool:
    return config.target_params is not None or config.target_macs is not None


def _warn_if_coarse(config: Config, session: Session) -> None:
    val, names = session.val, session.dataset.names
    counts = np.bincount(val.classes[~val.crowd], minlength=len(names))
    if not counts.any():
        raise ValueError(f"{session.dataset.root}: the validation images have no boxes to measure with")
    name, points = one_box_points(dict(zip(names, counts.tolist(), strict=True)))
    if config.pattern == "channels" and points > config.tolerance:
        session.show.warn(
            f"one box of {name} is worth {points:.1f} points of AP50 on {len(val)} validation images, "
            f"more than the tolerance of {config.tolerance:g}: a cut may be kept or refused by chance; more images or "
            "a larger --tolerance would tell more"
        )


def _leave_two_of_four(config: Config, trained: Trained, session: Session, stage: Path) -> Result:
    """Have tfmot's 2:4 sparsity in one training, in which the network keeps its shape."""
    from micro_yolo.model.build import build, weights_of
    from micro_yolo.model.sparsity import masks_of, two_of_four

    arch = trained.arch
    with session.scope():
        plain = trained.weighted()
        wrapped = two_of_four(plain)
    unpruned = measured(arch, session.of_chief(session.measure(trained.weighted())))
    averaged = build(arch)
    measure = session.measure(averaged)

    def masked() -> None:
        # The average remembers weights from before the masks.
        for name, mask in masks_of(wrapped).items():
            layer = averaged.get_layer(name)
            layer.set_weights([layer.get_weights()[0] * mask, *layer.get_weights()[1:]])

    def evaluate() -> dict[str, Any]:
        masked()
        return measure()

    penalty = session.taught(trained, config.distill)
    training = stage / "training"
    metrics = train_wrapped(wrapped, plain, averaged, evaluate, session, config.recipe, training, penalty=penalty)
    weights = weights_of(averaged)
    sizes = [(np.count_nonzero(weights[name][0]), mask.size) for name, mask in masks_of(wrapped).items()]
    zeros = 1 - sum(n for n, _ in sizes) / sum(n for _, n in sizes)
    shutil.copyfile(training / runs.HISTORY, stage / runs.HISTORY)
    network = measured(arch, metrics)
    save_network(stage, arch, averaged, {**dataclasses.asdict(network), "unpruned": unpruned, "zeros": zeros})
    shutil.rmtree(training, ignore_errors=True)
    return Result(trained.run, stage, unpruned, network, zeros=zeros, convolutions=len(sizes))


def tell(result: Result, show: Show) -> None:
    """What people want to know of it."""
    whole, network = result.unpruned, result.network
    if result.cuts is not None:
        show.draw(table(result.cuts))
    if result.zeros is None:
        show.say(
            f"{network.params:,} of {whole.params:,} parameters ({100 * network.params / whole.params - 100:+.1f} "
            f"%), {network.macs / 1e6:,.1f} of {whole.macs / 1e6:,.1f} MMAC "
            f"({100 * network.macs / whole.macs - 100:+.1f} %), AP50 {network.AP50:.1f} of {whole.AP50:.1f}"
        )
    if result.zeros is not None:
        show.say(
            f"{100 * result.zeros:.1f} % of the weights of {result.convolutions} convolutions are zero; AP50 "
            f"{network.AP50:.1f} of {whole.AP50:.1f}. The file keeps its size, though it packs better; only "
            "runtimes with 2:4 kernels gain speed"
        )
    show.say(f"{result.run}; next: python -m pipeline.qat --run {typed(result.run)}, or pipeline.convert --int8")


def command(config: Config) -> None:
    """Prune, and tell people."""
    with Screen("stdout") as show:
        result = run(config, show)
        if devices.cluster()[0] == 0:
            tell(result, show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
