"""Boxes, labels and scores on a picture. Needs Pillow and NumPy only."""

from __future__ import annotations

import colorsys
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GOLDEN = 0.6180339887
# Pillow's own font knows ASCII only; for other names the first of these that the system has and that has the letters:
# of Linux, of macOS, of Windows.
FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "DroidSansFallbackFull.ttf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "uming.ttc", "NanumGothic.ttf", "FreeSans.ttf", "unifont.ttf"),
    *("Arial Unicode.ttf", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Kohinoor.ttc", "GeezaPro.ttc"),
    *("arial.ttf", "msyh.ttc", "YuGothM.ttc", "malgun.ttf", "Nirmala.ttf", "Nirmala.ttc", "LeelawUI.ttf"),
)
# What stands around a name.
_ALWAYS = "#0123456789"
# A character of which Unicode says that it is none: fonts draw what they draw for all they do not have.
_NONE = "\U0010ffff"
# Marks, spaces and controls, which draw nothing of their own.
_UNSEEN = ("Mn", "Me", "Cf", "Cc", "Zs")


@dataclass(frozen=True)
class _Plate:
    """A label, and the corner of its box."""

    text: str
    left: float
    top: float
    shade: tuple[int, int, int]
    font: ImageFont.FreeTypeFont


def colour(index: int) -> tuple[int, int, int]:
    """The colour of class `index`: always the same, neighbours far apart on the colour wheel."""
    hue = (index * _GOLDEN + 0.02) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.9, 0.65)[index // 12 % 2], 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_boxes(
    image: Image.Image | np.ndarray,
    boxes_xyxy: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
    scores: np.ndarray | None = None,
    texts: Sequence[str] | None = None,
    leads: Sequence[str] | None = None,
) -> Image.Image:
    """A copy of the picture with one labelled frame per box; line width and text grow with the picture.

    Args:
        image: Pillow image, or uint8 RGB (H, W, 3).
        boxes_xyxy: (n, 4) in pixels of the image.
        classes: (n,) indices into `names`; one past the end is shown as its number.
        names: class names.
        scores: (n,) 0..1, shown in per cent; boxes of high score are drawn on top.
        texts: (n,) labels to show instead of name and score.
        leads: (n,) what to show in front of each label, in ASCII.

    A label with letters that no font here has is shown with the class's number in place of its name; see `unwritable`.
    """
    picture = (Image.fromarray(image) if isinstance(image, np.ndarray) else image).convert("RGB").copy()
    reach = np.array(picture.size * 2)
    boxes = np.clip(np.asarray(boxes_xyxy, np.float64).reshape(-1, 4), -reach, 2 * reach)
    labels = np.asarray(classes).reshape(-1).astype(int).tolist()
    order = np.argsort(np.asarray(scores), kind="stable") if scores is not None else np.arange(len(boxes))

    side = min(picture.size)
    line = max(round(side / 160), 2)
    text_size = min(max(round(side / 28), 11), 60)
    canvas = ImageDraw.Draw(picture)
    plates: list[_Plate] = []
    for i in order.tolist():
        left, top, right, bottom = boxes[i].tolist()
        shade = colour(labels[i])
        canvas.rectangle((min(left, right), min(top, bottom), max(left, right), max(top, bottom)), None, shade, line)
        name = names[labels[i]] if 0 <= labels[i] < len(names) else str(labels[i])
        score = "" if scores is None else f" {100 * float(scores[i]):.0f}"
        text, number = f"{name}{score}" if texts is None else texts[i], f"{labels[i]}{score}"
        font = _font(text_size, text)
        lead = "" if leads is None else leads[i]
        plates.append(_Plate(lead + (text if font else number), left, top, shade, font or _own_font(text_size)))
    # After all frames, so that no frame crosses a label; the best find room first, and are on top where there is none.
    taken: list[tuple[float, float, float, float]] = []
    for plate in reversed(plates):
        taken.append(_room(plate, picture.size, taken))
    for plate, place in zip(plates, reversed(taken), strict=True):
        canvas.rectangle(place, fill=plate.shade)
        canvas.text((place[0] + 2, place[1]), plate.text, fill=ink_on(plate.shade), font=plate.font)
    return picture


def ink_on(shade: tuple[int, int, int]) -> str:
    """Black or white, whichever is better read on a colour: their contrast (WCAG) is 4.5 or more."""
    shares = [value / 255 for value in shade]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return "black" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "white"


def unwritable(names: Sequence[str]) -> list[str]:
    """Those with letters that no font here has."""
    return [name for name in names if _font(20, name) is None]


def _font(size: int, text: str) -> ImageFont.FreeTypeFont | None:
    """A font with all letters of the text, None if there is none."""
    if text.isascii():
        return _own_font(size)
    seen = {letter for letter in text if unicodedata.category(letter) not in _UNSEEN}
    name = _font_with("".join(sorted(seen | {*_ALWAYS})))
    return None if name is None else _opened(name, size)


@cache
def _own_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OSError("draw: needs a Pillow with FreeType; `pip install --force-reinstall pillow`")
    return font


@cache
def _opened(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    with suppress(OSError):
        return ImageFont.truetype(name, size)
    return None


@cache
def _font_with(letters: str) -> str | None:
    for name in FONTS:
        font = _opened(name, 20)
        if font is not None and not any(bytes(font.getmask(each)) == bytes(font.getmask(_NONE)) for each in letters):
            return name
    return None


def _room(
    plate: _Plate, size: tuple[int, int], taken: Sequence[tuple[float, float, float, float]]
) -> tuple[float, float, float, float]:
    """Corners of a plate: above the box's corner, or inside where there is no room, or below those it would cover."""
    width, height = plate.font.getlength(plate.text) + 4, sum(plate.font.getmetrics())
    left = max(min(plate.left, size[0] - width), 0)
    first = plate.top - height if plate.top >= height else max(min(plate.top, size[1] - height), 0)
    top = first
    while below := [
        bottom
        for start, above, end, bottom in taken
        if left <= end and start <= left + width and top <= bottom and above <= top + height
    ]:
        top = min(below) + 1
    if top + height > size[1]:
        top = first
    return left, top, left + width, top + height
