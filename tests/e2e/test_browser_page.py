"""The browser page as a person meets it: at once, by keyboard, on a phone, in the dark, and what is saved.

The models are the one of playing cards that the app brings along, and a copy of it under another threshold.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CAMERA, Browser, require
from page import Page, require_page
from PIL import Image

from android_demo.verify import phone
from micro_yolo.pipeline.page import opening
from micro_yolo.pipeline.show import draw
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.decode import iou
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CARDS = ROOT / "android_demo" / "app" / "src" / "main" / "assets" / "models" / "cards_int8.tflite"
PHONE, DESKTOP = (360, 740), (1280, 900)
# A denial, as a person would give it.
DENIED = ("--use-fake-device-for-media-stream", "--deny-permission-prompts")

# What can be seen of each text: itself, its colour, and the colours behind it from its own element outwards.
TEXTS = """
    const seen = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
      if (!text || !element.checkVisibility() || element.closest("noscript, option")) continue;
      const behind = [];
      for (let each = element; each; each = each.parentElement) behind.push(getComputedStyle(each).backgroundColor);
      seen.push([text, getComputedStyle(element).color, behind]);
    }
    return seen;
"""
FOCUSED = "return document.activeElement.id || document.activeElement.title"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models: the cards, and one that shows more of what it finds."""
    require_page()
    made = tmp_path_factory.mktemp("models")
    # The newest is shown first.
    for when, name in enumerate(("eager", "cards")):
        shutil.copy(CARDS, made / f"{name}.tflite")
        os.utime(made / f"{name}.tflite", (when, when))
    contract = contracts.load(CARDS)
    eager = replace(contract, nms=replace(contract.nms, score_threshold=0.05))
    (made / "cards.json").write_text(contract.to_json())
    (made / "eager.json").write_text(eager.to_json())
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    with Page(folder) as made:
        yield made


@pytest.fixture
def fresh(page: Page) -> Page:
    """The page as it begins."""
    page.reload()
    page.browser.show_as(*DESKTOP, "light")
    return page


def objects(browser: Browser) -> int:
    return int(browser.run("return Number(document.getElementById('found').dataset.count)"))


def expected_first() -> tuple[opening.Photograph, Detector]:
    return opening.photographs(contracts.load(CARDS)).each[0], Detector(CARDS)


def test_boxes_are_there_before_what_finds_them(tmp_path: Path) -> None:
    require("chromium", "chromedriver")
    web = tmp_path / "web"
    (web / "wasm").mkdir(parents=True)
    # A runtime that never comes.
    (web / "vision_bundle.mjs").write_text("await new Promise(() => {});")
    first, detector = expected_first()
    found = detector.detect(first.pixels())
    assert len(found) > 1
    with Page(CARDS, web=web) as page:
        assert page.status() == (
            f"{len(found)} objects in {first.name}, found by the command; the browser is still loading the model."
        )
        assert objects(page.browser) == len(found)
        # A slider, a picture and a camera that are asked for meanwhile are no errors.
        page.browser.run("document.getElementById('camera').click()")
        assert page.status() == "The browser is still loading the model."
        page.browser.run("document.querySelectorAll('#photographs button')[1].click()")
        page.browser.wait("return document.getElementById('status').textContent.includes('waits for the model')")


def test_the_browser_finds_what_the_command_found(fresh: Page) -> None:
    first, detector = expected_first()
    found = detector.detect(first.pixels())
    assert objects(fresh.browser) == len(found)
    assert fresh.status() == f"{len(found)} objects in {first.name}, 168 x 224 pixels"
    told = fresh.browser.run(
        "return ['time', 'rate', 'size', 'input'].map((id) => document.getElementById(id).innerText)"
    )
    assert told[0].endswith(" ms") and float(told[0].split()[0]) > 0
    assert told[1].endswith("a second, in this browser")
    assert told[2:] == [f"{CARDS.stat().st_size / 1024:,.0f} KiB", "int8, 320 x 320 pixels"]
    name = fresh.browser.run("return document.getElementById('view').getAttribute('aria-label')")
    assert name == f"{first.name} with {len(found)} objects: {', '.join(detector.labels[i] for i in found.classes)}"
    assert "Evan Juras, Apache License 2.0" in fresh.browser.run("return document.querySelector('footer').innerText")


def test_with_the_keyboard_alone(fresh: Page, tmp_path: Path) -> None:
    browser = fresh.browser
    browser.save_to(tmp_path)
    photographs = opening.photographs(contracts.load(CARDS)).each
    passed = []
    for _ in range(len(photographs) + 5):
        browser.press("Tab")
        passed.append(browser.run(FOCUSED))
        outline = browser.run(
            "return getComputedStyle(document.activeElement.closest('label') ?? document.activeElement).outlineStyle"
        )
        assert outline == "solid", passed
    assert passed == [*(each.name for each in photographs), "file", "camera", "save", "model", "threshold"]

    before = objects(browser)
    browser.press(*["Left"] * round(100 * contracts.load(CARDS).nms.score_threshold - 5))
    assert browser.run("return document.getElementById('least').textContent") == "0.05"
    assert objects(browser) > before
    browser.run("document.querySelectorAll('#photographs button')[0].focus()")
    browser.press("Tab", "Enter")
    browser.wait(f"return document.getElementById('status').textContent.includes('in {photographs[1].name}, ')")
    pressed = "return [...document.querySelectorAll('#photographs button')].map((each) => each.ariaPressed)"
    assert browser.run(pressed) == ["false", "true", *["false"] * (len(photographs) - 2)]
    browser.run("document.getElementById('save').focus()")
    browser.press("Enter")
    assert saved(tmp_path, photographs[1].name).is_file()


