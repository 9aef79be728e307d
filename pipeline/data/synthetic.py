"""The built-in data set: textured shapes over cluttered backgrounds, drawn by seed, written as flat COCO.

Five classes at several scales, turned, squeezed, overlapping and cut by the image's edge; bars, flat ellipses and blobs
that are no class lie below them. Shapes of a class lean to one hue, the others are dull: a short training finds the
easy clues, a longer one the outline. A box encloses the part of a shape that can be seen.
"""

from __future__ import annotations

import colorsys
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from micro_yolo.pipeline.data.forms.choice import SYNTHETIC_RECIPE
from micro_yolo.tflite.cores import usable_cores
from micro_yolo.tflite.typed import parse as parse_json

VERSION = 3
_JPEG_QUALITY = 92
_SMALLEST, _LARGEST = 0.09, 0.45  # of the image's shorter side
_MIN_VISIBLE_NEW, _MIN_VISIBLE_COVERED = 0.7, 0.5
_MAX_OBJECTS, _TRIES = 8, 6
_HUE_SPREAD = 0.05  # standard deviation, of the colour circle
_CELLS = 48  # of the background's finest patches, per side


def make(root: str | Path, train: int = 200, val: int = 50, size: tuple[int, int] = (320, 320), seed: int = 0) -> Path:
    """Draws the set to `root`: images/, instances_train.json, instances_val.json and recipe.json.

    The same arguments give the same bytes. Nothing is done if `root` already holds the same recipe; it appears whole or
    not at all, also when two processes make it at once.

    Args:
        root: folder to make.
        train: number of training images.
        val: number of validation images.
        size: (height, width) of the images in pixels.
        seed: of everything drawn. Image i is the same whatever the number of images.

    Returns:
        `root` as a Path.

    Raises:
        ValueError: a count or size that cannot be drawn.
        FileExistsError: `root` holds something else.
    """
    root = Path(root)
    if train < 1 or val < 1:
        raise ValueError(f"synthetic: train and val must be at least 1 image each, got {train} and {val}")
    if min(size) < 64 or max(size) > 4096:
        raise ValueError(f"synthetic: size must be 64 to 4096 pixels, got {size[0]} x {size[1]}")
    recipe = {"synthetic": VERSION, "train": train, "val": val, "size": list(size), "seed": seed}
    if _is_made(root, recipe):
        return root

    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        (partial / "images").mkdir()
        _write_split(partial, "train", train, size, [seed, 0], 1)
        _write_split(partial, "val", val, size, [seed, 1], 1 + train)
        (partial / SYNTHETIC_RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        try:
            if root.is_dir():
                root.rmdir()
            os.rename(partial, root)
        except OSError:
            if not _is_made(root, recipe):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def _is_made(root: Path, recipe: dict[str, Any]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        if parse_json((root / SYNTHETIC_RECIPE).read_bytes()) == recipe:
            return True
    except (OSError, ValueError):
        pass
    raise FileExistsError(f"{root}: holds something other than the synthetic set {recipe}; choose another folder")


def _write_split(root: Path, name: str, count: int, size: tuple[int, int], seed: list[int], first_id: int) -> None:
    names = [f"{name}_{i:05d}.jpg" for i in range(count)]

    def write(i: int) -> list[dict[str, Any]]:
        pixels, objects = draw(size, [*seed, i])
        Image.fromarray(pixels).save(root / "images" / names[i], quality=_JPEG_QUALITY)
        return [{"image_id": first_id + i, **item} for item in objects]

    with ThreadPoolExecutor(max_workers=min(usable_cores(), 8)) as pool:
        annotations = list(chain.from_iterable(pool.map(write, range(count))))
    height, width = size
    content = {
        "info": {"description": "synthetic shapes"},
        "images": [
            {"id": first_id + i, "file_name": file_name, "height": height, "width": width}
            for i, file_name in enumerate(names)
        ],
        "annotations": [{"id": first_id * 1000 + i, "iscrowd": 0, **item} for i, item in enumerate(annotations)],
        "categories": [{"id": i + 1, "name": shape} for i, shape in enumerate(SHAPES)],
    }
    (root / f"instances_{name}.json").write_text(json.dumps(content), encoding="utf-8")


def draw(size: tuple[int, int], seed: list[int]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One image: pixels uint8 (h, w, 3) and COCO records (category_id, bbox xywh in pixels, area) of its shapes."""
    rng = np.random.default_rng(seed)
    canvas = _background(size, rng)
    for _ in range(int(rng.integers(4, 12))):
        _paste(canvas, _distractor(rng, min(size)), _centre(size, rng), rng)

    owner = np.full(size, -1, np.int16)
    classes: list[int] = []
    drawn: list[int] = []
    for _ in range(int(rng.integers(1, _MAX_OBJECTS + 1))):
        for _ in repeat(None, _TRIES):
            label = int(rng.integers(len(SHAPES)))
            radius = 0.5 * min(size) * _SMALLEST * (_LARGEST / _SMALLEST) ** rng.random()
            outline = _turn(list(SHAPES.values())[label], radius, rng)
            if _place(canvas, owner, outline, _centre(size, rng), drawn, _hue(label, rng), rng):
                classes.append(label)
                break
    if not classes:
        radius = 0.2 * min(size)
        _place(canvas, owner, _turn(SHAPES["circle"], radius, rng), np.array(size[::-1]) / 2, drawn, _hue(0, rng), rng)
        classes.append(0)

    noise = rng.integers(-9, 10, (*size, 3), np.int16)
    pixels = np.clip(canvas * rng.uniform(0.75, 1.1) + noise, 0, 255).astype(np.uint8)
    return pixels, [_record(owner == i, label) for i, label in enumerate(classes)]


def _record(visible: np.ndarray, label: int) -> dict[str, Any]:
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
    return {"category_id": label + 1, "bbox": [int(value) for value in box], "area": int(visible.sum())}


def _place(
    canvas: np.ndarray,
    owner: np.ndarray,
    outline: np.ndarray,
    centre: np.ndarray,
    drawn: list[int],
    hue: float,
    rng: np.random.Generator,
) -> bool:
    """Draws the shape and takes its pixels, unless too little of it, or of one it covers, would be seen."""
    mask, corner = _mask(outline, centre)
    window, part = _window(mask.shape, corner, owner.shape)
    solid = mask[part] >= 128
    total = int((mask >= 128).sum())
    if solid.sum() < _MIN_VISIBLE_NEW * total:
        return False
    below = owner[window]
    covered = np.bincount(below[solid & (below >= 0)], minlength=len(drawn))
    for i in np.flatnonzero(covered):
        if (owner == i).sum() - covered[i] < _MIN_VISIBLE_COVERED * drawn[i]:
            return False
    _blend(canvas[window], mask[part], hue, rng.uniform(0.5, 1.0), rng)
    below[solid] = len(drawn)
    drawn.append(total)
    return True


def _paste(canvas: np.ndarray, outline: np.ndarray, centre: np.ndarray, rng: np.random.Generator) -> None:
    mask, corner = _mask(outline, centre)
    window, part = _window(mask.shape, corner, canvas.shape)
    if mask[part].size:
        _blend(canvas[window], mask[part], rng.random(), rng.uniform(0.0, 0.25), rng)


def _mask(outline: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Antialiased cover (h, w) 0..255 of a polygon around `centre`, and the (x, y) of its first pixel."""
    points = outline + centre
    corner = np.floor(points.min(0)).astype(int) - 1
    width, height = np.ceil(points.max(0)).astype(int) + 2 - corner
    image = Image.new("L", (int(width) * 2, int(height) * 2))
    ImageDraw.Draw(image).polygon([tuple(point) for point in ((points - corner) * 2).tolist()], fill=255)
    return np.asarray(image.reduce(2)), corner


def _window(
    shape: tuple[int, ...], corner: np.ndarray, size: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a patch falls in the image, and which part of the patch that is."""
    x, y = int(corner[0]), int(corner[1])
    top, left, bottom, right = max(y, 0), max(x, 0), min(y + shape[0], size[0]), min(x + shape[1], size[1])
    bottom, right = max(bottom, top), max(right, left)
    return (slice(top, bottom), slice(left, right)), (slice(top - y, bottom - y), slice(left - x, right - x))


def _blend(region: np.ndarray, mask: np.ndarray, hue: float, saturation: float, rng: np.random.Generator) -> None:
    cover = mask[..., None] / np.float32(255)
    region += cover * (_texture(mask.shape, hue, saturation, rng) - region)


def _hue(label: int, rng: np.random.Generator) -> float:
    """Near the class's place on the colour circle, 0..1."""
    return (label / len(SHAPES) + rng.normal(0, _HUE_SPREAD)) % 1


def _background(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 (h, w, 3) 0..255: soft colour patches under finer, greyer ones."""
    canvas = np.zeros((_CELLS, _CELLS, 3), np.float32)
    for cells, strength in ((3, 0.55), (12, 0.3), (_CELLS, 0.15)):
        patches = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        canvas += np.float32(strength) * np.asarray(patches.resize((_CELLS, _CELLS), Image.Resampling.BICUBIC))
    grey = canvas.mean(2, keepdims=True)
    canvas = grey + (canvas - grey) * np.float32(rng.uniform(0.1, 0.5))
    small = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    return np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC)).astype(np.float32)


def _texture(shape: tuple[int, ...], hue: float, saturation: float, rng: np.random.Generator) -> np.ndarray:
    """float32 (h, w, 3) 0..255: two colours of one hue family in one of five patterns."""
    height, width = shape[:2]
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    # At least four periods across, or a small shape would look broken up.
    angle, period = rng.uniform(0, np.pi), min(rng.uniform(4, 14), max(min(height, width) / 4, 3))
    u = (xs * np.cos(angle) + ys * np.sin(angle)) / np.float32(period)
    v = (ys * np.cos(angle) - xs * np.sin(angle)) / np.float32(period)
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))](u, v)
    value = rng.uniform(0.45, 1.0)
    other = ((hue + rng.uniform(-0.06, 0.06)) % 1, saturation * rng.uniform(0.5, 1.0), value * rng.uniform(0.35, 0.75))
    first = np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32) * 255
    second = np.array(colorsys.hsv_to_rgb(*other), np.float32) * 255
    return first + (second - first) * pattern[..., None].astype(np.float32)


PATTERNS: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    lambda u, v: np.zeros_like(u),
    lambda u, v: u % 1 < 0.5,
    lambda u, v: (np.floor(u) + np.floor(v)) % 2,
    lambda u, v: (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.1,
    lambda u, v: (u - u.min()) / max(float(np.ptp(u)), 1.0),
)


def _centre(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return rng.random(2) * np.array(size[::-1])


def _turn(outline: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """The unit outline at this radius in pixels, squeezed by up to a fifth and turned."""
    squeeze = np.exp(rng.uniform(-0.2, 0.2))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return outline * (radius * squeeze, radius / squeeze) @ turn


def _distractor(rng: np.random.Generator, side: int) -> np.ndarray:
    """The outline of something that is no class."""
    length = side * rng.uniform(0.1, 0.5)
    kind = int(rng.integers(3))
    if kind == 0:
        return _turn(_SQUARE * (1, rng.uniform(0.03, 0.25)), length, rng)
    if kind == 1:
        return _turn(_CIRCLE * (1, rng.uniform(0.15, 0.45)), length * 0.6, rng)
    wobble = 1 + 0.35 * np.cos(_ANGLES * 2 + rng.uniform(0, 7)) + 0.2 * np.cos(_ANGLES * 3 + rng.uniform(0, 7))
    return _turn(_CIRCLE * wobble[:, None] * (1, 0.6), length * 0.5, rng)


def _spokes(radii: list[float]) -> np.ndarray:
    """Outline (n, 2) with corners at equal angles and these distances from the centre."""
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * np.array(radii)[:, None]


_ANGLES = np.arange(48) * 2 * np.pi / 48
_CIRCLE = _spokes([0.92] * 48)
_SQUARE = np.array([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]])
_ARM = 0.33
_CROSS = np.array(
    [
        *([-_ARM, -1], [_ARM, -1], [_ARM, -_ARM], [1, -_ARM], [1, _ARM], [_ARM, _ARM]),
        *([_ARM, 1], [-_ARM, 1], [-_ARM, _ARM], [-1, _ARM], [-1, -_ARM], [-_ARM, -_ARM]),
    ]
)
SHAPES: dict[str, np.ndarray] = {
    "circle": _CIRCLE,
    "square": _SQUARE,
    "triangle": _spokes([1.1] * 3),
    "star": _spokes([1.1, 0.45] * 5),
    "cross": _CROSS,
}
