"""Boxes, labels and scores on a picture. Needs Pillow and NumPy only."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GOLDEN = 0.6180339887
# Pillow's own font knows ASCII only; for other names the first of these the system has.
_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")


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
) -> Image.Image:
    """A copy of the picture with one labelled frame per box; line width and text grow with the picture.

    Args:
        image: Pillow image, or uint8 RGB (H, W, 3).
        boxes_xyxy: (n, 4) in pixels of the image.
        classes: (n,) indices into `names`; one past the end is shown as its number.
        names: class names.
        scores: (n,) 0..1, shown in per cent; boxes of high score are drawn on top.
        texts: (n,) labels to show instead of name and score.
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
    plates = []
    for i in order.tolist():
        left, top, right, bottom = boxes[i].tolist()
        shade = colour(labels[i])
        canvas.rectangle((min(left, right), min(top, bottom), max(left, right), max(top, bottom)), None, shade, line)
        name = names[labels[i]] if 0 <= labels[i] < len(names) else str(labels[i])
        text = name if scores is None else f"{name} {100 * float(scores[i]):.0f}"
        plates.append((texts[i] if texts is not None else text, left, top, shade))
    font = _font(text_size, all(text.isascii() for text, *_ in plates))
    # After all frames, so that no frame crosses a label.
    for text, left, top, shade in plates:
        _label(canvas, picture.size, text, (left, top), shade, font)
    return picture


@cache
def _font(size: int, ascii_only: bool) -> ImageFont.FreeTypeFont:
    for name in () if ascii_only else _FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OSError("draw: needs a Pillow with FreeType; `pip install --force-reinstall pillow`")
    return font


def _label(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    text: str,
    corner: tuple[float, float],
    shade: tuple[int, int, int],
    font: ImageFont.FreeTypeFont,
) -> None:
    """The text on a plate of the class's colour: above the box's corner, or inside where there is no room above."""
    width, height = font.getlength(text) + 4, sum(font.getmetrics())
    left = max(min(corner[0], size[0] - width), 0)
    top = corner[1] - height if corner[1] >= height else max(min(corner[1], size[1] - height), 0)
    canvas.rectangle((left, top, left + width, top + height), fill=shade)
    dark = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] > 140
    canvas.text((left + 2, top), text, fill="black" if dark else "white", font=font)
