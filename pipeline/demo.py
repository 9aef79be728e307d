"""The whole chain on photographs of playing cards: train, prune, quantize, convert, measure the files, show a result.

    python -m pipeline.demo

The photographs come with the project (pipeline/cards). It ends in a table of each stage's files and a picture's path.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from micro_yolo.pipeline.predict import Predicted
    from micro_yolo.pipeline.stages import Compared

PROG = "python -m pipeline.demo"
# Cut this much of the two widest rows, in one step each.
PRUNED, PRUNED_ROWS = 0.25, 2
# A twentieth of the time would go into measuring after each epoch.
EVALUATE_EVERY = 2


@dataclass(frozen=True)
class Config:
    """Train on photographs, prune, quantize, convert, and measure the files of each stage."""

    run: Path = runs.RUNS / "demo"
    """Directory of the run; one that is there is replaced."""
    data: Path = Path(__file__).resolve().parent / "cards"
    """Labelled images; by default the playing cards that come with the project."""
    arch: str = "micro_yolo_mobile"
    """Network: a name that `python -m pipeline.summary` lists."""
    size: int = 224
    """Side of the network's input in pixels."""
    images: int | None = None
    """Images to train on; by default all."""
    epochs: int = 14
    """Passes over them in the first training."""
    prune_epochs: int = 2
    """Passes over them after each cut."""
    tolerance: float = 0.5
    """Points of AP50 below the unpruned network at which a cut is taken back."""
    qat_epochs: int = 3
    """Passes over them in quantization-aware training."""
    pictures: int = 6
    """Images to draw the int8 file's boxes on."""
    seed: int = 0
    """Of everything random."""


@dataclass(frozen=True)
class Shown:
    """What the chain made.

    Attributes:
        run: directory of the run.
        model: the int8 file of the last stage.
        stages: the files of all stages, measured and timed.
        predicted: what `model` found in validation images.
    """

    run: Path
    model: Path
    stages: Compared
    predicted: Predicted


def run(config: Config, show: Show = QUIET) -> Shown:
    """Go the whole chain. Raises ValueError or OSError."""
    for name in ("size", "images", "epochs", "prune_epochs", "qat_epochs", "pictures"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}: must be at least 1, got {value}")
    from micro_yolo.pipeline import convert, predict, prune, qat, stages, train
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.learn.recipe import Recipe

    def step(what: str) -> None:
        show.say(f"\n== {what}")

    step("training")
    trained = train.run(
        train.Config(
            data=config.data,
            arch=config.arch,
            size=str(config.size),
            run=config.run,
            recipe=Recipe(epochs=config.epochs, evaluate_every=EVALUATE_EVERY),
            train_images=config.images,
            seed=config.seed,
            overwrite=True,
        ),
        show,
    )
    train.tell(trained, show)
    made = trained.run
    step("pruning")
    pruned = prune.run(
        prune.Config(
            run=made,
            rows=widest(config.arch),
            step=PRUNED,
            most=PRUNED,
            tolerance=config.tolerance,
            recipe=Recipe(
                epochs=config.prune_epochs, learning_rate=0.001, warmup_epochs=0.5, evaluate_every=EVALUATE_EVERY
            ),
            seed=config.seed,
        ),
        show,
    )
    prune.tell(pruned, show)
    step("quantization-aware training")
    how = qat.Config()
    quantized = qat.run(
        qat.Config(
            run=made,
            recipe=dataclasses.replace(how.recipe, epochs=config.qat_epochs),
            seed=config.seed,
        ),
        show,
    )
    qat.tell(quantized, show)
    step("converting")
    converted = convert.run(convert.Config(run=made, int8=True), show)
    convert.tell(converted, show)
    step("measuring each stage's files")
    compared = stages.run(stages.Config(run=made), show)
    stages.tell(compared, show)
    step("predicting")
    validation = load(config.data).splits["val"].files[: config.pictures]
    pictures, (file,) = made / "pictures", converted.files
    asked = predict.Config(model=file.path, images=tuple(validation), out=pictures, overwrite=True)
    predicted = predict.run(asked, show)
    predict.tell(predicted, show)
    return Shown(made, file.path, compared, predicted)


def widest(arch: str) -> tuple[str, ...]:
    """The rows and inner widths with the most channels, where most of the weights are."""
    from micro_yolo.model import zoo
    from micro_yolo.model.channels import channels_of

    widths = channels_of(zoo.find(arch)).widths()
    return tuple(sorted(widths, key=widths.__getitem__, reverse=True)[:PRUNED_ROWS])


def command(config: Config) -> None:
    """Go the whole chain and tell."""
    with Screen() as show:
        shown = run(config, show)
        show.say(f"boxes found by {shown.model}: {shown.predicted.out / shown.predicted.images[0]['picture']}")


def main() -> None:
    """The command line; with --model that of `pipeline.browser`, which had this name once."""
    if any(arg.partition("=")[0] == "--model" for arg in sys.argv[1:]):
        from micro_yolo.pipeline import browser

        browser.main()
    else:
        cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
