"""The app itself on a desktop JVM: its activity from its own resources, by Robolectric."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
from PIL import Image

from android_demo.verify import apk, tools, versions
from android_demo.verify.jvm import PHOTOS
from android_demo.verify.tools import APP, ASSETS, DEMO, ROOT, jars, java, kotlinc, path, step
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image

TESTS = DEMO / "app/src/test"
# What a clone has; the same photographs, smaller.
CARDS = ROOT / "pipeline/cards/images"
# A lying and a standing one with several cards each, and one with few.
SCENES = ("cam_image8", "IMG_2500", "cam_image41")
PLATFORM = "android-all-instrumented-15"


def test(out: Path) -> int:
    """Compile the app and its tests and run them; `out` has core.jar and desktop.jar. Returns how many passed.

    Raises ValueError, with JUnit's words, if one failed or none ran.
    """
    start = time.perf_counter()
    apk.link(out)
    apk.compile_app(out)
    classpath = path(
        *(out / name for name in ("app.jar", "core.jar", "desktop.jar", "r")),
        *(jars("kotlin-stdlib-2", "junit", "hamcrest", "tensorflow-lite", "javacpp"), apk.libraries(), _robolectric()),
    )
    (platform,) = tools.ROBOLECTRIC.glob(f"{PLATFORM}*.jar")
    kotlinc(TESTS / "kotlin", out / "app-test.jar", path(*jars(versions.NEWEST)) + ":" + classpath, _friend(out))
    step("the app and its tests compiled", start)
    start = time.perf_counter()
    cases(out / "phone")
    config = _config(out)
    files = sorted(TESTS.glob("kotlin/**/*Test.kt"))
    printed = java(
        "-Drobolectric.offline=true",
        f"-Drobolectric.dependency.dir={tools.ROBOLECTRIC}",
        f"-Dphone={out / 'phone'}",
        # The platform comes last: only what reads the tests before they run takes it from there.
        *("-cp", path(out / "app-test.jar", TESTS / "resources", config) + f":{classpath}:{platform}"),
        "org.junit.runner.JUnitCore",
        *(".".join(file.relative_to(TESTS / "kotlin").with_suffix("").parts) for file in files),
        memory="2g",
    )
    passed = re.search(r"^OK \((\d+) tests?\)", printed, re.M)
    if not passed or int(passed[1]) == 0:
        raise ValueError(f"JUnit ran no test:\n{printed}")
    step(f":app: {passed[1]} tests passed", start)
    return int(passed[1])


def cases(out: Path) -> None:
    """Write photographs, as a gallery and as a camera give them, and cases.json: what pipeline.predict finds in each.

    Of each scene: a .png, and a .yuv with the planes of Y, U and V one after the other, the latter two halved. What a
    camera gives has lost some of its colours, so `frame` is found in what is left of them.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = PHOTOS if PHOTOS.is_dir() else CARDS
    detector = Detector(ASSETS / "cards_int8.tflite")
    written = []
    for name in SCENES:
        pixels = load_image(folder / f"{name}.jpg")
        pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        Image.fromarray(pixels).save(out / f"{name}.png")
        planes = to_yuv(pixels)
        (out / f"{name}.yuv").write_bytes(b"".join(plane.tobytes() for plane in planes))
        found = {"photo": _found(detector, pixels), "frame": _found(detector, to_rgb(*planes))}
        written.append({"name": name, "width": pixels.shape[1], "height": pixels.shape[0], **found})
    (out / "cases.json").write_text(json.dumps(written))


def to_yuv(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 RGB (h, w, 3), h and w even -> Y (h, w), U and V (h / 2, w / 2): JFIF, as cameras give YUV_420_888."""
    rgb = pixels.astype(np.float64)
    luma = rgb @ (0.299, 0.587, 0.114)
    height, width = luma.shape

    def halved(colour: np.ndarray) -> np.ndarray:
        return colour.reshape(height // 2, 2, width // 2, 2).mean((1, 3))

    def stored(plane: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(plane), 0, 255).astype(np.uint8)

    blue, red = halved((rgb[..., 2] - luma) / 1.772), halved((rgb[..., 0] - luma) / 1.402)
    return stored(luma), stored(blue + 128), stored(red + 128)


def to_rgb(luma: np.ndarray, blue: np.ndarray, red: np.ndarray) -> np.ndarray:
    """The way back: uint8 RGB (h, w, 3)."""
    cb, cr = (np.kron(plane, np.ones((2, 2))).astype(np.float64) - 128 for plane in (blue, red))
    rgb = np.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], -1)
    return np.clip(np.floor(rgb + 0.5), 0, 255).astype(np.uint8)


def _found(detector: Detector, pixels: np.ndarray) -> list[dict[str, object]]:
    found = detector.detect(pixels)
    labels = [detector.contract.labels[number] for number in found.classes]
    rows = zip(labels, found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True)
    return [{"label": label, "score": score, "box": box} for label, score, box in rows]


def _friend(out: Path) -> str:
    return f"-Xfriend-paths={out / 'app.jar'}"


def _robolectric() -> list[Path]:
    archives = [tools.unpacked(archive) / "classes.jar" for archive in sorted(tools.ROBOLECTRIC.glob("*.aar"))]
    return [jar for jar in sorted(tools.ROBOLECTRIC.glob("*.jar")) if "android-all" not in jar.name] + archives


def _config(out: Path) -> Path:
    """A folder for the class path with the file in which Robolectric, as Android Studio, looks for the app."""
    facts = {
        "android_resource_apk": out / "base.apk",
        "android_merged_manifest": out / "AndroidManifest.xml",
        "android_merged_assets": APP / "assets",
        "android_custom_package": versions.application_id(),
    }
    target = out / "config/com/android/tools/test_config.properties"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{name}={value}\n" for name, value in facts.items()))
    return out / "config"
