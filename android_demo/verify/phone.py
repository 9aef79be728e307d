"""The app itself on a desktop JVM: its activity from its own resources, by Robolectric."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from android_demo.verify import apk, jvm, tools, versions
from android_demo.verify.tools import APP, ASSETS, DEMO, ROOT, jars, java, kotlinc, path, step
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image

TESTS = DEMO / "app/src/test"
# What a clone has; the same photographs, smaller.
CARDS = ROOT / "pipeline/cards/images"
# A lying one with four of a kind, a standing one, and one with several kinds.
SCENES = ("cam_image8", "IMG_2500", "cam_image41")
PLATFORM = "android-all-instrumented-15"
DOCS = ROOT / "docs"
# As in robolectric.properties: API numbers in groups that take equally long, as the screens are drawn under the newest.
ANDROIDS = ((24, 30), (35,))
# EXIF's orientation -> how an upright picture is stored under it.
BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
# As in State.kt, in the order of the gallery.
STATES = ("camera", "filled", "front", "photo", "asking", "denied", "no_camera", "taken", "gpu_refused", "damaged")


def test(out: Path, classpath: str, androids: tuple[int, ...]) -> int:
    """Run the app's tests, with what `build` returned, under Androids of these numbers. Returns how many passed.

    Raises ValueError, with JUnit's words, if one failed or none ran.
    """
    start = time.perf_counter()
    files = sorted(file.relative_to(TESTS / "kotlin") for file in TESTS.glob("kotlin/**/*Test.kt"))
    names = (".".join(file.with_suffix("").parts) for file in files)
    which = ",".join(map(str, androids))
    passed = junit(out, classpath, *names, options=(f"-Drobolectric.enabledSdks={which}",))
    step(f":app: {passed} tests passed with API {which}", start)
    return passed


def shots(out: Path) -> list[Path]:
    """Draw every state of the app on every kind of screen into out/shots, and the gallery of docs from them."""
    classpath = build(out)
    junit(out, classpath, f"{versions.application_id()}.ScreensTest", options=(f"-Dshots={out / 'shots'}",))
    drawn = out / "shots"
    phones = [drawn / f"{state}-phone.png" for state in STATES]
    kinds = sorted(drawn.glob("camera-*.png"), key=lambda file: ("_land" in file.stem, file.stem))
    return [sheet(phones, 240, 5, DOCS / "app_states.jpg"), sheet(kinds, 290, 4, DOCS / "app_screens.jpg")]


def sheet(pictures: list[Path], width: int, columns: int, target: Path) -> Path:
    """The pictures in rows, each scaled to `width` pixels or, if it is wider than high, to the height of two."""
    rows: list[list[Image.Image]] = []
    for first in range(0, len(pictures), columns):
        scaled: list[Image.Image] = []
        for file in pictures[first : first + columns]:
            with Image.open(file) as picture:
                picture.thumbnail((width, 2 * width))
                scaled.append(picture.convert("RGB"))
        rows.append(scaled)
    gap = 12
    heights = [max(shown.height for shown in row) + gap for row in rows]
    board = Image.new("RGB", (columns * (width + gap) + gap, sum(heights) + gap), (128, 128, 128))
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, shown in enumerate(row):
            board.paste(shown, (gap + column * (width + gap), top))
        top += height
    board.save(target, quality=80, optimize=True)
    return target


def build(out: Path) -> str:
    """Compile the app and its tests, and write what they read; `out` has core.jar and desktop.jar.

    Returns the class path to run them with.
    """
    start = time.perf_counter()
    tools.together(partial(_app, out), partial(cases, out / "phone"))
    counted = [out / f"{name}-counted.jar" for name in ("app", "core")]
    for jar, name in zip(counted, ("app", "core"), strict=True):
        jvm.desktop(out, "count", out / f"{name}.jar", jar)
    classpath = path(
        *(*counted, out / "desktop.jar", out / "r"),
        *(jars("kotlin-stdlib-2", "junit", "hamcrest", "tensorflow-lite", "javacpp"), apk.libraries(), _robolectric()),
    )
    kotlinc(
        TESTS / "kotlin",
        out / "app-test.jar",
        path(*jars(versions.NEWEST)) + f":{classpath}",
        f"-Xfriend-paths={counted[0]}",
    )
    step("the app and its tests compiled", start)
    # The platform comes last: only what reads the tests before they run takes it from there.
    (platform,) = tools.ROBOLECTRIC.glob(f"{PLATFORM}*.jar")
    return path(out / "app-test.jar", TESTS / "resources", _config(out)) + f":{classpath}:{platform}"


def junit(out: Path, classpath: str, *names: str, options: tuple[str, ...] = ()) -> int:
    """Run test classes; how many tests passed. ValueError, with JUnit's words, if one failed or none ran."""
    printed = java(
        "-Drobolectric.offline=true",
        # An activity has resources of its own, as on a device.
        "-Drobolectric.createActivityContexts=true",
        f"-Drobolectric.dependency.dir={tools.ROBOLECTRIC}",
        f"-Dphone={out / 'phone'}",
        "-Dcounted=true",
        *(*options, "-cp", classpath, "org.junit.runner.JUnitCore", *names),
        memory="2g",
    )
    passed = re.search(r"^OK \((\d+) tests?\)", printed, re.M)
    if not passed or int(passed[1]) == 0:
        raise ValueError(f"JUnit ran no test:\n{printed}")
    return int(passed[1])


