"""``python -m pipeline.data PATH``: a report on a set of labelled images, and a contact sheet of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from micro_yolo.pipeline.data import Dataset
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import wide_console
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show

if TYPE_CHECKING:
    from micro_yolo.pipeline.doctor.visit import Checkup


@dataclass(frozen=True)
class Config:
    """Print what a data set (COCO, Pascal VOC, YOLO or CSV) holds and what is wrong with it; draw a contact sheet."""

    path: tyro.conf.Positional[Path]
    """Folder of labelled images, or a COCO .json or YOLO .yaml file."""
    out: Path = Path("data_report")
    """Folder for contact_sheet.png."""
    page: Path | None = None
    """Write a page with what the doctor found, such as doctor.html: each finding with its pictures."""
    overwrite: bool = False
    """Replace a contact sheet that is already there."""
    val_fraction: float = 0.2
    """Share of the images that become val where the source has no splits."""
    seed: int = 0
    """Of that split, and of the images on the contact sheet."""


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        dataset: with the problems of its images, each of which was decoded.
        sheet: path of the contact sheet.
        checkup: what the doctor found.
        page: path of its page, if one was asked for.
    """

    dataset: Dataset
    sheet: Path
    checkup: Checkup
    page: Path | None


def run(config: Config, show: Show = QUIET) -> Checked:
    """Read a data set and all its images, and draw the contact sheet. ValueError if there is nothing usable."""
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.check import check_images
    from micro_yolo.pipeline.doctor.visit import examine
    from micro_yolo.pipeline.show.sheet import contact_sheet
    from micro_yolo.pipeline.store.runs import write_atomic

    sheet = config.out / "contact_sheet.png"
    if sheet.exists() and not config.overwrite:
        raise ValueError(f"{sheet}: is there already; choose another --out or add --overwrite")
    if config.page is not None and config.page.exists() and not config.overwrite:
        raise ValueError(f"{config.page}: is there already; choose another --page or add --overwrite")
    dataset = load(config.path, val_fraction=config.val_fraction, seed=config.seed)
    dataset = replace(dataset, problems=dataset.problems + check_images(dataset))
    png = io.BytesIO()
    contact_sheet(dataset, seed=config.seed).save(png, "PNG")
    checkup = examine(dataset, show)
    if config.page is not None:
        from micro_yolo.pipeline.doctor.html import page

        write_atomic(config.page, page(dataset, checkup))
    return Checked(dataset, write_atomic(sheet, png.getvalue()), checkup, config.page)


def command(config: Config) -> None:
    """Read it, and tell people."""
    from micro_yolo.pipeline.data.beyond import beyond
    from micro_yolo.pipeline.data.dataset import UnusableError
    from micro_yolo.pipeline.doctor.visit import lines
    from micro_yolo.pipeline.show.contents import print_problems, print_report

    console = wide_console()
    try:
        with Screen() as show:
            checked = run(config, show)
    except UnusableError as error:
        print_problems(error.problems, console)
        raise
    print_report(checked.dataset, console)
    print_problems(checked.dataset.problems, console)
    if too_many := beyond(checked.dataset):
        console.print(too_many, soft_wrap=True, markup=False, highlight=False)
    for line in lines(checked.checkup):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if checked.page:
        console.print(f"page: {checked.page}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"contact sheet: {checked.sheet}", soft_wrap=True, markup=False, highlight=False)


def main() -> None:
    """The command."""
    cli.main(Config, command, prog="python -m pipeline.data", description=__doc__)


if __name__ == "__main__":
    main()
