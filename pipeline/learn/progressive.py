"""The paper's progressive pruning, step by step: each cut is trained, measured, and kept or taken back."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from micro_yolo.model.channels import Keep, channels_of, cut, importance
from micro_yolo.model.count import count
from micro_yolo.model.hdf5 import restore, save
from micro_yolo.model.spec import Arch
from micro_yolo.pipeline.learn.cuts import CHANNELS, PICTURE, STEPS, Cuts, Measured, Step, draw
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import Trained

if TYPE_CHECKING:
    from micro_yolo.model.build import Network
    from micro_yolo.pipeline.learn.loop import Penalty
    from micro_yolo.pipeline.learn.session import Session

Weights = dict[str, list[np.ndarray]]


@dataclass(frozen=True)
class Plan:
    """What is cut, and how it is judged.

    Attributes:
      units: what may be cut, in the order it is tried; see model.channels.
      step: share of a unit's channels that goes at a time.
      most: largest share of them that may go in all.
      tolerance: points of AP50 that a cut may be below the unpruned network.
      by: "l1" or "gamma", see model.channels.importance.
      goals: parameters and MACs to stop at; None to cut as long as a cut stands.
      recipe: of the training of each step.
      distill: weight of the unpruned network as a teacher.
      final_epochs: of a training after the last cut.
    """

    units: tuple[str, ...]
    step: float
    most: float
    tolerance: float
    by: Literal["l1", "gamma"]
    goals: tuple[float, float] | None
    recipe: Recipe
    distill: float
    final_epochs: int


class Progressive:
    """The loop: what is cut next, its training, the verdict. All of it is on disk after each step."""

    def __init__(self, plan: Plan, trained: Trained, session: Session, stage: Path) -> None:
        self.plan, self.trained, self.session, self.stage = plan, trained, session, stage
        self.arch: Arch = trained.arch
        self.weights: Weights = {}

    def run(self) -> tuple[Cuts, Measured]:
        """Cut until nothing more stands, or the goals are met, and finish the stage; the steps, and the network."""
        try:
            return self._run()
        finally:
            self.session.show.title = ""

    def _run(self) -> tuple[Cuts, Measured]:
        cuts = self._begin()
        while not self._is_reached(cuts.network):
            cut = cuts.next_cut(self.plan.units, self.plan.step, self.plan.most)
            if cut is None:
                if self.plan.goals is not None:
                    self.session.show.warn("the target is not reached: every row was refused or is cut to --most")
                break
            self._try(cuts, *cut)
        network = self._finish(cuts)
        self._write(cuts, network)
        return cuts, network

    def _is_reached(self, network: Measured) -> bool:
        if self.plan.goals is None:
            return False
        params, macs = self.plan.goals
        return network.params <= params and network.macs <= macs

    def _begin(self) -> Cuts:
        """The record so far, with `arch` and `weights` as it left them."""
        from micro_yolo.model.build import weights_of

        self.session.share(self.stage, STEPS)
        cuts = Cuts.load(self.stage)
        model = self.trained.weighted()
        self.weights = weights_of(model)
        if cuts is None:
            unpruned = measured(self.arch, self.session.of_chief(self.session.measure(model)))
            cuts = Cuts(unpruned, channels_of(self.arch).widths())
            cuts.save(self.stage)
        else:
            for step in cuts.steps:
                done = self.stage / _name(step.number)
                shutil.rmtree(done / "training" if step.accepted else done, ignore_errors=True)
            if cuts.steps:
                # The last step may have been recorded and not drawn.
                self._draw(cuts)
        if cuts.last is not None:
            self.session.share(self.stage / _name(cuts.last.number), runs.ARCH, runs.WEIGHTS)
            self.arch, self.weights = load_network(self.stage / _name(cuts.last.number))
        AP50 = cuts.unpruned.AP50
        floor = (AP50 or 0.0) - self.plan.tolerance
        self.session.show.say(f"unpruned: AP50 {AP50:.1f}; a cut stands at {floor:.1f} or more")
        return cuts

    def _try(self, cuts: Cuts, unit: str, after: int) -> None:
        """Cut, train, measure; keep or forget it."""
        from micro_yolo.model.build import weights_of
        from micro_yolo.pipeline.learn.loop import DivergedError

        number, before = len(cuts.steps) + 1, cuts.network
        folder = self.stage / _name(number)
        scores = importance(self.arch, self.weights, unit, self.plan.by)
        # Least important first; equal ones by number, so that a resumed search chooses the same.
        order = np.array(self.session.of_chief(lambda: np.lexsort((np.arange(len(scores)), scores))))
        doomed, keep = order[: len(order) - after], np.sort(order[len(order) - after :])
        smaller, _ = cut(self.arch, self.weights, {unit: keep.tolist()})
        self.session.show.title = f"step {number}, {unit} {len(order)} -> {after}: "
        reason = ""
        made: Network | None = None
        try:
            numbers = channels_of(self.arch).units[unit][doomed]
            metrics, made = train_cut(
                self.trained,
                self.session,
                self.arch,
                self.weights,
                {unit: keep.tolist()},
                numbers,
                self.plan.recipe,
                folder / "training",
                distill=self.plan.distill,
                seed=number,
            )
        except DivergedError:
            metrics, reason = {"AP": None, "AP50": None}, "training diverged"
        network = measured(smaller, metrics)
        lost = (cuts.unpruned.AP50 or 0.0) - (network.AP50 or 0.0)
        if not reason and lost > self.plan.tolerance:
            reason = f"{lost:.1f} points below unpruned"
        step = Step(
            number,
            unit,
            len(order),
            after,
            tuple(keep.tolist()),
            network,
            before.AP or 0.0,
            before.AP50 or 0.0,
            not reason,
            reason,
        )
        if made is not None and step.accepted:
            save_network(folder, smaller, made, metrics)
            shutil.copyfile(folder / "training" / runs.HISTORY, folder / runs.HISTORY)
            self.arch, self.weights = smaller, weights_of(made)
        cuts.steps.append(step)
        cuts.save(self.stage)
        shutil.rmtree(folder / "training" if step.accepted else folder, ignore_errors=True)
        self._draw(cuts)
        points = "-" if network.AP50 is None else f"{network.AP50:.1f}"
        self.session.show.say(
            f"step {number}: {unit} {step.before} -> {after}, {network.params:,} parameters, "
            f"{network.macs / 1e6:,.1f} MMAC, AP50 {points}: {f'refused, {reason}' if reason else 'kept'}"
        )

    def _draw(self, cuts: Cuts) -> None:
        draw(cuts, self.plan.tolerance, self.stage / PICTURE, f"{self.trained.run.name}: progressive pruning")

    def _finish(self, cuts: Cuts) -> Measured:
        """Train on after the last cut, if asked to; the network as it ends."""
        if not self.plan.final_epochs:
            return cuts.network
        from micro_yolo.model.build import build, weights_of, with_weights
        from micro_yolo.model.keras import keras
        from micro_yolo.pipeline.learn.loop import Task

        keras.backend.clear_session()
        folder = self.stage / "final"
        self.session.show.title = "after the last cut: "
        with self.session.scope():
            model = with_weights(self.arch, self.weights)
        averaged = build(self.arch)
        task = Task(
            model,
            averaged,
            self.session.losses,
            self.session.measure(averaged),
            penalty=self.session.taught(self.trained, self.plan.distill),
            rank_by="AP50",
        )
        recipe = dataclasses.replace(self.plan.recipe, epochs=self.plan.final_epochs)
        metrics = self.session.train(task, recipe, folder, seed=len(cuts.steps) + 1).best
        if (metrics["AP50"] or 0.0) < (cuts.network.AP50 or 0.0):
            self.session.show.say(
                f"the last training gave AP50 {metrics['AP50']:.1f}, no more than before it: not kept"
            )
            return cuts.network
        restore(averaged, folder / runs.WEIGHTS)
        self.weights = weights_of(averaged)
        return measured(self.arch, metrics)

    def _write(self, cuts: Cuts, network: Measured) -> None:
        from micro_yolo.model.build import with_weights

        runs.write_json(self.stage / CHANNELS, {"original": cuts.widths, "kept": cuts.kept()})
        final = self.stage / "final" / runs.HISTORY
        last = self.stage / _name(cuts.last.number) / runs.HISTORY if cuts.last else final
        history = final if final.is_file() else last
        if history.is_file():
            shutil.copyfile(history, self.stage / runs.HISTORY)
        made = with_weights(self.arch, self.weights)
        save_network(self.stage, self.arch, made, {**dataclasses.asdict(network), "unpruned": cuts.unpruned})
        shutil.rmtree(self.stage / "final", ignore_errors=True)


def train_cut(
    trained: Trained,
    session: Session,
    arch: Arch,
    weights: Weights,
    keep: Keep,
    doomed: np.ndarray,
    recipe: Recipe,
    folder: Path,
    *,
    distill: float,
    seed: int,
) -> tuple[dict[str, Any], Network]:
    """Train with the doomed channels driven to zero, measured without them; (metrics, the smaller network).

    Args:
      trained: what is pruned, the teacher.
      session: the data and the devices.
      arch: the table as it is.
      weights: its weights.
      keep: what is left of it, as `model.channels.cut` takes it.
      doomed: the numbers of the other channels, first to go first.
      recipe: of the training.
      folder: of the training.
      distill: weight of the teacher.
      seed: as of `Session.train`.
    """
    from micro_yolo.model.build import build, put_weights, weights_of, with_weights
    from micro_yolo.model.keras import keras
    from micro_yolo.model.sparsity import dooming

    keras.backend.clear_session()
    with session.scope():
        plain = with_weights(arch, weights)
        wrapped = dooming(plain, arch, doomed, recipe.passes * session.steps)
    averaged, without = build(arch), build(cut(arch, weights, keep)[0])
    measure = session.measure(without)

    def leave_out() -> None:
        put_weights(without, cut(arch, weights_of(averaged), keep)[1])

    def evaluate() -> dict[str, Any]:
        leave_out()
        return measure()

    penalty = session.taught(trained, distill)
    metrics = train_wrapped(wrapped, plain, averaged, evaluate, session, recipe, folder, penalty=penalty, seed=seed)
    leave_out()
    return metrics, without


def train_wrapped(
    wrapped: Network,
    plain: Network,
    averaged: Network,
    evaluate: Callable[[], dict[str, Any]],
    session: Session,
    recipe: Recipe,
    folder: Path,
    *,
    penalty: Penalty | None,
    seed: int = 0,
) -> dict[str, Any]:
    """Train with tfmot's pruning wrappers; the metrics of the weights that scored best, which `averaged` ends with.

    Args:
      wrapped: see `model.sparsity`.
      plain: what is in the wrappers.
      averaged: the same network, for the moving average of the weights.
      evaluate: measures `averaged`, see `loop.Task`.
      session: the data and the devices.
      recipe: of the training.
      folder: of the training.
      penalty: added to the loss, see `loop.Task`.
      seed: as of `Session.train`.
    """
    from micro_yolo.model.sparsity import strip_pruning
    from micro_yolo.model.tfmot import UpdatePruningStep
    from micro_yolo.pipeline.learn.loop import Task

    callbacks = [UpdatePruningStep()]
    task = Task(
        wrapped, averaged, session.losses, evaluate, plain=plain, callbacks=callbacks, penalty=penalty, rank_by="AP50"
    )
    metrics = session.train(task, recipe, folder, seed=seed).best
    strip_pruning(wrapped)
    restore(averaged, folder / runs.WEIGHTS)
    return metrics


def measured(arch: Arch, metrics: dict[str, Any]) -> Measured:
    """A table's size and what was measured of it."""
    total = count(arch)
    return Measured(total.params, total.macs, metrics["AP"], metrics["AP50"])


def save_network(folder: Path, arch: Arch, network: Network, metrics: dict[str, Any]) -> None:
    """Write table, weights and, last, metrics."""
    runs.write_json(folder / runs.ARCH, arch.to_json())
    with runs.writing(folder / runs.WEIGHTS) as beside:
        save(network, beside)
    runs.write_json(folder / runs.METRICS, metrics)


def load_network(folder: Path) -> tuple[Arch, Weights]:
    """What `save_network` wrote. Raises ValueError naming the file that is damaged."""
    from micro_yolo.model.build import build, weights_of

    arch = Arch.load(folder / runs.ARCH)
    model = build(arch)
    try:
        restore(model, folder / runs.WEIGHTS)
    except Exception as error:  # of h5py and Keras, many kinds
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{folder / runs.WEIGHTS}: damaged ({reason}); allowed: --overwrite to start again") from None
    return arch, weights_of(model)


def _name(number: int) -> str:
    return f"step_{number:02d}"
