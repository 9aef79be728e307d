"""The network that training takes by default, begun with its start weights, in other people's hands.

A few steps on photographs are enough for boxes to compare: MediaPipe Tasks in Python, the page in Chromium, and Arm's
compiler. The app's core on a JVM is compared with `python -m android_demo.verify test`, of each model in its assets.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mediapipe_tasks import MediaPipe, found_again
from page import Page, require_page
from small_detector import photographs_of

from android_demo.verify import grids
from micro_yolo.pipeline import edge
from micro_yolo.pipeline.data import load
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image
from micro_yolo.tflite.vela import Estimate

pytestmark = pytest.mark.slow
Command = Callable[..., subprocess.CompletedProcess[str]]
# Of all photographs, the surest that are looked for in other runtimes, or fewer where several score the least of these
# (int8 has 256 steps); those see also what scores a little less.
SUREST, SLACK = 100, 0.02


@pytest.fixture(scope="module")
def export(shared_data: Path, called: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("default")
    data = photographs_of(shared_data, folder)
    options = ("--epochs", 8, "--batch", 4, "--evaluate-every", 8, "--mosaic", 0, "--size", "128x160")
    begun = called("pipeline.train", "--data", data, "--run", "run", *options, cwd=folder)
    assert begun.returncode == 0, begun.stderr
    done = called("pipeline.convert", "--run", "run", "--float32", "--int8", "--samples", 12, cwd=folder)
    assert done.returncode == 0, done.stderr
    export = folder / "run" / "export"
    contract = contracts.load(export / "model_int8.tflite")
    assert (contract.arch, contract.start["name"]) == ("micro_yolo_mobile", "mobilenet_v2_coco")
    return export


@pytest.fixture(scope="module")
def photographs(export: Path) -> list[Path]:
    return list(load(export.parents[1] / "photographs").splits["val"].files)


def surest(detector: Detector, photographs: list[Path]) -> tuple[list[Detections], float]:
    """What pipeline.predict finds above a score that leaves SUREST of them, and that score."""
    lowest = detector.contract.nms.lowest_score
    every = [detector.detect(load_image(file), lowest) for file in photographs]
    least = float(np.sort(np.concatenate([found.scores for found in every]))[-SUREST])
    return [detector.detect(load_image(file), least) for file in photographs], least


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_both_heads_find_the_same(export: Path, photographs: list[Path], tmp_path: Path, variant: str) -> None:
    found, least = surest(Detector(export / f"model_{variant}.tflite"), photographs)
    raw = Detector(grids.write(export / f"model_{variant}.tflite", tmp_path))
    same, count = found_again(found, [raw.detect(load_image(file), max(0.0, least - SLACK)) for file in photographs])
    assert count >= SUREST // 2
    assert same >= 0.98 * count


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_finds_what_predict_finds(export: Path, photographs: list[Path], variant: str) -> None:
    detector = Detector(export / f"model_{variant}.tflite")
    found, least = surest(detector, photographs)
    runtime = MediaPipe(detector.path, max(0.001, least - SLACK))
    same, count = found_again(found, [runtime.detect_resized(load_image(file)) for file in photographs])
    runtime.close()
    assert count >= SUREST // 2
    assert same >= 0.98 * count


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_the_page_finds_what_predict_finds(export: Path, photographs: list[Path], variant: str) -> None:
    require_page()
    detector = Detector(export / f"model_{variant}.tflite")
    found, _ = surest(detector, photographs)
    with Page(detector.path) as page:
        theirs = [page.detect(file)[0] for file in photographs]
    same, count = found_again(found, theirs)
    assert count >= SUREST // 2
    assert same >= 0.98 * count


@pytest.mark.parametrize("target", ["ethos-u55-256", "ethos-u85-512"])
def test_vela_puts_every_operator_on_the_accelerator(export: Path, tmp_path: Path, target: str) -> None:
    model = grids.write(export / "model_int8.tflite", tmp_path)
    estimate = edge.run(edge.Config(models=(model,), target=target)).found[str(model)][target]
    assert isinstance(estimate, Estimate)
    assert (estimate.on_cpu, estimate.fallbacks) == (0, ())
    assert estimate.cycles > 0
