"""``python -m pipeline.data PATH``: a report on a set of labelled images, and a contact sheet of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.data import Dataset
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import wide_console
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show

if TYPE_CHECKING:
    from micro_yolo.pipeline.doctor.visit import Checkup

_MARK = "micro-yolo pipeline.data"


@dataclass(frozen=True)
class Config:
    """Print what a data set holds and what is wrong with it; draw a contact sheet; write it in another form."""

    path: tyro.conf.Positional[Path]
    """Folder of labelled images, a .zip of one, a file of labels, or two with a comma between: train and val."""
    out: Path = Path("data_report")
    """Folder for contact_sheet.png."""
    export: Path | None = None
    """Write the data set as it was understood, pictures and all, into this new folder."""
    form: Literal["coco", "yolo", "voc"] = "coco"
    """How it is written there."""
    page: Path | None = None
    """Write a page with what the doctor found, such as doctor.html: each finding with its pictures."""
    overwrite: bool = False
    """Replace a picture or page of that name that is not this command's own."""
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
        left_out: boxes that could not be said in the form of the export.
        checkup: what the doctor found.
        page: path of its page, if one was asked for.
    """

    dataset: Dataset
    sheet: Path
    checkup: Checkup
    page: Path | None
    left_out: int = 0


def run(config: Config, show: Show = QUIET) -> Checked:
    """Read a data set and all its images, draw the contact sheet, export. ValueError if there is nothing usable."""
    from PIL.PngImagePlugin import PngInfo

    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.check import check_images
    from micro_yolo.pipeline.data.export import export
    from micro_yolo.pipeline.doctor.html import is_ours, page
    from micro_yolo.pipeline.doctor.visit import examine
    from micro_yolo.pipeline.show.sheet import contact_sheet
    from micro_yolo.pipeline.store.runs import write_atomic

    sheet = config.out / "contact_sheet.png"
    if sheet.exists() and not config.overwrite and not _is_ours(sheet):
        raise ValueError(f"{sheet}: is there already; choose another --out or add --overwrite")
    if config.page is not None and config.page.exists() and not (config.overwrite or is_ours(config.page)):
        raise ValueError(f"{config.page}: is there already; choose another --page or add --overwrite")
    dataset = load(config.path, val_fraction=config.val_fraction, seed=config.seed)
    dataset = replace(dataset, problems=dataset.problems + check_images(dataset))
    png, mark = io.BytesIO(), PngInfo()
    mark.add_text("Software", _MARK)
    contact_sheet(dataset, seed=config.seed).save(png, "PNG", pnginfo=mark)
    checkup = examine(dataset, show)
    if config.page is not None:
        write_atomic(config.page, page(dataset, checkup))
    left_out = 0 if config.export is None else export(dataset, config.export, config.form)
    return Checked(dataset, write_atomic(sheet, png.getvalue()), checkup, config.page, left_out)


def _is_ours(sheet: Path) -> bool:
    """Whether a picture is a contact sheet of this command's."""
    from PIL import Image

    try:
        with Image.open(sheet) as image:
            return image.info.get("Software") == _MARK
    except (OSError, ValueError, SyntaxError):
        return False


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
    told = lines(checked.checkup)
    if too_many := beyond(checked.dataset):
        told.append(too_many)
    if checked.page:
        told.append(f"page: {checked.page}")
    told.append(f"contact sheet: {checked.sheet}")
    if config.export is not None:
        told.append(f"{config.form}: {config.export}; next: python -m pipeline.train --data {typed(config.export)}")
    if checked.left_out:
        told.append(f"{checked.left_out} boxes are crowds, which YOLO's form cannot say, and were left out of it")
    for line in told:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def main() -> None:
    """The command."""
    cli.main(Config, command, prog="python -m pipeline.data", description=__doc__)


if __name__ == "__main__":
    main()
