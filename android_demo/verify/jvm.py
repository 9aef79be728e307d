"""The app's :core on a desktop JVM: its JUnit tests, and the whole detector beside pipeline.predict."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from android_demo.verify import grids, tools
from android_demo.verify.tools import ASSETS, CORE, HERE, ROOT, jars, java, kotlinc, path, step
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.decode import iou
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import find_images, load_image

GOLDEN = ROOT / "tests/golden"
# What the shipped model is compared on.
PHOTOS = ROOT.parent / "shared/data/playing_cards/images"
# The network is the same with its other head, so every third picture will do.
OTHER_HEAD = 3
LEAST_IOU = 0.99
MOST_SCORE = 0.01


def compile_all(out: Path) -> None:
    """:core, its tests and the desktop programs, as jars in `out`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    start = time.perf_counter()
    stdlib = jars("kotlin-stdlib-2")
    kotlinc(CORE / "main/kotlin", out / "core.jar", path(stdlib))
    junit = path(stdlib, out / "core.jar", jars("junit"))
    runtime = path(stdlib, out / "core.jar", _runtime(), tools.asm())
    tools.together(
        partial(kotlinc, CORE / "test/kotlin", out / "test.jar", junit, f"-Xfriend-paths={out / 'core.jar'}"),
        partial(kotlinc, HERE / "desktop", out / "desktop.jar", runtime),
    )
    step("core, tests and desktop programs compiled", start)


def unit_tests(out: Path) -> int:
    """Run JUnit and return how many tests passed. ValueError, with JUnit's words, if one failed or none ran."""
    start = time.perf_counter()
    tests = sorted(file.relative_to(CORE / "test/kotlin") for file in CORE.glob("test/kotlin/**/*Test.kt"))
    names = [str(file.with_suffix("")).replace("/", ".") for file in tests]
    (model,) = ASSETS.glob("cards_int8.tflite")
    classpath = path(out / "test.jar", out / "core.jar", jars("kotlin-stdlib-2", "junit", "hamcrest"))
    printed = java(f"-Dgolden={GOLDEN}", f"-Dmodel={model}", "-cp", classpath, "org.junit.runner.JUnitCore", *names)
    passed = re.search(r"^OK \((\d+) tests?\)", printed, re.M)
    if not passed or int(passed[1]) == 0:
        raise ValueError(f"JUnit ran no test:\n{printed}")
    step(f":core: {passed[1]} tests passed", start)
    return int(passed[1])


def compare(out: Path, photos: Path | None) -> bool:
    """Print how every model of the app agrees with Python, with either head.

    Args:
        out: where `compile_all` put the jars.
        photos: folder of photographs; default PHOTOS.

    Returns:
        Whether there were photographs. Where CI is set they must be there.

    Raises:
        ValueError: no photographs, or a picture in which other objects, boxes or scores are found.
    """
    folder = photos or PHOTOS
    if not folder.is_dir():
        if photos or os.environ.get("CI"):
            raise ValueError(f"verify: {folder} does not exist; --photos FOLDER names one of photographs")
        return False
    pictures = _lossless(find_images(folder), out / "pictures")
    for model in sorted(ASSETS.glob("*.tflite")):
        start = time.perf_counter()
        step(agreement(out, model, pictures), start)
        if contracts.load(model).head == "detections":
            start = time.perf_counter()
            step(agreement(out, grids.write(model, out), pictures[::OTHER_HEAD]), start)
    return True


def agreement(out: Path, model: Path, pictures: list[Path]) -> str:
    """Compare the app's detector on the JVM with pipeline.predict's; one line of figures.

    Raises ValueError if a picture has other objects, boxes or scores.
    """
    result = out / "found.json"
    desktop(out, "detect", model, result, *pictures)
    detector = Detector(model)
    least, most, count = 1.0, 0.0, 0
    for picture, objects in zip(pictures, json.loads(result.read_text()), strict=True):
        wanted = detector.detect(load_image(picture))
        boxes = np.array([found["box_xyxy"] for found in objects], np.float32).reshape(-1, 4)
        scores = np.array([found["score"] for found in objects], np.float32)
        classes = [found["class"] for found in objects]
        if classes != wanted.classes.tolist():
            raise ValueError(f"{picture.name}: Kotlin finds classes {classes}, Python {wanted.classes.tolist()}")
        if not classes:
            continue
        least = min(least, float(np.diag(iou(boxes, wanted.boxes_xyxy)).min()))
        most = max(most, float(np.abs(scores - wanted.scores).max()))
        count += len(classes)
    head = detector.contract.head
    line = f"{model.stem} ({head}): {count} objects in {len(pictures)} pictures, "
    line += f"least IoU {least:.6f}, most |score| {most:.6f}"
    if least < LEAST_IOU or most > MOST_SCORE or not count:
        raise ValueError(f"{line}; allowed: IoU {LEAST_IOU}, score {MOST_SCORE}, at least one object")
    return line


def desktop(out: Path, *arguments: object) -> None:
    """Run the desktop programs: see desktop/Main.kt."""
    classpath = path(out / "desktop.jar", out / "core.jar", jars("kotlin-stdlib-2"), _runtime(), tools.asm())
    java("-cp", classpath, "org.microyolo.desktop.MainKt", *arguments)


def _runtime() -> list[Path]:
    return jars("tensorflow-lite", "javacpp")


def _lossless(sources: list[Path], out: Path) -> list[Path]:
    """The pictures uncompressed, so that Java and Python see the same pixels."""
    out.mkdir(exist_ok=True)
    converted = []
    for source in sources:
        target = out / f"{source.stem}.bmp"
        Image.fromarray(load_image(source)).save(target)
        converted.append(target)
    return sorted(set(converted))
