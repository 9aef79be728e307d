"""What the commands do, as functions that return objects: each builds the stage's own `Config` and calls its `run`.

Nothing is printed unless `show` is a `Screen`; warnings are Python's. TensorFlow is loaded by what trains or converts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from micro_yolo.detector import Detector
from micro_yolo.options import call, takes
from micro_yolo.pipeline import benchmark as benchmark_stage
from micro_yolo.pipeline import convert as convert_stage
from micro_yolo.pipeline import evaluate as evaluate_stage
from micro_yolo.pipeline import prune as prune_stage
from micro_yolo.pipeline import qat as qat_stage
from micro_yolo.pipeline import train as train_stage
from micro_yolo.pipeline.data import Dataset
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import history, runs

PathLike = str | os.PathLike[str]


@takes(train_stage.Config)
def train(data: PathLike | Dataset | None = None, *, show: Show | None = None, **options: Any) -> Run:
    """Train a detector from labelled images, and return its run. The options are those of ``pipeline.train``.

    Args:
        data: folder of labelled images (COCO, Pascal VOC, YOLO or CSV), or what `load` made of it, which is read anew
            with `val_fraction` and `seed`; without it a synthetic set is drawn.
        show: a `Screen` to see lines and bars.
        options: such as ``arch="micro_yolo"``, ``size=320`` (pixels, or ``"256x320"``, height x width), ``epochs=40``,
            ``run="runs/mine"``; ``inspect.signature`` lists them all.

    Raises ValueError or OSError, in one line, for what a user can mend; TypeError for an option that there is not.
    """
    made = call(train_stage, {"data": data}, options, show)
    return Run(made.run)


@takes(evaluate_stage.Config, "run", "model", "json")
def evaluate(
    model: PathLike | Run | Detector,
    data: PathLike | Dataset | None = None,
    *,
    show: Show | None = None,
    **options: Any,
) -> evaluate_stage.Evaluation:
    """Average precision by pycocotools of a run's network in Keras, or of a .tflite: ours, or somebody else's detector.

    Args:
        model: a run, a `Detector`, or the path of either.
        data: labelled images; by default those of the training.
        show: a `Screen` to see a bar.
        options: of ``pipeline.evaluate``, such as ``split="test"``, ``iou=0.5``, ``threads=4``.

    Returns:
        AP and AP50 in per cent, 0..100, all other figures as `metrics`, and the files that were written beside the run.

    Raises ValueError or OSError, in one line; TypeError for an option that there is not.
    """
    run, file = (model, None) if Path(model).is_dir() else (None, model)
    return call(evaluate_stage, {"run": run, "model": file, "data": data, "json": False}, options, show)


@takes(benchmark_stage.Config, "models")
def benchmark(*models: PathLike | Detector, show: Show | None = None, **options: Any) -> benchmark_stage.Speeds:
    """Compare the speed of .tflite files, by turns in one process, and what they cost in memory.

    Args:
        models: files, or `Detector`s; ratios are to the first.
        show: a `Screen` to see a bar.
        options: of ``pipeline.benchmark``, such as ``threads="1,4"``, ``runs=50``, ``xnnpack="both"``.

    Returns:
        Times in milliseconds of the graph alone, and memory in bytes.

    Raises ValueError or OSError, in one line; TypeError for an option that there is not.
    """
    return call(benchmark_stage, {"models": models}, options, show)


class Run:
    """A run: a trained network, and what was made of it in the same directory.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: PathLike | None = None) -> None:
        """Open a run that `train` or ``pipeline.train`` made; by default the newest in ./runs.

        Raises FileNotFoundError or ValueError if there is none at `path`.
        """
        self.path = runs.resolve_run(None if path is None else Path(path))

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        done = " -> ".join(self.stages) or "not finished"
        measured = self.metrics if self.stages else {}
        figures = [f", {name} {measured[name]:.1f}" for name in ("AP", "AP50") if measured.get(name) is not None]
        return f"Run({str(self.path)!r}: {done}{''.join(figures)})"

    @property
    def stages(self) -> tuple[str, ...]:
        """Its finished stages, of train, prune and qat."""
        return tuple(name for name in runs.STAGES if runs.is_finished(self.path / name))

    @property
    def metrics(self) -> dict[str, Any]:
        """What the most finished stage was measured at on the validation images: AP and AP50 in per cent, and more.

        Raises ValueError if no stage is finished.
        """
        found: dict[str, Any] = runs.read_json(runs.latest_stage(self.path) / runs.METRICS)
        return found

    @property
    def history(self) -> list[history.Row]:
        """A line for each epoch of the most finished stage: losses, learning rate, AP where measured (per cent)."""
        return history.read(runs.latest_stage(self.path) / runs.HISTORY)

    @takes(prune_stage.Config, "run")
    def prune(self, *, show: Show | None = None, **options: Any) -> Run:
        """Make the trained network narrower as long as its accuracy holds; returns this run.

        The options are those of ``pipeline.prune``, such as ``target_params=0.75``, ``tolerance=0.5`` (points of AP50),
        ``epochs=20`` (after each cut). Raises ValueError or OSError, in one line, or TypeError for an unknown option.
        """
        call(prune_stage, {"run": self}, options, show)
        return self

    @takes(qat_stage.Config, "run")
    def quantize(self, *, show: Show | None = None, **options: Any) -> Run:
        """Train on as the integers the network will be (``pipeline.qat``); returns this run.

        The options are those of ``pipeline.qat``, such as ``bits=8``, ``epochs=12``. An int8 file can be had without:
        ``convert(int8=True)`` quantizes by itself. Raises ValueError or OSError, in one line, or TypeError for an
        unknown option.
        """
        call(qat_stage, {"run": self}, options, show)
        return self

    @takes(convert_stage.Config, "run")
    def convert(self, *, show: Show | None = None, **options: Any) -> dict[str, Detector]:
        """Make .tflite files, each checked against Keras; returns them by variant: ``convert(int8=True)["int8"]``.

        The options are those of ``pipeline.convert``: ``float32``, ``float16``, ``dynamic``, ``int16x8``, ``int8`` for
        the variants (float32 if none is named), ``head="raw"``, ``samples=200``, ``out=FOLDER``, ... Raises ValueError
        or OSError, in one line, and then nothing is written; TypeError for an unknown option.
        """
        made = call(convert_stage, {"run": self}, options, show)
        return {file.contract.variant: Detector(file.path) for file in made.files}

    @takes(evaluate_stage.Config, "run", "model", "json")
    def evaluate(
        self, data: PathLike | Dataset | None = None, *, show: Show | None = None, **options: Any
    ) -> evaluate_stage.Evaluation:
        """Average precision of its network in Keras, as `micro_yolo.evaluate` measures it."""
        return call(evaluate_stage, {"run": self, "model": None, "data": data, "json": False}, options, show)
