"""What stands behind the backbone of micro_yolo_mobile: alternatives, each trained, converted, measured and timed.

    python benchmarks/necks.py --data ../shared/data/playing_cards --out necks/

Each alternative is the network of the zoo but for some rows. The int8 file's AP comes from `pipeline.evaluate`, its
time from all files by turns. A training that is there already is not done again, so that it can be stopped and started.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from once import int8_once

from micro_yolo.model.count import count
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.zoo import ARCHS
from micro_yolo.pipeline.learn.options import parse_size
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, points
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

WHOLE = ARCHS["micro_yolo_mobile"]


@dataclass(frozen=True)
class Config:
    """AP and time of alternatives to the neck of micro_yolo_mobile."""

    data: Path
    """Labelled images with a training and a validation split."""
    out: Path
    """Folder for the tables and the runs."""
    necks: tuple[str, ...] = ()
    """Which of them; by default all."""
    size: str = "320"
    """Pixels of the input."""
    epochs: int = 12
    """Of each training."""
    seeds: tuple[int, ...] = (0,)
    """A training of each alternative for each."""
    runs: int = 100
    """Inferences of each file by which it is timed."""
    json: Path | None = None
    """Also write what was measured to this file."""


def changed(*gone: str, behind: Sequence[Row] = (), **rows: Mapping[str, Any]) -> Arch:
    """The network without the rows `gone`, with the named fields of `rows` changed and more rows `behind` it."""
    kept = [dataclasses.replace(row, **rows.get(row.name, {})) for row in WHOLE.rows if row.name not in gone]
    return dataclasses.replace(WHOLE, rows=(*kept, *behind))


# A training fits all anchors to its data anew; these are small enough for the finest grid of a table.
_FINE = ((8, 11), (12, 12), (18, 21))
_THIN = {"op": "separable"}
NECKS: dict[str, tuple[str, Arch]] = {
    "whole": ("as it is", WHOLE),
    "separable": ("separable 3x3 rows in place of dense ones", changed(n7=_THIN, n8=_THIN, n10=_THIN)),
    "coarse": ("no taps at strides 4 and 8", changed("e1", "e2", "e3", n4={"src": ("n3", "b12")})),
    "up": ("nothing carried down to the coarser grid", changed("n8", "n9", n10={"src": ("n1",)})),
    "narrow": ("a 3x3 row in place of the 5x5 one", changed(n6={"k": 3})),
    "three": (
        "a third grid, at stride 8",
        changed(
            behind=(
                Row("n11", "conv", 48, src=("n6",)),
                Row("n12", "upsample", s=2),
                Row("n13", "concat", src=("n12", "e2")),
                Row("n14", "conv", 48),
                Row("n15", "conv", 96, k=3),
                Row("d3", "detect", anchors=_FINE),
            )
        ),
    ),
}


def trained(config: Config, neck: str, seed: int, show: Show) -> Path:
    """The int8 file of an alternative."""
    from micro_yolo.pipeline import train

    run = config.out / f"{neck}_{seed}"
    table = runs.write_json(config.out / f"{neck}.json", NECKS[neck][1].to_json())
    recipe = Recipe(epochs=config.epochs)
    asked = train.Config(data=config.data, arch=str(table), size=config.size, recipe=recipe, seed=seed)
    return int8_once(run, asked, show)


def run(config: Config) -> None:
    """Train, measure, time and tell. Raises ValueError or OSError for what a user can mend."""
    from micro_yolo.pipeline import benchmark, evaluate

    if unknown := set(config.necks) - set(NECKS):
        raise ValueError(f"necks: unknown, got {', '.join(sorted(unknown))}; allowed: {', '.join(NECKS)}")
    with Screen("stdout") as show:
        files = {neck: [trained(config, neck, seed, show) for seed in config.seeds] for neck in config.necks or NECKS}
        measured = {
            neck: [evaluate.run(evaluate.Config(model=file, data=config.data), QUIET).metrics for file in each]
            for neck, each in files.items()
        }
        first = tuple(each[0] for each in files.values())
        speeds = benchmark.run(benchmark.Config(models=first, runs=config.runs, memory=False), show)
        found: list[dict[str, Any]] = [
            {
                "neck": NECKS[neck][0],
                "macs": sum(row.macs for row in count(NECKS[neck][1].resized(parse_size(config.size))).rows),
                "AP": [metrics["AP"] for metrics in measured[neck]],
                "AP50": [metrics["AP50"] for metrics in measured[neck]],
                "n_bytes": timing.n_bytes,
                "time": 1 / timing.ratio,
            }
            for neck, timing in zip(files, speeds.timings, strict=True)
        ]
        table = listing("neck", "MMAC", "AP50", "AP", "KiB", "time", words=(0,))
        for row in found:
            each = [", ".join(map(points, row[key])) for key in ("AP50", "AP")]
            size = (f"{row['macs'] / 1e6:.0f}", *each, f"{row['n_bytes'] >> 10}", f"{row['time']:.2f}")
            table.add_row(row["neck"], *size)
        show.draw(table)
    if config.json is not None:
        runs.write_json(
            config.json, {"epochs": config.epochs, "size": config.size, "necks": found, "versions": runs.provenance()}
        )


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/necks.py", description=__doc__)
