"""Train a detector from labelled images: ``python -m pipeline.train --data PATH --arch micro_yolo --size 320``.

Without --data it draws a small synthetic set and trains quickly on that. See docs/train.md.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from micro_yolo.pipeline.learn.recipe import Recipe, Strength
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import resume, runs

if TYPE_CHECKING:
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.data.input import Images
    from micro_yolo.pipeline.show.bars import TrainingProgress

PROG = "python -m pipeline.train"
# What training does with no data of your own: small enough to end in a few minutes on two cores.
QUICK_SIZE, QUICK_EPOCHS, QUICK_IMAGES = 160, 45, 400
# A short training has more from images as they are, and the drawn shapes are told apart by their hue too.
QUICK_AUGMENT = Strength(mosaic=0, hue=0)


@dataclass(frozen=True)
class Config:
    """Train a detector from labelled images."""

    data: Path | None = None
    """Folder of labelled images (COCO, Pascal VOC, YOLO or CSV); without it a synthetic set is drawn."""
    arch: str = "micro_yolo"
    """Network: a name that `python -m pipeline.summary` lists, or a table in a .json file."""
    size: str | None = None
    """Input size in pixels: 320, or 256x320 (height x width); by default the network's own."""
    run: Path | None = None
    """Directory of the run; by default a new one in runs/."""
    batch: int = 8
    """Images a step, over all devices."""
    recipe: Recipe = field(default_factory=Recipe)
    augment: Strength = field(default_factory=Strength)
    anchors: Literal["fit", "paper"] = "fit"
    """Anchors fitted to the training boxes, or the network's published ones."""
    resize: Literal["stretch", "letterbox", "mediapipe"] = "stretch"
    """How photographs become the input's shape, in training and ever after; mediapipe: as MediaPipe Tasks does it."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the forward and backward pass; float16 is for GPUs, bfloat16 also for newer CPUs."""
    val_fraction: float = 0.2
    """Share of the images held back where the data set has no validation split of its own."""
    cache_gib: float = 2.0
    """Memory for decoded images; a larger data set is decoded anew each epoch."""
    seed: int = 0
    """Of everything random."""
    resume: bool = False
    """Continue a run that was stopped, with the settings it recorded."""
    overwrite: bool = False
    """Replace a run of the same name."""