def saved(folder: Path, name: str) -> Path:
    """The picture that the page saves, once it is whole."""
    path = folder / f"{Path(name).stem}-boxes.png"
    for _ in range(200):
        if path.is_file() and path.stat().st_size:
            return path
        time.sleep(0.05)
    raise AssertionError(f"{path.name} was not saved, but {[each.name for each in folder.iterdir()]}")


def test_another_model(fresh: Page) -> None:
    browser = fresh.browser
    before = objects(browser)
    assert browser.run("return [...document.getElementById('model').options].map((each) => each.text)") == [
        "cards",
        "eager",
    ]
    browser.run("document.getElementById('model').focus()")
    browser.press("Down")
    browser.wait("return document.getElementById('least').textContent === '0.05'")
    browser.wait(f"return Number(document.getElementById('found').dataset.count) > {before}")
    assert browser.run(FOCUSED) == "model"


def test_a_model_that_has_gone_leaves_the_one_before(folder: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(folder, tmp_path / "models"))
    with Page(own) as page:
        chosen = page.browser.run("return document.getElementById('model').selectedOptions[0].text")
        other = next(name for name in ("cards", "eager") if name != chosen)
        (own / f"{other}.tflite").unlink()
        page.browser.run(
            "const list = document.getElementById('model');"
            "list.selectedIndex = 1 - list.selectedIndex; list.dispatchEvent(new Event('change'))"
        )
        assert page.complaint().startswith(f"{other}: cannot be started: ")
        assert page.browser.run("return document.getElementById('model').selectedOptions[0].text") == chosen
        page.browser.run("document.querySelectorAll('#photographs button')[2].click()")
        page.browser.wait("return document.getElementById('status').textContent.includes('pixels')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_fits_and_can_be_read(fresh: Page, screen: tuple[int, int], scheme: str) -> None:
    browser = fresh.browser
    browser.show_as(*screen, scheme)
    browser.run(
        "document.getElementById('about').textContent = 'micro_yolo, int8, finds ' + 'averylongname'.repeat(30)"
    )
    for complaint in (False, True):
        if complaint:
            browser.run("dispatchEvent(Object.assign(new Event('drop'), {dataTransfer: {files: []}}))")
        assert browser.run("return document.scrollingElement.scrollWidth") == screen[0]
        texts = browser.run(TEXTS)
        assert len(texts) > 20
        for text, ink, behind in texts:
            assert contrast(ink, behind) >= 4.5, (text, ink, behind)
    # The picture, and what to do next, without scrolling.
    fresh.reload()
    top, bottom = browser.run(
        "return [document.getElementById('view'), document.querySelector('.button.first')]"
        ".map((each) => each.getBoundingClientRect().bottom)"
    )
    assert max(top, bottom) <= screen[1]
    sides = browser.run(
        "return [...document.querySelectorAll('button, .button, select, input[type=range]')]"
        ".filter((each) => each.checkVisibility())"
        ".map((each) => each.getBoundingClientRect()).map(({width, height}) => Math.min(width, height))"
    )
    assert min(sides) >= 44


def rgba(css: str) -> list[float]:
    numbers = [float(each) for each in css[css.index("(") + 1 : -1].split(",")]
    return [*numbers, *[1.0][: 4 - len(numbers)]]


def contrast(ink: str, behind: list[str]) -> float:
    """WCAG's ratio of a colour and the first one behind it that is not transparent; half-transparent ones are none."""
    ground = next(rgba(each) for each in behind if rgba(each)[3])
    assert ground[3] == rgba(ink)[3] == 1
    lighter, darker = sorted((luminance(ground[:3]), luminance(rgba(ink)[:3])), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(rgb: list[float]) -> float:
    shares = [value / 255 for value in rgb]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def test_everything_has_a_name(fresh: Page) -> None:
    told = fresh.browser.accessible()
    roles = {"button", "combobox", "slider", "image", "list", "region", "status", "heading", "RootWebArea"}
    unnamed = [role for role, name in told if role in roles - {"status"} and not name]
    # The list of what was found is named by the heading of its region.
    assert unnamed in ([], ["list"])
    names = {name for role, name in told if role in ("button", "combobox", "slider")}
    assert {"Model", "Choose a photograph", "Use the camera", "Save the picture", "Score above"} <= names
    assert {each.name for each in opening.photographs(contracts.load(CARDS)).each} <= names


def test_labels_can_be_read_on_every_colour(fresh: Page) -> None:
    found = fresh.browser.run(
        "return import('/draw.js').then(({colour, inkOn}) =>"
        " Array.from({length: 200}, (_, i) => [colour(i), inkOn(colour(i))]))"
    )
    for number, (rgb, ink) in enumerate(found):
        np.testing.assert_allclose(rgb, draw.colour(number), atol=1)
        lighter, darker = sorted((luminance(rgb), {"#000": 0.0, "#fff": 1.0}[ink]), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (number, rgb, ink)


def test_photographs_turned_and_mirrored_as_exif_says(fresh: Page, tmp_path: Path) -> None:
    first, detector = expected_first()
    upright = detector.detect(first.pixels())
    assert len(upright) > 1
    for turn in range(1, 9):
        photograph = phone.stored(first.pixels(), turn, tmp_path / f"turned-{turn}.jpg")
        found, said = fresh.detect(photograph)
        ours = detector.detect(load_image(photograph))
        assert (said["height"], said["width"]) == first.pixels().shape[:2]
        assert objects(fresh.browser) == len(ours), turn
        for theirs in (found, upright):
            overlaps = iou(ours.boxes_xyxy.astype(np.float64), theirs.boxes_xyxy.astype(np.float64))
            overlaps[ours.classes[:, None] != theirs.classes] = 0
            assert overlaps.max(axis=1).min() > 0.9, turn


def test_the_picture_that_is_saved(fresh: Page, tmp_path: Path) -> None:
    browser = fresh.browser
    browser.save_to(tmp_path)
    # Larger than any screen here, to see that it is saved in its own pixels.
    photograph = tmp_path / "two cards.png"
    pixels = opening.photographs(contracts.load(CARDS)).each[0].pixels().repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(pixels).save(photograph)
    found, said = fresh.detect(photograph)
    browser.run("document.getElementById('save').click()")
    with Image.open(saved(tmp_path, "two-cards.png")) as opened:
        assert (opened.format, opened.info.get("exif")) == ("PNG", None)
        kept = np.asarray(opened.convert("RGB"))
    assert fresh.status() == "Saved two-cards-boxes.png."
    assert kept.shape == pixels.shape
    shown = [each for each in said["detections"] if each["score"] > contracts.load(CARDS).nms.score_threshold]
    labels = Detector(CARDS).labels
    untouched = np.ones(kept.shape[:2], bool)
    for each in reversed(shown):
        left, top, right, bottom = (round(edge) for edge in each["box"])
        untouched[max(top - 150, 0) : bottom + 150, max(left - 12, 0) : right + 800] = False
    # The best, which was the last, is on top; a label may lie on the middle of one of its sides, but not of all.
    middles = ((top + bottom) // 2, left), ((top + bottom) // 2, right), (top, (left + right) // 2)
    places = (*middles, (bottom, (left + right) // 2))
    sides = [kept[min(row, kept.shape[0] - 1), min(column, kept.shape[1] - 1)] for row, column in places]
    shade = draw.colour(labels.index(each["label"]))
    assert any(np.allclose(side, shade, atol=1) for side in sides), (each, sides)
    assert len(found) >= len(shown) > 1
    assert untouched.any()
    np.testing.assert_array_equal(kept[untouched], pixels[untouched])


def test_the_camera_looks_outward_and_says_why_not(folder: Path) -> None:
    ask = """
        const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (wanted) => { window.wanted = wanted; return real(wanted); };
        document.getElementById("camera").click();
    """
    with Page(CARDS, *CAMERA) as page:
        page.browser.run(f"delete document.getElementById('found').dataset.result; {ask}")
        page.result()
        assert page.browser.run("return window.wanted") == {"video": {"facingMode": "environment"}, "audio": False}
        assert page.status() == "Camera on."
        # A camera that is pulled out.
        page.browser.run("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
        assert page.complaint() == "No camera: it is gone. Photographs still work."
        assert page.browser.run("return document.getElementById('camera').textContent") == "Use the camera"
    with Page(CARDS, *DENIED) as page:
        page.browser.run("document.getElementById('camera').click()")
        assert page.complaint().startswith("No camera: it was not allowed, which the browser's settings")
        page.browser.run("document.querySelectorAll('#photographs button')[1].click()")
        page.browser.wait("return document.getElementById('status').textContent.includes('pixels')")
        page.browser.run("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
        page.browser.run("document.getElementById('camera').click()")
        assert "open http://localhost" in page.complaint()


def test_photographs_of_ones_own_and_a_pasted_one(tmp_path: Path) -> None:
    require_page()
    photograph = ROOT / "pipeline" / "cards" / "images" / "IMG_2390.jpg"
    with Page(CARDS, photo=(photograph,)) as page:
        assert page.status().endswith(f"{photograph.name}, 168 x 224 pixels")
        page.browser.run(
            """
            const answer = await fetch("/photographs/0");
            const file = new File([await answer.blob()], "pasted.jpg", { type: "image/jpeg" });
            dispatchEvent(Object.assign(new Event("paste"), { clipboardData: { files: [file] } }));
            """
        )
        page.browser.wait("return document.getElementById('status').textContent.includes('in pasted.jpg')")
        found = Detector(CARDS).detect(load_image(photograph))
        assert objects(page.browser) == len(found)
        assert json.loads(page.result())["width"] == 168
