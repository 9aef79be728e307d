"""What the browser page begins with: the models that it can switch between, and photographs to look at."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.data import Split, load
from micro_yolo.pipeline.data.loader import is_there
from micro_yolo.pipeline.data.synthetic import SHAPES, draw
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import inspect
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.image import decode_image, load_image

CARDS = Path(__file__).parents[1] / "cards"
CREDIT = "Photographs of playing cards: Evan Juras, Apache License 2.0."
MOST_PHOTOGRAPHS = 6
# Longer side of what one chooses a photograph by, in pixels.
_SMALL_SIDE = 176
# What all browsers read themselves, so that they see the pixels of the very file.
_AS_IT_IS = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_DRAWN_SIDE, _DRAWN_SEED = 480, 3


@dataclass(frozen=True)
class Model:
    """A file that the page can run.

    Attributes:
        path: of the .tflite.
        name: where it is in the folder that was named, without its suffix; of a file that was named, its name.
        contract: of it.
        sha256: of its bytes, hexadecimal.
        n_bytes: its size.
    """

    path: Path
    name: str
    contract: Contract
    sha256: str
    n_bytes: int


@dataclass(frozen=True)
class Photograph:
    """A photograph to begin with.

    Attributes:
        name: of its file.
        content: bytes that a browser reads.
        kind: of them, a MIME type.
        small: a JPEG to choose it by.
    """

    name: str
    content: bytes
    kind: str
    small: bytes

    def pixels(self) -> np.ndarray:
        """uint8 RGB (H, W, 3)."""
        return decode_image(self.content, self.name)


@dataclass(frozen=True)
class Photographs:
    """Photographs to begin with, the first to be shown at once.

    Attributes:
        each: the photographs; none if none fits the model.
        credit: who made them, where the page must say so.
        missing: why there are none.
    """

    each: tuple[Photograph, ...]
    credit: str = ""
    missing: str = ""


def models(path: Path) -> tuple[list[Model], list[str]]:
    """The models at a path, by name, and why others in that folder are not shown.

    Raises:
        FileNotFoundError: nothing is there, or a file without a contract.
        ValueError: a file that cannot be shown, or a folder without one that can.
    """
    if not path.is_dir():
        return [_model(path, path.stem)], []
    found, left_out = [], []
    for file in sorted(path.rglob("*.tflite")):
        name = file.relative_to(path)
        if any(part.startswith(".") for part in name.parts):
            continue
        try:
            found.append(_model(file, name.with_suffix("").as_posix()))
        except (ValueError, OSError) as error:
            left_out.append(str(error))
    if not found:
        reason = f"; {left_out[0]}" if left_out else "; `python -m pipeline.convert --int8` makes one of a run"
        raise ValueError(f"{path}: no .tflite below it that the page can show{reason}")
    return found, left_out


def first(found: list[Model]) -> int:
    """Which model to show first: int8 before others, of these what is not in a folder of its own, the newest."""

    def key(number: int) -> tuple[bool, int, float]:
        model = found[number]
        return model.contract.variant == "int8", -len(Path(model.name).parts), model.path.stat().st_mtime

    return max(range(len(found)), key=key)


def _model(path: Path, name: str) -> Model:
    data = inspect.read_bytes(path)
    inspect.read(data, path)
    contract = contracts.load(path)
    if contract.head != "detections":
        raise ValueError(
            f"{path}: its outputs are grids, MediaPipe takes detections; `python -m pipeline.convert` without "
            "--head raw makes such a file"
        )
    if contract.input.dtype not in ("float32", "uint8"):
        raise ValueError(f"{path}: MediaPipe takes no {contract.input.dtype} input; allowed: float32, int8 files")
    contracts.verify(contract, data, path)
    return Model(path, name, contract, hashlib.sha256(data).hexdigest(), len(data))


def photographs(contract: Contract, named: tuple[Path, ...] = ()) -> Photographs:
    """Those that were named; else of the validation split that the model never trained on; else ones of its classes.

    Raises ValueError if one that was named cannot be read.
    """
    if named:
        return Photographs(tuple(_photograph(path) for path in named))
    missing = ""
    if contract.data.path:
        try:
            return Photographs(_of_validation(contract, Path(contract.data.path)))
        except (ValueError, OSError) as error:
            missing = str(error)
        except ModuleNotFoundError as error:
            missing = f"{contract.data.path}: reading it needs {error.name}; `pip install 'micro-yolo[evaluate]'`"
    if set(contract.labels) <= set(SHAPES):
        return Photographs(tuple(_drawn(number) for number in range(MOST_PHOTOGRAPHS)))
    cards = load(CARDS)
    if set(contract.labels) <= set(cards.names):
        return Photographs(_some(cards.splits["val"]), CREDIT)
    return Photographs((), missing=missing or "the model does not say which photographs it was trained on")


def _of_validation(contract: Contract, path: Path) -> tuple[Photograph, ...]:
    if not is_there(path):
        raise FileNotFoundError(f"{path}: the photographs it was trained on are not there")
    data = contract.data
    found = _some(load(path, val_fraction=data.val_fraction, seed=data.seed).splits["val"])
    if not found:
        raise ValueError(f"{path}: none of its validation photographs can be read")
    return found


def _some(split: Split) -> tuple[Photograph, ...]:
    """Photographs evenly spaced through those with objects, not chosen by what is found in them; most objects first."""
    boxes = np.diff(split.starts)
    candidates = np.flatnonzero(boxes) if boxes.any() else np.arange(len(split))
    places = np.linspace(0, len(candidates) - 1, min(MOST_PHOTOGRAPHS, len(candidates))).round().astype(int)
    found = []
    for place in sorted(np.unique(candidates[places]).tolist(), key=lambda place: -boxes[place]):
        try:
            found.append(_photograph(split.files[place]))
        except ValueError:
            continue
    return tuple(found)


def _photograph(path: Path) -> Photograph:
    from PIL import Image

    pixels = load_image(path)
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as opened:
        kind = _AS_IT_IS.get(opened.format or "")
    return Photograph(path.name, content, kind, _small(pixels)) if kind else _as_png(path.name, pixels)


def _drawn(number: int) -> Photograph:
    pixels, _ = draw((_DRAWN_SIDE, _DRAWN_SIDE), [_DRAWN_SEED, number])
    return _as_png(f"drawn-{number + 1}.png", pixels)


def _as_png(name: str, pixels: np.ndarray) -> Photograph:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
    return Photograph(name, content.getvalue(), "image/png", _small(pixels))


def _small(pixels: np.ndarray) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SMALL_SIDE, _SMALL_SIDE))
    picture.save(content, format="JPEG", quality=80)
    return content.getvalue()
