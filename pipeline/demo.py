"""The whole chain on pictures drawn by itself: train, prune, quantize, convert, measure the files, look at a result.

    python -m pipeline.demo

It ends in a table of each stage's files and the path of a picture.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.pipeline.learn import quick
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs

PROG = "python -m pipeline.demo"
# Cut this much of the two widest rows, in one step each.
PRUNED, PRUNED_ROWS = 0.25, 2


@dataclass(frozen=True)
class Config:
    """Draw images, train on them, prune, quantize, convert, and measure the files of each stage."""

    run: Path = runs.RUNS / "demo"
    """Directory of the run; one that is there is replaced."""
    arch: str = "micro_yolo"
    """Network: a name that `python -m pipeline.summary` lists."""
    size: int = quick.SIZE
    """Side of the network's input in pixels."""
    images: int = quick.IMAGES
    """Images to train on; a fifth as many to measure with."""
    epochs: int = 14
    """Passes over them in the first training."""
    prune_epochs: int = 2
    """Passes over them after each cut."""
    qat_epochs: int = 3
    """Passes over them in quantization-aware training."""
    pictures: int = 6
    """Images to draw the int8 file's boxes on."""
    seed: int = 0
    """Of everything random."""


def run(config: Config) -> Path:
    """Go the whole chain, print the table, and return the folder of pictures. Raises ValueError or OSError."""
    for name in ("size", "images", "epochs", "prune_epochs", "qat_epochs", "pictures"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: must be at least 1, got {getattr(config, name)}")
    from micro_yolo.pipeline import convert, predict, prune, qat, stages, train
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.learn.recipe import Recipe

    batch = min(8, config.images)
    _step("drawing images")
    data = quick.drawn(config.images, (config.size, config.size), config.seed)
    _step("training")
    train.command(
        train.Config(
            data=data,
            arch=config.arch,
            size=str(config.size),
            run=config.run,
            batch=batch,
            recipe=Recipe(epochs=config.epochs),
            augment=quick.AUGMENT,
            seed=config.seed,
            overwrite=True,
        )
    )
    made = config.run
    _step("pruning")
    prune.command(
        prune.Config(
            run=made,
            rows=_widest(config.arch),
            step=PRUNED,
            most=PRUNED,
            recipe=Recipe(epochs=config.prune_epochs, learning_rate=0.001, warmup_epochs=0.5),
            batch=batch,
            augment=quick.AUGMENT,
            seed=config.seed,
        )
    )
    _step("quantization-aware training")
    how = qat.Config()
    qat.command(
        qat.Config(
            run=made,
            recipe=dataclasses.replace(how.recipe, epochs=config.qat_epochs),
            batch=batch,
            augment=quick.AUGMENT,
            seed=config.seed,
        )
    )
    _step("converting")
    export = convert.run(convert.Config(run=made, int8=True))
    _step("measuring each stage's files")
    stages.run(stages.Config(run=made))
    _step("predicting")
    validation = load(data).splits["val"].files[: config.pictures]
    pictures, file = made / "pictures", export / "model_int8.tflite"
    predict.run(predict.Config(model=file, images=tuple(validation), out=pictures, overwrite=True))
    print(f"boxes found by {file}: {pictures / validation[0].name}")
    return pictures


def _widest(arch: str) -> tuple[str, ...]:
    """The rows and inner widths with the most channels, where most of the weights are."""
    from micro_yolo.model import zoo
    from micro_yolo.model.channels import channels_of

    widths = channels_of(zoo.find(arch)).widths()
    return tuple(sorted(widths, key=widths.__getitem__, reverse=True)[:PRUNED_ROWS])


def _step(what: str) -> None:
    print(f"\n== {what}", flush=True)


def main() -> None:
    """The command line; with --model that of `pipeline.browser`, which had this name once."""
    if any(arg.partition("=")[0] == "--model" for arg in sys.argv[1:]):
        from micro_yolo.pipeline import browser

        browser.main()
    else:
        cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
