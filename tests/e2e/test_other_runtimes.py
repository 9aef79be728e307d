"""The files in other people's hands, on real photographs: a small network trained on them, then MediaPipe Tasks, in
Python and on the page of pipeline.browser in Chromium.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CAMERA
from mediapipe_tasks import MediaPipe, found_again, in_whole_pixels
from page import Page, require_page
from PIL import Image
from small_detector import make

from micro_yolo.pipeline import evaluate
from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.measure.metrics import coco_metrics, coco_results
from micro_yolo.tflite.decode import Detections, iou
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image, resize

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(shared_data, tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def export(trained: Path) -> Path:
    return trained / "export"


@pytest.fixture(scope="module")
def photographs(trained: Path) -> list[Path]:
    return list(load(trained.parent / "photographs").splits["val"].files)


@pytest.fixture
def mediapipe() -> Any:
    made: list[MediaPipe] = []

    def create(path: Path, score_threshold: float) -> MediaPipe:
        made.append(MediaPipe(path, score_threshold))
        return made[-1]

    yield create
    for detector in made:
        detector.close()


def share_found_again(ours: list[Detections], theirs: list[Detections]) -> float:
    same, count = found_again(ours, theirs)
    assert count > 50
    return same / count


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_both_heads_have_the_same_average_precision(export: Path, tmp_path: Path, variant: str) -> None:
    one, other = (
        evaluate.run(evaluate.Config(model=export / f"model_{name}.tflite", out=tmp_path))
        for name in (variant, f"{variant}_raw")
    )
    assert one.AP50 > 30
    assert one.AP == pytest.approx(other.AP, abs=0.2)
    assert one.AP50 == pytest.approx(other.AP50, abs=0.2)


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_finds_the_same_objects(export: Path, photographs: list[Path], mediapipe: Any, variant: str) -> None:
    path = export / f"model_{variant}.tflite"
    detector, runtime = Detector(path), mediapipe(path, 0.25)
    images = [load_image(file) for file in photographs]
    ours = [in_whole_pixels(detector.detect(image, 0.3)) for image in images]
    theirs = [runtime.detect(image) for image in images]
    assert share_found_again(ours, theirs) >= 0.98
    assert sum(int((other.scores > 0.3).sum()) for other in theirs) == pytest.approx(sum(map(len, ours)), rel=0.02)


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_finds_the_same_boxes_where_a_pixel_is_small(
    export: Path, photographs: list[Path], mediapipe: Any, variant: str
) -> None:
    path = export / f"model_{variant}.tflite"
    detector, runtime = Detector(path), mediapipe(path, 0.25)
    images = [load_image(file).repeat(4, axis=0).repeat(4, axis=1) for file in photographs]
    ours = [detector.detect(image, 0.3) for image in images]
    assert share_found_again(ours, [runtime.detect(image) for image in images]) >= 0.98


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_finds_the_same_objects_in_pixels_of_ours(
    export: Path, photographs: list[Path], mediapipe: Any, variant: str
) -> None:
    path = export / f"model_{variant}.tflite"
    detector, runtime = Detector(path), mediapipe(path, 0.25)
    images = [load_image(file) for file in photographs]
    ours = [detector.detect(image, 0.3) for image in images]
    assert share_found_again(ours, [runtime.detect_resized(image) for image in images]) >= 0.98


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_has_the_same_average_precision(export: Path, trained: Path, mediapipe: Any, variant: str) -> None:
    path = export / f"model_{variant}.tflite"
    detector, runtime = Detector(path), mediapipe(path, 0.001)
    dataset = load(trained.parent / "photographs")
    split = dataset.splits["val"]

    def average_precision(detect: Callable[[np.ndarray], Detections]) -> float:
        results = []
        for image_id, file in zip(split.image_ids, split.files, strict=True):
            found = detect(load_image(file))
            results += coco_results(int(image_id), found.boxes_xyxy, found.scores, found.classes, dataset.category_ids)
        return float(coco_metrics(split, dataset.category_ids, results)["AP50"])

    ours = average_precision(lambda image: detector.detect(image, 0.001))
    assert ours > 30
    assert average_precision(runtime.detect) == pytest.approx(ours, abs=0.5)


@pytest.fixture(scope="module")
def package() -> None:
    """What the page needs is installed."""
    require_page()


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_the_browser_finds_the_same_objects(package: None, export: Path, photographs: list[Path], variant: str) -> None:
    detector = Detector(export / f"model_{variant}.tflite")
    with Page(detector.path) as page:
        theirs = []
        for file in photographs:
            found, said = page.detect(file)
            theirs.append(found)
            height, width = load_image(file).shape[:2]
            assert (said["width"], said["height"]) == (width, height)
            assert 0 < said["ms"] < 60000
        assert "pixels" in page.status()
        loaded = page.browser.run("return performance.getEntriesByType('resource').map((each) => each.name)")
        origin = page.browser.run("return location.origin")
    ours = [detector.detect(load_image(file), 0.3) for file in photographs]
    assert share_found_again(ours, theirs) >= 0.98
    assert sum(int((other.scores > 0.3).sum()) for other in theirs) == pytest.approx(sum(map(len, ours)), rel=0.02)
    assert any(name.endswith(".wasm") for name in loaded)
    assert all(name.startswith(f"{origin}/") for name in loaded)


def test_what_the_page_is_given_wrong(package: None, export: Path, photographs: list[Path], tmp_path: Path) -> None:
    text, huge = tmp_path / "notes.txt", tmp_path / "huge.jpg"
    text.write_text("not a picture")
    photograph = Image.open(photographs[0])
    # 50 megapixels.
    photograph.resize((8160, 6144), Image.Resampling.BICUBIC).save(huge, quality=90)
    detector = Detector(export / "model_float32.tflite")
    with Page(detector.path) as page:
        page.browser.choose("#file", text)
        assert "notes.txt: not a picture this browser can read" in page.complaint()
        found, said = page.detect(huge)
        assert (said["width"], said["height"]) == (8160, 6144)
        assert page.browser.run("return document.querySelector('#status.doubt')") is None
        expected = detector.detect(load_image(huge), 0.3)
        assert len(expected) > 2
        # Worked on at 12 megapixels, so the pixels of the input differ a little.
        overlaps = iou(expected.boxes_xyxy.astype(np.float64), found.boxes_xyxy)
        assert (overlaps.max(axis=1) > 0.9).mean() > 0.8
        page.browser.run("document.getElementById('camera').click()")
        assert "No camera: there is none. Photographs still work." in page.complaint()
        page.browser.run(
            "dispatchEvent(Object.assign(new Event('drop', {cancelable: true}), {dataTransfer: {files: []}}))"
        )
        assert "That was not a file" in page.complaint()
        found, _ = page.detect(photographs[0])
        assert len(found) > 0


def test_the_slider_and_labels_in_each_others_way(package: None, export: Path, photographs: list[Path]) -> None:
    slide = """
        const slider = document.getElementById("threshold");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input"));
        return Number(document.getElementById("found").dataset.count);
    """
    with Page(export / "model_int8.tflite") as page:
        for file in photographs:
            found, _ = page.detect(file)
            for least in (0.01, 0.5):
                assert page.browser.run(slide, least) == int((found.scores > least).sum())


def test_the_camera(package: None, export: Path) -> None:
    with Page(export / "model_int8.tflite", *CAMERA) as page:
        page.browser.run("document.getElementById('camera').click()")
        first = page.result()
        page.browser.wait(f"return document.getElementById('found').dataset.result !== {json.dumps(first)}")
        page.browser.run("document.getElementById('camera').click()")
        assert page.status() == "Camera off."


# No pixel of 224 x 224 falls halfway between two steps of MediaPipe's, where it takes either.
@pytest.mark.parametrize("size", [(480, 640), (333, 517), (100, 120), (1000, 1500)])
def test_the_rule_mediapipe_gives_the_pixels_of_mediapipe(tmp_path: Path, size: tuple[int, int]) -> None:
    import mediapipe
    import tensorflow as tf
    from mediapipe.tasks.python import BaseOptions, vision

    # A model whose embedding of a picture is the pixels it is given.
    takes = tf.TensorSpec([1, 224, 224, 3], tf.uint8)
    flat = tf.function(lambda pixels: tf.reshape(tf.cast(pixels, tf.float32), [1, -1]), input_signature=[takes])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([flat.get_concrete_function()], flat)
    (tmp_path / "pixels.tflite").write_bytes(converter.convert())
    options = vision.ImageEmbedderOptions(base_options=BaseOptions(model_asset_path=str(tmp_path / "pixels.tflite")))
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    with vision.ImageEmbedder.create_from_options(options) as embedder:
        given = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        seen = np.reshape(embedder.embed(given).embeddings[0].embedding, (224, 224, 3))
    np.testing.assert_array_equal(seen, resize(image, (224, 224), "mediapipe")[0])


SIZES = [(300, 500), (416, 312), (128, 160), (1000, 731), (1, 1), (7, 900), (90, 60)]


@pytest.mark.parametrize("rule", ["stretch", "letterbox", "mediapipe"])
def test_the_page_resizes_as_we_do(package: None, export: Path, rule: str) -> None:
    random = np.random.default_rng(0)
    script = """
        const [encoded, width, height, rule] = arguments;
        const { resize } = await import("/resize.js");
        const bytes = Uint8ClampedArray.from(atob(encoded), (letter) => letter.charCodeAt(0));
        const { pixels } = resize(new ImageData(bytes, width, height), 160, 128, rule, 114);
        return btoa(Array.from(pixels.data, (byte) => String.fromCharCode(byte)).join(""));
    """
    with Page(export / "model_int8.tflite") as page:
        for height, width in SIZES:
            image = random.integers(0, 256, (height, width, 3), np.uint8)
            opaque = np.dstack([image, np.full((height, width), 255, np.uint8)])
            encoded = base64.b64encode(opaque.tobytes()).decode()
            answer = base64.b64decode(page.browser.run(script, encoded, width, height, rule))
            pixels = np.frombuffer(answer, np.uint8).reshape(128, 160, 4)
            np.testing.assert_array_equal(pixels[..., :3], resize(image, (128, 160), rule)[0])
            assert (pixels[..., 3] == 255).all()