def run(config: Config) -> Path:
    """Train as `config` says and return the run's directory.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    from micro_yolo.model import zoo
    from micro_yolo.pipeline.data import load

    if config.resume:
        config = _recorded(config)
    arch = zoo.find(config.arch)
    if config.data is None:
        config = _quick(config)
    if config.size is not None:
        arch = arch.resized(parse_size(config.size))
    _check(config)
    data = config.data or drawn(QUICK_IMAGES, arch.size, config.seed)
    dataset = load(data, val_fraction=config.val_fraction, seed=config.seed)
    if dataset.warning():
        print(f"warning: {dataset.warning()}", flush=True)
    if config.batch > len(dataset.splits["train"]):
        raise ValueError(
            f"batch: must not exceed the {len(dataset.splits['train'])} training images, got {config.batch}; "
            "use a smaller --batch"
        )
    arch = arch.with_classes(len(dataset.names))
    if config.anchors == "fit":
        arch = _fit_anchors(arch, dataset, config)
    return _train(config, arch, dataset)


def _check(config: Config) -> None:
    """Raise ValueError or OSError for what is wrong with the settings alone, before any slow work."""
    from micro_yolo.pipeline.learn import devices

    if config.batch < 1:
        raise ValueError(f"batch: must be at least 1, got {config.batch}")
    if config.seed < 0:
        raise ValueError(f"seed: must not be negative, got {config.seed}")
    if not 0 < config.val_fraction < 1:
        raise ValueError(f"val_fraction: must be between 0 and 1, got {config.val_fraction}; allowed: such as 0.2")
    worker, workers = devices.cluster()
    if workers > 1 and config.run is None:
        raise ValueError("run: several machines must be told the same --run, got none")
    if not worker and not config.resume:
        runs.check_new_run(config.run, overwrite=config.overwrite)


def _begin(config: Config, arch: Arch, dataset: Dataset) -> Path:
    """Make what this machine writes to, with the table and the settings in it."""
    directory, stage = _directories(config)
    if not config.resume:
        facts: dict[str, Any] = {
            "data": dataset.root.absolute(),
            "names": dataset.names,
            "category_ids": dataset.category_ids,
            "images": {name: len(split) for name, split in dataset.splits.items()},
        }
        try:
            runs.write_json(stage / runs.ARCH, arch.to_json())
            runs.write_json(stage / runs.CONFIG, runs.record(config, **facts))
        except OSError:
            shutil.rmtree(stage)
            raise
    if stage.name == "train" and directory.parent.resolve() == runs.RUNS.resolve():
        runs.point_latest(directory)
    return stage


def _directories(config: Config) -> tuple[Path, Path]:
    """The run's directory and the one to write to: its `train`, or beside it for machines that only help."""
    from micro_yolo.pipeline.learn import devices

    worker, _ = devices.cluster()
    if worker:
        stage = Path(config.run or "") / f".worker-{worker}"
        if stage.exists() and not config.resume:
            shutil.rmtree(stage)
        stage.mkdir(parents=True, exist_ok=True)
        return stage.parent, stage
    directory = runs.resolve_run(config.run) if config.resume else runs.new_run(config.run, overwrite=config.overwrite)
    return directory, directory / "train"


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "320" or "256x320". Raises ValueError."""
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError(f"size: must be pixels like 320 or 256x320 (height x width), got {text!r}")
    return int(sides[0]), int(sides[-1])


def _train(config: Config, arch: Arch, dataset: Dataset) -> Path:
    import numpy as np

    from micro_yolo.model.build import build
    from micro_yolo.model.heads import loss_of
    from micro_yolo.model.keras import keras, tf
    from micro_yolo.pipeline.data.augment import Augment
    from micro_yolo.pipeline.data.input import GIB, Batches, Images
    from micro_yolo.pipeline.learn import devices
    from micro_yolo.pipeline.learn.loop import Trainer, keras_predict, weights_digest
    from micro_yolo.pipeline.measure.metrics import evaluate_split
    from micro_yolo.pipeline.show.bars import TrainingProgress
    from micro_yolo.pipeline.show.plots import draw_history

    random.seed(config.seed)
    np.random.seed(config.seed)
    tf.random.set_seed(config.seed)
    strategy = devices.strategy()
    worker, workers = devices.cluster()
    keras.mixed_precision.set_global_policy("float32" if config.precision == "float32" else f"mixed_{config.precision}")
    with TrainingProgress() as show:
        images = Images(dataset.splits["train"], arch.size, config.resize, cache_bytes=config.cache_gib * GIB)
        images.hold(lambda steps, total: show.work("decoding", steps, total))
        told: set[str] = set()
        _tell_unreadable(images, told, show)
        batches = Batches(
            images,
            config.batch,
            Augment(config.augment, config.seed),
            seed=config.seed,
            replicas=strategy.num_replicas_in_sync,
            workers=workers,
            worker=worker,
        )
        # Nothing that a user can have done wrong is left: only now is there a new run, or the old one gone.
        directory = _begin(config, arch, dataset)
        with strategy.scope():
            model = build(arch)

        averaged = build(arch)
        predict = keras_predict(averaged)

        def evaluate() -> dict[str, Any]:
            _tell_unreadable(images, told, show)
            return evaluate_split(predict, arch.detections, dataset.splits["val"], dataset, arch.size, config.resize)[0]

        trainer = Trainer(
            model,
            averaged,
            loss_of(arch),
            batches,
            evaluate,
            config.recipe,
            directory,
            strategy=strategy,
            show=show,
        )
        best = trainer.train()
    if workers > 1:
        print(f"machine {worker} of {workers}: weights {weights_digest(trainer.averaged)}", flush=True)
    if worker:
        shutil.rmtree(directory)
    else:
        draw_history(trainer.history, directory / "history.png")
        runs.write_json(directory / runs.METRICS, best)
        shutil.rmtree(directory / "checkpoint")
        print(f"best: epoch {best['epoch']}, AP {best['AP']:.1f}, AP50 {best['AP50']:.1f}")
        print(f"{directory.parent}; next: python -m pipeline.convert --run {directory.parent} --int8")
    return directory.parent


def _tell_unreadable(images: Images, told: set[str], show: TrainingProgress) -> None:
    """Name each image that turned out not to be one, once."""
    for file, reason in images.unreadable.items():
        if file not in told:
            told.add(file)
            show.console.print(f"warning: skipped {reason}", soft_wrap=True, highlight=False, markup=False)


def _fit_anchors(arch: Arch, dataset: Dataset, config: Config) -> Arch:
    import numpy as np

    from micro_yolo.model.heads import head_of
    from micro_yolo.tflite.image import fit_to

    split = dataset.splits["train"]
    scales = np.array(
        [(f.scale_x, f.scale_y) for f in (fit_to(tuple(s), arch.size, config.resize) for s in split.sizes)]
    )
    scales = np.repeat(scales, np.diff(split.starts), axis=0)
    shapes = ((split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]) * scales)[~split.crowd]
    fitted: tuple[Arch, str] = head_of(arch).fit(arch, shapes, split.classes[~split.crowd], config.seed)
    if fitted[1]:
        print(fitted[1])
    return fitted[0]


def _quick(config: Config) -> Config:
    print("no --data: training quickly on drawn shapes; your own images: python -m pipeline.train --data FOLDER")
    return dataclasses.replace(
        config,
        size=config.size or str(QUICK_SIZE),
        recipe=dataclasses.replace(config.recipe, epochs=QUICK_EPOCHS) if config.recipe == Recipe() else config.recipe,
        augment=QUICK_AUGMENT if config.augment == Strength() else config.augment,
    )


def drawn(images: int, size: tuple[int, int], seed: int) -> Path:
    """The folder of a synthetic set for an input of this size: so many images to train on, a fifth as many to measure.

    Drawn at twice the input's size, to be worth a look; once, for all later runs.
    """
    from micro_yolo.pipeline.data import synthetic

    height, width = 2 * size[0], 2 * size[1]
    folder = runs.RUNS / f".synthetic-{images}-{height}x{width}-{seed}"
    return synthetic.make(folder, train=images, val=max(images // 5, 1), size=(height, width), seed=seed)


def _recorded(config: Config) -> Config:
    """The settings of the run to continue; ValueError if an option asks for others."""
    run, stage = _directories(config)
    return dataclasses.replace(resume.recorded(config, stage, prog=PROG), run=run)


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
