"""The paper's progressive pruning, step by step: each cut is trained, measured, and kept or taken back."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.model.channels import channels_of, cut, importance
from micro_yolo.model.count import count
from micro_yolo.model.spec import Arch
from micro_yolo.pipeline.learn.cuts import CHANNELS, PICTURE, Cuts, Measured, Step, draw, goal, table
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from micro_yolo.pipeline.learn.session import Retraining
    from micro_yolo.pipeline.prune import Config

Weights = dict[str, list[np.ndarray]]


class Progressive:
    """The loop: what is cut next, its training, the verdict. All of it is on disk after each step."""

    def __init__(self, config: Config, work: Retraining, stage: Path) -> None:
        self.config, self.work, self.stage = config, work, stage
        self.arch: Arch = work.trained.arch
        self.weights: Weights = {}
        self.units = config.rows or tuple(channels_of(self.arch).units)

    def run(self) -> None:
        """Cut until nothing more stands, or the targets are met, and finish the stage."""
        cuts = self._begin()
        goals = (
            goal(self.config.target_params, cuts.unpruned.params, "target_params"),
            goal(self.config.target_macs, cuts.unpruned.macs, "target_macs"),
        )
        asked = self.config.target_params is not None or self.config.target_macs is not None
        while not (asked and cuts.network.params <= goals[0] and cuts.network.macs <= goals[1]):
            cut = cuts.next_cut(self.units, self.config.step, self.config.most)
            if cut is None:
                if asked:
                    self._say("warning: the target is not reached: every row was refused or is cut to --most")
                break
            self._try(cuts, *cut)
        network = self._finish(cuts)
        self._write(cuts, network)

    def _begin(self) -> Cuts:
        """The record so far, with `arch` and `weights` as it left them."""
        from micro_yolo.model.build import weights_of

        cuts = Cuts.load(self.stage)
        model = self.work.trained.weighted()
        self.weights = weights_of(model)
        if cuts is None:
            unpruned = measured(self.arch, self.work.measure(model)())
            cuts = Cuts(unpruned, channels_of(self.arch).widths())
            cuts.save(self.stage)
        elif cuts.last is not None:
            self.arch, self.weights = load_network(self.stage / _name(cuts.last.number))
        AP50 = cuts.unpruned.AP50
        self._say(f"unpruned: AP50 {AP50:.1f}; a cut stands at {(AP50 or 0.0) - self.config.tolerance:.1f} or more")
        return cuts

    def _try(self, cuts: Cuts, unit: str, after: int) -> None:
        """Cut, train, measure; keep or forget it."""
        from micro_yolo.pipeline.learn.loop import DivergedError

        number, before = len(cuts.steps) + 1, cuts.network
        folder = self.stage / _name(number)
        scores = importance(self.arch, self.weights, unit, self.config.by)
        # Least important first; equal ones by number, so that a resumed search chooses the same.
        order = np.lexsort((np.arange(len(scores)), scores))
        doomed, keep = order[: len(order) - after], np.sort(order[len(order) - after :])
        smaller, _ = cut(self.arch, self.weights, {unit: keep.tolist()})
        self.work.show.title = f"step {number}, {unit} {len(order)} -> {after}: "
        reason = ""
        try:
            metrics, weights = self._train_cut(smaller, unit, doomed, keep, folder / "training", number)
        except DivergedError:
            metrics, weights, reason = {"AP": None, "AP50": None}, {}, "training diverged"
        network = measured(smaller, metrics)
        lost = (cuts.unpruned.AP50 or 0.0) - (network.AP50 or 0.0)
        if not reason and lost > self.config.tolerance:
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
        if step.accepted:
            save_network(folder, smaller, weights, metrics)
            shutil.copyfile(folder / "training" / runs.HISTORY, folder / runs.HISTORY)
            self.arch, self.weights = smaller, weights
        cuts.steps.append(step)
        cuts.save(self.stage)
        shutil.rmtree(folder / "training" if step.accepted else folder, ignore_errors=True)
        draw(cuts, self.config.tolerance, self.stage / PICTURE, f"{self.work.trained.run.name}: progressive pruning")
        points = "-" if network.AP50 is None else f"{network.AP50:.1f}"
        self._say(
            f"step {number}: {unit} {step.before} -> {after}, {network.params:,} parameters, "
            f"{network.macs / 1e6:,.1f} MMAC, AP50 {points}: {f'refused, {reason}' if reason else 'kept'}"
        )

    def _train_cut(
        self, smaller: Arch, unit: str, doomed: np.ndarray, keep: np.ndarray, folder: Path, number: int
    ) -> tuple[dict[str, Any], Weights]:
        """Train with the doomed channels driven to zero, measured without them; (metrics, the smaller weights)."""
        from micro_yolo.model.build import build, put_weights, weights_of, with_weights
        from micro_yolo.model.keras import keras
        from micro_yolo.model.sparsity import dooming, strip_pruning
        from micro_yolo.model.tfmot import UpdatePruningStep

        keras.backend.clear_session()
        plain, averaged, without = with_weights(self.arch, self.weights), build(self.arch), build(smaller)
        numbers = channels_of(self.arch).units[unit][doomed]
        wrapped = dooming(plain, self.arch, numbers, self.config.recipe.epochs * self.work.steps)
        measure = self.work.measure(without)

        def cut_weights() -> Weights:
            return cut(self.arch, weights_of(averaged), {unit: keep.tolist()})[1]

        def evaluate() -> dict[str, Any]:
            put_weights(without, cut_weights())
            return measure()

        metrics = self.work.train(
            wrapped,
            averaged,
            evaluate,
            self.config.recipe,
            folder,
            seed=number,
            plain=plain,
            callbacks=[UpdatePruningStep()],
            penalty=self.work.taught(self.config.distill),
            rank_by="AP50",
        )
        strip_pruning(wrapped)
        averaged.load_weights(str(folder / runs.WEIGHTS))
        return metrics, cut_weights()

    def _finish(self, cuts: Cuts) -> Measured:
        """Train on after the last cut, if asked to; the network as it ends."""
        if not self.config.final_epochs:
            return cuts.network
        from micro_yolo.model.build import build, weights_of, with_weights
        from micro_yolo.model.keras import keras

        keras.backend.clear_session()
        folder = self.stage / "final"
        self.work.show.title = "after the last cut: "
        model, averaged = with_weights(self.arch, self.weights), build(self.arch)
        recipe = dataclasses.replace(self.config.recipe, epochs=self.config.final_epochs)
        evaluate = self.work.measure(averaged)
        metrics = self.work.train(
            model,
            averaged,
            evaluate,
            recipe,
            folder,
            seed=len(cuts.steps) + 1,
            penalty=self.work.taught(self.config.distill),
            rank_by="AP50",
        )
        if (metrics["AP50"] or 0.0) < (cuts.network.AP50 or 0.0):
            self._say(f"the last training gave AP50 {metrics['AP50']:.1f}, no more than before it: not kept")
            return cuts.network
        averaged.load_weights(str(folder / runs.WEIGHTS))
        self.weights = weights_of(averaged)
        return measured(self.arch, metrics)

    def _write(self, cuts: Cuts, network: Measured) -> None:
        runs.write_json(self.stage / CHANNELS, {"original": cuts.widths, "kept": cuts.kept()})
        final = self.stage / "final" / runs.HISTORY
        last = self.stage / _name(cuts.last.number) / runs.HISTORY if cuts.last else final
        history = final if final.is_file() else last
        if history.is_file():
            shutil.copyfile(history, self.stage / runs.HISTORY)
        save_network(self.stage, self.arch, self.weights, {**dataclasses.asdict(network), "unpruned": cuts.unpruned})
        shutil.rmtree(self.stage / "final", ignore_errors=True)
        self.work.show.console.print(table(cuts))
        whole = cuts.unpruned
        self._say(
            f"{network.params:,} of {whole.params:,} parameters ({100 * network.params / whole.params - 100:+.1f} %), "
            f"{network.macs / 1e6:,.1f} of {whole.macs / 1e6:,.1f} MMAC ({100 * network.macs / whole.macs - 100:+.1f} "
            f"%), AP50 {network.AP50:.1f} of {whole.AP50:.1f}"
        )

    def _say(self, text: str) -> None:
        self.work.show.console.print(text, soft_wrap=True, highlight=False, markup=False)


def measured(arch: Arch, metrics: dict[str, Any]) -> Measured:
    """A table's size and what was measured of it."""
    total = count(arch)
    return Measured(total.params, total.macs, metrics["AP"], metrics["AP50"])


def save_network(folder: Path, arch: Arch, weights: Weights, metrics: dict[str, Any]) -> None:
    """Write table, weights and, last, metrics."""
    from micro_yolo.model.build import with_weights

    runs.write_json(folder / runs.ARCH, arch.to_json())
    with runs.writing(folder / runs.WEIGHTS) as beside:
        with_weights(arch, weights).save_weights(str(beside))
    runs.write_json(folder / runs.METRICS, metrics)


def load_network(folder: Path) -> tuple[Arch, Weights]:
    """What `save_network` wrote. Raises ValueError naming the file that is damaged."""
    from micro_yolo.model.build import build, weights_of

    arch = Arch.load(folder / runs.ARCH)
    model = build(arch)
    try:
        model.load_weights(str(folder / runs.WEIGHTS))
    except Exception as error:  # of h5py and Keras, many kinds
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{folder / runs.WEIGHTS}: damaged ({reason}); allowed: --overwrite to start again") from None
    return arch, weights_of(model)


def _name(number: int) -> str:
    return f"step_{number:02d}"
