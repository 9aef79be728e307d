"""A file with the detections head in MediaPipe Tasks beside our own detector, on labelled photographs.

    python benchmarks/other_runtimes.py --model runs/cells/export/model_int8.tflite --data PATH --browser

Of our detections above 0.3, those that MediaPipe has too: same class, IoU at least 0.95, score within 0.02. MediaPipe's
boxes are in whole pixels of what it is handed, origin and size rounded down: in photographs of few pixels that alone
can be too much, so ours rounded so are compared as well, and MediaPipe's with the half pixel added that is lost on
average. AP50 is of all detections above 0.001.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from micro_yolo.pipeline.show import cli

LEAST, SURE = 0.001, 0.3


@dataclass(frozen=True)
class Config:
    """Count the same detections, and measure AP50, in MediaPipe Tasks."""

    model: Path
    """A .tflite of ours with the detections head."""
    data: Path
    """Labelled images."""
    split: str = "val"
    """Which of them."""
    browser: bool = False
    """Also the page of pipeline.browser in headless Chromium."""


def run(config: Config) -> None:
    """Print a line for each way."""
    from mediapipe_tasks import MediaPipe, found_again, half_a_pixel_added, in_whole_pixels

    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.measure.metrics import coco_metrics, coco_results
    from micro_yolo.pipeline.measure.results import joined
    from micro_yolo.tflite.decode import Detections
    from micro_yolo.tflite.detector import Detector
    from micro_yolo.tflite.image import load_image

    dataset = load(config.data)
    split = dataset.splits[config.split]
    images = [load_image(file) for file in split.files]

    def above(found: Detections, least: float) -> Detections:
        keep = found.scores > least
        return Detections(found.boxes_xyxy[keep], found.scores[keep], found.classes[keep])

    def show(name: str, theirs: list[Detections]) -> None:
        results = joined(
            [
                coco_results(int(image_id), found.boxes_xyxy, found.scores, found.classes, dataset.category_ids)
                for image_id, found in zip(split.image_ids, theirs, strict=True)
            ]
        )
        ap50 = float(coco_metrics(split, dataset.category_ids, results)["AP50"])
        same, count = found_again(sure, theirs)
        sure_theirs = sum(int((found.scores > SURE).sum()) for found in theirs)
        print(
            f"{name:24} {same} of {count} ({100 * same / count:.1f} %), has {sure_theirs}; AP50 {ap50:.2f}", flush=True
        )

    detector = Detector(config.model)
    ours = [detector.detect(image, LEAST) for image in images]
    sure = [above(found, SURE) for found in ours]
    show("ours", ours)
    runtime = MediaPipe(config.model, LEAST)
    theirs = [runtime.detect(image) for image in images]
    show("MediaPipe", theirs)
    show("with half a pixel added", [half_a_pixel_added(found) for found in theirs])
    same, count = found_again([in_whole_pixels(found) for found in sure], theirs)
    print(f"{'ours in whole pixels':24} {same} of {count} ({100 * same / count:.1f} %)", flush=True)
    show("MediaPipe, our resizing", [runtime.detect_resized(image) for image in images])
    runtime.close()
    if config.browser:
        from page import Page

        with Page(config.model) as page:
            found = [page.detect(file) for file in split.files]
        show("in the browser", [each for each, _ in found])
        print(f"in the browser, median {np.median([said['ms'] for _, said in found]):.0f} ms a frame")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/other_runtimes.py", description=__doc__)
