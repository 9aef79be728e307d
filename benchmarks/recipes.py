"""How the default network is trained: alternatives, each trained with several seeds, converted and measured.

    python benchmarks/recipes.py --data ../shared/data/playing_cards ../shared/data/bccd --out recipes/

Each alternative differs from the default in what its row in RECIPES says, nothing else. AP is that of the int8 file. A
training that is there already is not done again, so that it can be stopped and started.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from once import int8_once

from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, points
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

# Name -> what is told to the training, and what to its recipe.
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "learning rate 0.002, the start's half of it": ({"start_rate": 0.5}, {"learning_rate": 0.002}),
    "learning rate 0.001 for all": ({"start_rate": 1.0}, {"learning_rate": 0.001}),
    "augmented to the end": ({}, {"plain_epochs": 0}),
    "nothing balanced": ({"balance": 0.0}, {}),
}


@dataclass(frozen=True)
class Config:
    """AP of alternatives to the default recipe."""

    data: tuple[Path, ...]
    """Labelled images with a training and a validation split, one or more."""
    out: Path
    """Folder for the runs."""
    recipes: tuple[int, ...] = ()
    """Which of them, by their numbers from 0; by default all."""
    size: str = "320"
    """Pixels of the input."""
    epochs: int = 12
    """Of each training."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """A training of each alternative for each."""
    json: Path | None = None
    """Also write what was measured to this file."""


def measured(config: Config, data: Path, number: int, seed: int, show: Show) -> dict[str, float]:
    """AP and AP50 of the int8 file of one training."""
    from micro_yolo.pipeline import evaluate, train

    told, recipe = list(RECIPES.values())[number]
    run = config.out / f"{data.name}_{number}_{seed}"
    asked = train.Config(data=data, size=config.size, seed=seed, recipe=Recipe(epochs=config.epochs))
    asked = dataclasses.replace(asked, **told, recipe=dataclasses.replace(asked.recipe, **recipe))
    file = int8_once(run, asked, show)
    return evaluate.run(evaluate.Config(model=file, data=data), QUIET).metrics


def spread(values: Sequence[float]) -> str:
    """The mean, and the lowest and the highest."""
    return f"{points(float(np.mean(values)))} ({points(min(values))} to {points(max(values))})"


def run(config: Config) -> None:
    """Train, measure and tell. Raises ValueError or OSError for what a user can mend."""
    numbers = config.recipes or tuple(range(len(RECIPES)))
    if not set(numbers) <= set(range(len(RECIPES))):
        raise ValueError(f"recipes: must be 0 to {len(RECIPES) - 1}, got {', '.join(map(str, numbers))}")
    names = list(RECIPES)
    found: list[dict[str, Any]] = []
    with Screen("stdout") as show:
        for data in config.data:
            for number in numbers:
                each = [measured(config, data, number, seed, show) for seed in config.seeds]
                values = {key: [metrics[key] for metrics in each] for key in ("AP50", "AP")}
                found.append({"data": data.name, "recipe": names[number], **values})
        table = listing("data", "recipe", "AP50", "AP", words=(0, 1))
        for row in found:
            table.add_row(row["data"], row["recipe"], spread(row["AP50"]), spread(row["AP"]))
        show.draw(table)
    if config.json is not None:
        runs.write_json(
            config.json,
            {
                "epochs": config.epochs,
                "size": config.size,
                "seeds": config.seeds,
                "recipes": found,
                "versions": runs.provenance(),
            },
        )


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/recipes.py", description=__doc__)
