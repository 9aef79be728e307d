"""How far more images would help: ``python -m pipeline.curve --run RUN``, or `pipeline.report --learning-curve`.

Trains as the run was trained on 20, 40, 80, ... of its training images, measures each int8 file, and draws AP against
the number of images. Finished trainings are kept in RUN/curve, so that it can be stopped and asked again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro_yolo.pipeline import evaluate, train
from micro_yolo.pipeline.learn.recipe import MOST
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, points
from micro_yolo.pipeline.show.plots import draw_curve
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import resume, runs
from micro_yolo.pipeline.store.finished import find

PROG = "python -m pipeline.curve"
FIRST = 20


@dataclass(frozen=True)
class Config:
    """Train on ever more of a run's images, and show what more images bring."""

    run: Path | None = None
    """Directory of the run; by default runs/latest."""
    images: tuple[int, ...] = ()
    """Numbers of training images; by default 20, 40, 80, ... and all."""


@dataclass(frozen=True)
class Curve:
    """AP and AP50 of int8 files in points, by the number of images they were trained on.

    Attributes:
        points: dictionaries of images, AP and AP50, ascending.
        written: the JSON, and the picture.
    """

    points: tuple[dict[str, Any], ...]
    written: tuple[Path, Path]


def run(config: Config, show: Show = QUIET) -> Curve:
    """Train, convert, measure, draw.

    Every training shows as many pictures as the whole one did, in at most `MOST` epochs.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    trained = find(config.run, "train")
    facts = runs.read_json(trained.stage / runs.CONFIG)
    total = int(facts["images"]["train"])
    settings = resume.from_json(train.Config, facts, trained.stage / runs.CONFIG)
    settings = dataclasses.replace(settings, data=trained.data)
    if any(not 1 <= count <= total for count in config.images):
        raise ValueError(f"images: must be 1 to the {total} training images, got {', '.join(map(str, config.images))}")
    counts = sorted({*config.images}) or sizes(total)
    found = []
    for count in counts:
        directory = trained.run if count == total else (trained.run / runs.CURVE).parent / str(count)
        if count < total and not runs.is_finished(directory / "train"):
            show.say(f"{count} of {total} images")
            _train(settings, directory, count, total, show)
        found.append({"images": count, **_measured(directory, trained.data, show)})
    told = {"points": found, "verdict": verdict(found), "versions": runs.provenance()}
    written = runs.write_json(trained.run / runs.CURVE, told)
    picture = draw_curve(found, written.with_suffix(".png"))
    return Curve(tuple(found), (written, picture))


def sizes(total: int) -> list[int]:
    """20, 40, 80, ... and all: a number is left out that is more than two thirds of all."""
    counts, count = [], FIRST
    while count <= total * 2 / 3:
        counts.append(count)
        count *= 2
    return [*counts, total]


def verdict(found: Sequence[dict[str, Any]]) -> str:
    """What the end of a curve says of more images."""
    if len(found) < 2:
        return "too few images for a curve"
    before, last = found[-2], found[-1]
    gain = last["AP"] - before["AP"]
    told = f"from {before['images']} to {last['images']} images AP went from {before['AP']:.1f} to {last['AP']:.1f}"
    # One class more or less right on a small validation split is a point.
    if gain > 1:
        return f"{told}: more images would help, twice as many perhaps as much again"
    return f"{told}: more images of the same kind would help little"


def _train(settings: train.Config, directory: Path, count: int, total: int, show: Show) -> None:
    if (directory / "train").is_dir():
        train.run(train.Config(run=directory, resume=True), show)
        return
    epochs = min(round(settings.recipe.passes * total / count), MOST)
    recipe = dataclasses.replace(settings.recipe, epochs=epochs, evaluate_every=None)
    batch = min(settings.batch, count)
    asked = dataclasses.replace(
        settings, run=directory, recipe=recipe, batch=batch, train_images=count, resume=False, overwrite=False
    )
    train.run(asked, show)


def _measured(directory: Path, data: Path | None, show: Show) -> dict[str, float]:
    from micro_yolo.pipeline.stages import files_of

    (file,) = files_of(directory, "train", ("int8",), data=data, show=show)
    found = evaluate.run(evaluate.Config(model=file, data=data, out=file.parent), show).metrics
    return {"AP": found["AP"], "AP50": found["AP50"]}


def tell(curve: Curve, show: Show) -> None:
    """What people want to know of it."""
    table = listing("training images", "AP50", "AP", title="int8 files")
    for point in curve.points:
        table.add_row(str(point["images"]), points(point["AP50"]), points(point["AP"]))
    show.draw(table)
    show.say(verdict(curve.points))
    show.say(f"{curve.written[1]}")


def command(config: Config) -> None:
    """Train, measure, draw and tell."""
    with Screen() as show:
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
