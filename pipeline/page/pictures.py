"""Pictures of a report: validation images with their true boxes and with those that were measured."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.measure.results import read_results
from micro_yolo.pipeline.page.findings import File
from micro_yolo.pipeline.show.screen import Show

if TYPE_CHECKING:
    from PIL import Image

    from micro_yolo.pipeline.data import Dataset, Split

_PICTURE_SIDE = 640


def samples(best: dict[str, File], dataset: Dataset, count: int, show: Show) -> list[dict[str, Any]]:
    """Validation images evenly spaced through the split, with their true boxes and those that were measured."""
    if not best:
        return []
    split = dataset.splits["val"]
    wanted = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)).tolist()
    numbers = {category: number for number, category in enumerate(dataset.category_ids)}
    detected = {variant: read_results(Path(str(file.detections))) for variant, file in best.items()}
    found = []
    for index in wanted:
        try:
            image = opened(split, index)
        except ValueError as error:
            show.warn(f"not shown: {error}")
            continue
        rows = split.rows(index)
        views = [view("truth", image, split.sizes[index], split.boxes_xyxy[rows], split.classes[rows], dataset.names)]
        for variant, file in best.items():
            least = file.contract.nms.score_threshold
            every = detected[variant]
            kept = every[(every.image_ids == split.image_ids[index]) & (every.scores > least)]
            corners = kept.boxes_xywh.copy()
            corners[:, 2:] += corners[:, :2]
            classes = np.array([numbers[category] for category in kept.category_ids.tolist()], int)
            title = f"{file.title}, score above {least:g}"
            views.append(view(title, image, split.sizes[index], corners, classes, dataset.names, kept.scores))
        found.append({"file": split.files[index].name, "views": views})
    return found


def opened(split: Split, index: int, side: int | None = _PICTURE_SIDE) -> Image.Image:
    """An image of a split, its longer side `side` pixels at the most. ValueError, naming it, if it cannot be read."""
    from PIL import Image

    from micro_yolo.tflite.image import load_image

    height, width = split.sizes[index].tolist()
    picture = Image.fromarray(load_image(split.files[index], (height, width)))
    scale = min(1.0, side / max(picture.size)) if side else 1.0
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))


def view(
    title: str,
    image: Image.Image,
    recorded: np.ndarray,
    boxes_xyxy: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
    scores: np.ndarray | None = None,
    texts: Sequence[str] | None = None,
    said: str = "",
) -> dict[str, Any]:
    """A picture with boxes as a data URI, and what is on it in words; boxes are in pixels of the recorded size.

    With `texts` on the boxes, `classes` are their colours, and `said` is what is said of them.
    """
    from micro_yolo.pipeline.show.draw import draw_boxes

    ratio = np.array([image.width / recorded[1], image.height / recorded[0]] * 2)
    drawn = draw_boxes(image, boxes_xyxy * ratio, classes, names, scores, texts)
    if not said:
        counts = Counter(names[number] for number in np.asarray(classes).tolist())
        said = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
    return {"title": title, "said": said, **encoded(drawn)}


def encoded(drawn: Image.Image) -> dict[str, Any]:
    """A picture as a data URI, and its size."""
    content = io.BytesIO()
    drawn.save(content, format="JPEG", quality=82)
    uri = f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
    return {"uri": uri, "width": drawn.width, "height": drawn.height}
