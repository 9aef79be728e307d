"""What --balance is worth: a class is made rare, and the network trained with it and without.

python benchmarks/imbalance.py --data ../shared/data/playing_cards --rare king --out imbalance/

Of the training images that show the rare class only `keep` are left; the validation images stay as they are. A training
that is there already is not done again, so that it can be stopped and started.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from once import train_once

from micro_yolo.pipeline.data import Dataset
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Screen, Show


@dataclass(frozen=True)
class Config:
    """AP of a rare class with and without --balance."""

    data: Path
    """Labelled images with a training and a validation split."""
    rare: str
    """The class that is made rare."""
    out: Path
    """Folder for the data set and the runs."""
    keep: int = 12
    """Training images of the rare class that are left."""
    balances: tuple[float, ...] = (0.0, 0.5)
    """The settings that are compared."""
    seeds: tuple[int, ...] = (0,)
    """A training of each setting for each."""
    arch: str = "micro_yolo_mobile"
    """Network."""
    size: str = "224"
    """Pixels of the input."""
    epochs: int = 15
    """Of each training."""


def made_rare(dataset: Dataset, rare: str, keep: int) -> Dataset:
    """The data set without most of the training images that show a class.

    Raises ValueError if there is no such class, or nothing to leave out.
    """
    if rare not in dataset.names:
        raise ValueError(f"rare: unknown class, got {rare!r}; allowed: {', '.join(dataset.names)}")
    split = dataset.splits["train"]
    owners = np.repeat(np.arange(len(split)), np.diff(split.starts))
    showing = np.unique(owners[split.classes == dataset.names.index(rare)])
    if not 0 < keep < len(showing):
        raise ValueError(f"keep: must be from 1 to below the {len(showing)} images that show it, got {keep}")
    gone = np.random.default_rng(0).permutation(showing)[keep:]
    left = split.subset(np.setdiff1d(np.arange(len(split)), gone))
    return dataclasses.replace(dataset, splits={"train": left, "val": dataset.splits["val"]})


def measured(config: Config, data: Path, balance: float, seed: int, show: Show) -> tuple[float, float]:
    """AP of the rare class, and the mean of the others', in points on validation."""
    from micro_yolo.pipeline import evaluate, train

    run = config.out / f"balance_{balance:g}_seed_{seed}"
    recipe = Recipe(epochs=config.epochs)
    asked = train.Config(data=data, arch=config.arch, size=config.size, recipe=recipe, balance=balance, seed=seed)
    train_once(run, asked, show)
    of_class = evaluate.run(evaluate.Config(run=run, from_stage="train"), show).metrics["per_class"]
    return of_class[config.rare]["AP"], float(np.mean([v["AP"] for k, v in of_class.items() if k != config.rare]))


def run(config: Config) -> None:
    """Make the data set, train and tell. Raises ValueError or OSError for what a user can mend."""
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.export import export

    data = config.out / "data"
    if not data.is_dir():
        export(made_rare(load(config.data), config.rare, config.keep), data, "coco")
    found: dict[float, list[tuple[float, float]]] = {balance: [] for balance in config.balances}
    with Screen("stdout") as show:
        for seed in config.seeds:
            for balance in config.balances:
                found[balance].append(measured(config, data, balance, seed, show))
        for balance, pairs in found.items():
            rare, others = np.array(pairs).T
            each = ", ".join(f"{value:.1f}" for value in rare)
            show.say(f"--balance {balance:g}: {config.rare} AP {rare.mean():.1f} ({each}); others {others.mean():.1f}")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/imbalance.py", description=__doc__)
