"""What the networks are made of: ``python -m pipeline.summary [ARCH ...] [--size 320] [--classes 3] [--json]``.

``--tables`` puts the Micro-YOLO paper's tables beside ours; see docs/tables.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, wide_console
from micro_yolo.pipeline.show.screen import QUIET, Show

if TYPE_CHECKING:
    from micro_yolo.model.count import Count
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.paper.published import Line

PROG = "python -m pipeline.summary"


@dataclass(frozen=True)
class Config:
    """Show each network's layers with output shape, parameters and multiply-accumulates (MACs)."""

    arch: tyro.conf.Positional[tuple[str, ...]] = ()
    """Networks to show, by name or as a table in a .json file; all that come with the project if none is given."""
    size: str | None = None
    """Input size in pixels: 320, or 256x320 (height x width); by default each network's own."""
    classes: int | None = None
    """Number of classes; by default each network's own."""
    tables: bool = False
    """The paper's Tables 1 to 4 beside ours instead."""
    run: tuple[Path, ...] = ()
    """Runs whose cuts and measured files join the tables."""
    json: bool = False
    """Print JSON: a list of objects with arch, size, classes, params, macs, rows; or an object of the tables."""


@dataclass(frozen=True)
class Counted:
    """What networks are made of, or the paper's tables.

    Attributes:
        networks: each with its counts.
        tables: as `pipeline.paper.published.tables`; None if they were not asked for.
    """

    networks: tuple[tuple[Arch, Count], ...] = ()
    tables: dict[str, list[Line]] | None = None


def run(config: Config, show: Show = QUIET) -> Counted:
    """Count the networks, or what the paper's tables hold.

    Raises ValueError for an unknown network, a size or class count that does not fit, or a run that is none.
    """
    if config.tables:
        if config.arch or config.size is not None or config.classes is not None:
            raise ValueError("tables: are those of the paper, at its sizes and classes; leave the other options out")
        from micro_yolo.pipeline.paper.published import tables

        return Counted(tables=tables(config.run))
    if config.run:
        raise ValueError("run: only --tables reads runs; allowed: --tables --run RUN")
    from micro_yolo.model import zoo
    from micro_yolo.model.count import count

    counted = []
    for name in config.arch or zoo.ARCHS:
        arch = zoo.find(name)
        if config.size is not None:
            from micro_yolo.pipeline.learn.options import parse_size

            arch = arch.resized(parse_size(config.size))
        if config.classes is not None:
            arch = arch.with_classes(config.classes)
        counted.append((arch, count(arch)))
    return Counted(tuple(counted))


def as_json(arch: Arch, total: Count) -> dict[str, Any]:
    """What ``--json`` prints of one network: sizes are (height, width), shapes (height, width, channels)."""
    return {
        "arch": arch.name,
        "source": arch.source,
        "size": list(arch.size),
        "classes": arch.classes,
        "params": total.params,
        "trainable": total.trainable,
        "macs": total.macs,
        "rows": [
            {"name": row.name, "op": row.op, "shape": list(row.shape), "params": row.params, "macs": row.macs}
            for row in total.rows
        ],
    }


def tell(counted: Counted) -> None:
    """What people want to know of it."""
    from rich.markup import escape

    from micro_yolo.model.ops import in_words

    console = wide_console()
    if counted.tables is not None:
        from micro_yolo.pipeline.paper.text import print_tables

        print_tables(counted.tables, console)
    for arch, total in counted.networks:
        table = listing(
            *("row", "layer", "output", "params", "MMAC"),
            words=(0, 1, 2),
            title=f"{arch.name}, {arch.size[0]}x{arch.size[1]}, {arch.classes} classes",
            totals=("total", "", "", f"{total.params:,}", f"{total.macs / 1e6:,.1f}"),
            caption=escape(arch.source) or None,
        )
        for row, counts in zip(arch.rows, total.rows, strict=True):
            table.add_row(
                row.name,
                in_words(row),
                "x".join(map(str, counts.shape)),
                f"{counts.params:,}" if counts.params else "",
                f"{counts.macs / 1e6:,.1f}" if counts.macs else "",
            )
        console.print(table)
        console.print(
            f"{total.params:,} parameters ({total.params - total.trainable:,} of them batch-norm statistics), "
            f"{total.macs / 1e9:.4f} GMAC (1 GMAC is 2 GFLOP)\n"
        )


def command(config: Config) -> None:
    """Count and tell."""
    counted = run(config)
    if not config.json:
        tell(counted)
        return
    found = [as_json(arch, total) for arch, total in counted.networks] if counted.tables is None else counted.tables
    print(json.dumps(found, indent=1))


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
