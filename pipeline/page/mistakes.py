"""Pictures of a report that show mistakes: where a detector makes most of them, and labels that it doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.measure.analysis import Analysis
from micro_yolo.pipeline.measure.matching import Laid
from micro_yolo.pipeline.measure.misses import AGAIN, BACKGROUND, BOTH, CLASS, PLACE, sort
from micro_yolo.pipeline.measure.suspects import Suspect
from micro_yolo.pipeline.page.findings import File
from micro_yolo.pipeline.page.pictures import encoded, opened, view
from micro_yolo.pipeline.show.screen import Show

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Split

_WORDS = {PLACE: "off", CLASS: "another class", AGAIN: "again", BACKGROUND: "nothing there", BOTH: "wrong and off"}
# Colours of show.draw: what is missed, and what is found wrongly.
_MISSED, _FALSE = 3, 0
# As large as the page shows them, so that letters are as well.
_LEAST_CROP, _CROP_SIDE = 96, 256


def worst(
    best: dict[str, File],
    found: dict[str, Analysis],
    laid: dict[str, Laid],
    names: Sequence[str],
    count: int,
    show: Show,
) -> list[dict[str, Any]]:
    """The images with the most mistakes of the int8 file (else of the one there is), with those of each file."""
    if not best or not count:
        return []
    split = next(iter(laid.values())).split
    mistakes = {variant: _Mistakes(laid[variant].above(found[variant].least)) for variant in best}
    ranked = mistakes["int8" if "int8" in best else next(iter(best))].counts
    shown = []
    for index in np.argsort(-ranked, kind="stable")[:count].tolist():
        if not ranked[index]:
            break
        try:
            image = opened(split, index)
        except ValueError as error:
            show.warn(f"not shown: {error}")
            continue
        rows = split.rows(index)
        views = [view("truth", image, split.sizes[index], split.boxes_xyxy[rows], split.classes[rows], names)]
        for variant, file in best.items():
            boxes, colours, texts, said = mistakes[variant].of(index, names)
            title = f"{file.title}, score above {found[variant].least:g}"
            views.append(view(title, image, split.sizes[index], boxes, colours, names, texts=texts, said=said))
        shown.append({"file": split.files[index].name, "views": views})
    return shown


class _Mistakes:
    """What is wrong in each image of detections that are shown."""

    def __init__(self, laid: Laid) -> None:
        self._laid, self._sorted, split = laid, sort(laid), laid.split
        self._unfound = ~split.crowd
        self._unfound[self._sorted.rows[self._sorted.rows >= 0]] = False
        owner = np.repeat(np.arange(len(split)), np.diff(split.starts))
        self.counts = np.bincount(owner[self._unfound], minlength=len(split))
        self.counts += np.bincount(laid.images[self._sorted.kinds != ""], minlength=len(split))

    def of(self, index: int, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str], str]:
        """Boxes, their colours and texts, and all of it in words."""
        laid, split = self._laid, self._laid.split
        rows = np.arange(*split.rows(index).indices(len(split.classes)))
        missed = rows[self._unfound[rows]]
        mine = np.arange(laid.starts[index], laid.starts[index + 1])
        false = mine[self._sorted.kinds[mine] != ""]
        texts = [f"missed: {names[split.classes[row]]}" for row in missed]
        texts += [
            f"{names[laid.classes[at]]} {100 * laid.scores[at]:.0f}: {_WORDS[self._sorted.kinds[at]]}" for at in false
        ]
        right = int((self._sorted.rows[mine] >= 0).sum())
        said = f"{right} right, {len(missed)} missed, {len(false)} false"
        boxes = np.concatenate([split.boxes_xyxy[missed], laid.boxes_xyxy[false]])
        return boxes, np.array([_MISSED] * len(missed) + [_FALSE] * len(false), int), texts, said


def _mixed(suspects: Sequence[Suspect], count: int) -> list[Suspect]:
    """The first `count`, so that no kind keeps all others out, in their order."""
    met: Counter[str] = Counter()
    first: list[int] = []
    for number, suspect in enumerate(suspects):
        met[suspect.kind] += 1
        if met[suspect.kind] <= count // 4:
            first.append(number)
    others = [number for number in range(len(suspects)) if number not in set(first)]
    return [suspects[number] for number in sorted([*first, *others][:count])]


def doubtful(split: Split, suspects: Sequence[Suspect], count: int, show: Show) -> list[dict[str, Any]]:
    """Cuttings around the labels in most doubt, some of each kind: what is labelled, and what was found."""
    from micro_yolo.pipeline.show.draw import draw_boxes

    shown = []
    for suspect in _mixed(suspects, count):
        try:
            image = opened(split, suspect.image, None)
        except ValueError as error:
            show.warn(f"not shown: {error}")
            continue
        height, width = split.sizes[suspect.image].tolist()
        ratio = np.array([image.width / width, image.height / height] * 2)
        pairs = [
            (box, _MISSED if number == 0 else _FALSE, text)
            for number, (box, text) in enumerate(
                [
                    (suspect.box_xyxy, f"label: {suspect.label}"),
                    (suspect.found_xyxy, f"found: {suspect.found} {100 * (suspect.score or 0):.0f}"),
                ]
            )
            if box is not None
        ]
        boxes = np.array([box for box, *_ in pairs]) * ratio
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        half = max(0.9 * float((high - low).max()), _LEAST_CROP / 2)
        centre = (low + high) / 2
        left, top = np.maximum(centre - half, 0).round().astype(int).tolist()
        right, bottom = np.minimum(centre + half, image.size).round().astype(int).tolist()
        crop = image.crop((left, top, right, bottom))
        scale = _CROP_SIDE / max(crop.size)
        crop = crop.resize((max(1, round(crop.width * scale)), max(1, round(crop.height * scale))))
        moved = (boxes - np.array([left, top] * 2)) * scale
        drawn = draw_boxes(crop, moved, np.array([c for _, c, _ in pairs]), (), texts=[text for *_, text in pairs])
        said = f"{suspect.kind}: " + ", ".join(text for *_, text in pairs)
        shown.append({"file": Path(suspect.file).name, "kind": suspect.kind, "said": said, **encoded(drawn)})
    return shown
