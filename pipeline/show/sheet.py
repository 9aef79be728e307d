"""A contact sheet: some images of each split with their boxes, to see whether the labels fit."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from micro_yolo.pipeline.data.dataset import Dataset, Split
from micro_yolo.pipeline.show.draw import draw_boxes
from micro_yolo.tflite.cores import usable_cores
from micro_yolo.tflite.image import load_image

_TILE, _CAPTION, _COLUMNS = 360, 18, 6
_GROUND, _INK = (24, 24, 24), (230, 230, 230)


def contact_sheet(dataset: Dataset, *, train: int = 18, others: int = 6, seed: int = 0) -> Image.Image:
    """`train` images of train and `others` of each other split, drawn by seed, images with boxes first.

    Images that cannot be decoded are passed over.
    """
    picks = [
        (split, index)
        for name, split in dataset.splits.items()
        for index in _pick(split, train if name == "train" else others, seed)
    ]
    with ThreadPoolExecutor(max_workers=min(usable_cores(), 8)) as pool:
        made = pool.map(lambda pick: _tile(pick[0], pick[1], dataset.names), picks)
        tiles = [tile for tile in made if tile is not None]
    columns = max(min(_COLUMNS, len(tiles)), 1)
    rows = max(-(-len(tiles) // columns), 1)
    sheet = Image.new("RGB", (columns * _TILE, rows * (_TILE + _CAPTION)), _GROUND)
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % columns * _TILE, place // columns * (_TILE + _CAPTION)))
    return sheet


def _pick(split: Split, count: int, seed: int) -> list[int]:
    shuffled = np.random.default_rng(seed).permutation(len(split))
    empty = np.diff(split.starts)[shuffled] == 0
    return sorted(shuffled[np.argsort(empty, kind="stable")][:count].tolist())


def _tile(split: Split, index: int, names: Sequence[str]) -> Image.Image | None:
    height, width = split.sizes[index].tolist()
    try:
        picture = Image.fromarray(load_image(split.files[index], (height, width)))
    except (ValueError, OSError):
        return None
    scale = min((_TILE - 6) / picture.width, (_TILE - 6) / picture.height)
    small = picture.resize((max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)))
    rows = split.rows(index)
    share = np.array([small.width / width, small.height / height] * 2)
    labels = [f"{names[c]} (crowd)" if crowd else names[c] for c, crowd in _pairs(split, rows)]
    drawn = draw_boxes(small, split.boxes_xyxy[rows] * share, split.classes[rows], names, texts=labels)
    tile = Image.new("RGB", (_TILE, _TILE + _CAPTION), _GROUND)
    tile.paste(drawn, ((_TILE - drawn.width) // 2, (_TILE - drawn.height) // 2))
    caption = f"{split.name}: {split.files[index].name}"[:60]
    ImageDraw.Draw(tile).text((4, _TILE), caption, fill=_INK, font=ImageFont.load_default(12))
    return tile


def _pairs(split: Split, rows: slice) -> list[tuple[int, bool]]:
    return list(zip(split.classes[rows].tolist(), split.crowd[rows].tolist(), strict=True))
