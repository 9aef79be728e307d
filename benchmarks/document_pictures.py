"""Pictures of the documents, from what `make demo` leaves: ``python benchmarks/document_pictures.py --run runs/demo``.

Writes docs/contact_sheet.jpg, history.png and confusion.png.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from micro_yolo.pipeline import demo
from micro_yolo.pipeline.data import __main__ as data
from micro_yolo.pipeline.show import cli

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 1080


@dataclass(frozen=True)
class Config:
    """Renew the pictures of the documents."""

    run: Path = Path("runs/demo")
    """Run of `pipeline.demo`."""


def draw(config: Config) -> None:
    """Draw all of them. Raises OSError where the run lacks something."""
    with tempfile.TemporaryDirectory() as place:
        data.run(data.Config(demo.Config().data, out=Path(place)))
        sheet = Image.open(Path(place) / "contact_sheet.png").convert("RGB")
    sheet.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    sheet.save(DOCS / "contact_sheet.jpg", quality=78, optimize=True)
    shutil.copy(config.run / "train/history.png", DOCS / "history.png")
    shutil.copy(config.run / "confusion_int8.png", DOCS / "confusion.png")


if __name__ == "__main__":
    cli.main(Config, draw, prog="python benchmarks/document_pictures.py", description=__doc__)