def cases(out: Path) -> None:
    """Write photographs, as a gallery and as a camera give them, and cases.json: what pipeline.predict finds in each.

    Of each scene: a .png, and a .yuv with the planes of Y, U and V one after the other, the latter two halved. What a
    camera gives has lost some of its colours, so `frame` is found in what is left of them. Of the first also a .jpg for
    every way to hold a camera, under `turned`.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = jvm.PHOTOS if jvm.PHOTOS.is_dir() else CARDS
    detector = Detector(ASSETS / "cards_int8.tflite")
    scenes, turned = [], []
    for name in SCENES:
        pixels = load_image(folder / f"{name}.jpg")
        pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        Image.fromarray(pixels).save(out / f"{name}.png")
        planes = to_yuv(pixels)
        (out / f"{name}.yuv").write_bytes(b"".join(plane.tobytes() for plane in planes))
        scenes.append(_case(detector, out / f"{name}.png") | {"frame": _found(detector, to_rgb(*planes))})
        if name == SCENES[0]:
            turned = [_case(detector, stored(pixels, turn, out / f"{name}-{turn}.jpg")) for turn in range(1, 9)]
    (out / "cases.json").write_text(json.dumps({"scenes": scenes, "turned": turned}))


def stored(upright: np.ndarray, turn: int, target: Path) -> Path:
    """Write uint8 RGB (h, w, 3) as a camera's JPEG, with EXIF's orientation `turn` (1 to 8); its path."""
    picture, exif = Image.fromarray(upright), Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    if turn in BACK:
        picture = picture.transpose(BACK[turn])
    # Colours in full, so that nothing but the turn tells one from the other.
    picture.save(target, quality=95, subsampling=0, exif=exif)
    return target


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


def _app(out: Path) -> None:
    apk.link(out)
    apk.compile_app(out)


def _case(detector: Detector, photo: Path) -> dict[str, object]:
    pixels = load_image(photo)
    height, width = pixels.shape[:2]
    return {"file": photo.name, "width": width, "height": height, "photo": _found(detector, pixels), "frame": []}


def _found(detector: Detector, pixels: np.ndarray) -> list[dict[str, object]]:
    found = detector.detect(pixels)
    labels = [detector.contract.labels[number] for number in found.classes]
    rows = zip(labels, found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True)
    return [{"label": label, "score": score, "box": box} for label, score, box in rows]


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
