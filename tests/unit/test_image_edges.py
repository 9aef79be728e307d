"""What pictures are rare, and where a limit lies: found by changing tflite/image.py and seeing no test fail."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.tflite import image as images
from micro_yolo.tflite.image import decode_image, fit_to, load_image, resize


def stored(picture: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def test_several_boxes_go_there_and_back_as_float32() -> None:
    fit = fit_to((100, 200), (64, 64), "letterbox")
    boxes = np.array([[0, 0, 200, 100], [10, 20, 30, 40], [5, 5, 6, 6]])
    there = fit.boxes_to_model(boxes)
    np.testing.assert_allclose(there, [[0, 16, 64, 48], [3.2, 22.4, 9.6, 28.8], [1.6, 17.6, 1.92, 17.92]], rtol=1e-6)
    back = fit.boxes_to_image(there)
    np.testing.assert_allclose(back, boxes, atol=1e-4)
    assert there.dtype == back.dtype == np.float32


def test_the_limit_of_pixels_is_itself_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 12)
    assert decode_image(stored(Image.new("RGB", (4, 3))), "a.png").shape == (3, 4, 3)
    with pytest.raises(ValueError, match=r"^a\.png: image has 5x3 pixels; allowed: 12$"):
        decode_image(stored(Image.new("RGB", (5, 3))), "a.png")


def test_messages_name_what_was_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.png: image cannot be read \(No such file or directory\)$"):
        load_image(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"^a: not an image; allowed: JPEG, PNG, BMP, WEBP, TIFF, GIF, PPM, AVIF$"):
        decode_image(b"hello", "a")
    whole = stored(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"^a: image is damaged or truncated \(\w*(Error|Exception): .+\)$"):
        decode_image(whole[: len(whole) // 2], "a")
    with pytest.raises(ValueError, match=r"^resize: unknown rule, got 'crop'; allowed: stretch, letterbox, mediapipe$"):
        fit_to((4, 4), (8, 8), "crop")
    with pytest.raises(
        ValueError, match=r"^resize: sizes must be positive \(height, width\), got \(4, 0\) -> \(8, 9\)$"
    ):
        fit_to((4, 0), (8, 9))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Deeper than a byte: the upper eight bits of sixteen; what lies beyond them is cut off.
        ([[0, 256, 511], [65_535, 4_096, 255]], [[0, 1, 1], [255, 16, 0]]),
        # Never deeper than a byte: the values themselves, unless the file itself says that it has 16 bits.
        ([[0, 1, 2], [3, 128, 255]], [[0, 1, 2], [3, 128, 255]]),
    ],
)
def test_whole_numbers_of_32_bits(values: list[list[int]], expected: list[list[int]], kind: str) -> None:
    deep = np.array(values, np.int32 if kind == "TIFF" else np.uint16)
    pixels = decode_image(stored(Image.fromarray(deep), kind), "a")
    if kind == "PNG" and max(map(max, values)) <= 255:
        expected = [[0] * 3] * 2
    assert pixels.tolist() == [[[value] * 3 for value in row] for row in expected]
    assert pixels.dtype == np.uint8


def test_whole_numbers_out_of_range_are_clipped() -> None:
    pixels = decode_image(stored(Image.fromarray(np.array([[-70_000, 70_000, 256]], np.int32)), "TIFF"), "a")
    assert pixels[0, :, 0].tolist() == [0, 255, 1]
    pixels = decode_image(stored(Image.fromarray(np.array([[-3, 7, 255]], np.int32)), "TIFF"), "a")
    assert pixels[0, :, 0].tolist() == [0, 7, 255]
    # One value beyond a byte, and all are taken for sixteen bits.
    pixels = decode_image(stored(Image.fromarray(np.array([[3, 256]], np.int32)), "TIFF"), "a")
    assert pixels[0, :, 0].tolist() == [0, 1]


def test_every_way_to_be_transparent_shows_black() -> None:
    clear, solid = (90, 200, 40, 0), (90, 200, 40, 255)
    colours = Image.new("RGBA", (2, 1))
    colours.putdata([clear, solid])
    assert decode_image(stored(colours), "a").tolist() == [[[0, 0, 0], [90, 200, 40]]]

    grey = Image.new("LA", (2, 1))
    grey.putdata([(90, 0), (90, 255)])
    assert decode_image(stored(grey), "a").tolist() == [[[0, 0, 0], [90, 90, 90]]]

    palette = Image.new("P", (2, 1))
    palette.putpalette([90, 200, 40, 1, 2, 3])
    palette.putdata([1, 0])
    assert decode_image(stored(palette, transparency=1), "a").tolist() == [[[0, 0, 0], [90, 200, 40]]]
    assert decode_image(stored(palette), "a").tolist() == [[[1, 2, 3], [90, 200, 40]]]

    both = Image.new("PA", (2, 1))
    both.putpalette([90, 200, 40, 1, 2, 3])
    both.putdata([(0, 0), (1, 255)])
    assert decode_image(stored(both, "TIFF"), "a").tolist() == [[[0, 0, 0], [1, 2, 3]]]

    one = Image.new("L", (2, 1))
    one.putdata([90, 91])
    assert decode_image(stored(one, transparency=90), "a").tolist() == [[[0, 0, 0], [91, 91, 91]]]


def test_a_colour_of_three_bytes_that_is_to_be_clear_is_shown() -> None:
    """Unlike a palette's or a grey one."""
    picture = Image.new("RGB", (2, 1))
    picture.putdata([(90, 200, 40), (1, 2, 3)])
    assert decode_image(stored(picture, transparency=(90, 200, 40)), "a").tolist() == [[[90, 200, 40], [1, 2, 3]]]


def test_letterbox_by_hand() -> None:
    """Odd remainders put one pixel less in front; a side never shrinks to nothing."""
    fit = fit_to((50, 100), (65, 66), "letterbox")
    assert (fit.pad_x, fit.pad_y, fit.scale_x, fit.scale_y) == (0, 16, 0.66, 0.66)
    thin = fit_to((1, 1000), (64, 64), "letterbox")
    assert (thin.scale_x, thin.scale_y, thin.pad_x, thin.pad_y) == (0.064, 1.0, 0, 31)
    tall = fit_to((1000, 1), (64, 64), "letterbox")
    assert (tall.scale_x, tall.scale_y, tall.pad_x, tall.pad_y) == (1.0, 0.064, 31, 0)
    assert fit_to((1, 1), (1, 1)).scale_x == 1


def test_the_same_size_is_the_same_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    for rule in images.RULES:
        same, fit = resize(image, (5, 7), rule)
        assert (same == image).all()
        assert fit == fit_to((5, 7), (5, 7), rule)
    with pytest.raises(ValueError, match=r"got uint8 \(5, 7, 4\)$"):
        resize(np.zeros((5, 7, 4), np.uint8), (5, 7))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # A quarter: blocks of four, (0 + 0 + 0 + 40) / 4 and (200 + 0 + 0 + 0) / 4.
        ([0, 0, 0, 40, 200, 0, 0, 0], [10, 50]),
        # Two of five: blocks of two (20, 0, and 200 alone), then read at (i + 0.5) * 1.25 - 0.5 = 0.125 and 1.375.
        ([0, 40, 0, 0, 200], [17, 75]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_one_side_alone_is_averaged(values: list[int], expected: list[int], turned: bool) -> None:
    image = np.broadcast_to(np.array(values, np.uint8)[None, :, None], (3, len(values), 3))
    small, _ = resize(image.transpose(1, 0, 2) if turned else image, (2, 3) if turned else (3, 2))
    assert (small.transpose(1, 0, 2) if turned else small)[..., 0].tolist() == [expected] * 3


@pytest.mark.parametrize("rule", images.RULES)
def test_a_resized_image_is_bytes_and_says_how(rule: str) -> None:
    small, fit = resize(np.full((9, 31, 3), 7, np.uint8), (16, 17), rule)
    assert (small.dtype, small.shape, fit.rule) == (np.uint8, (16, 17, 3), rule)
    with pytest.raises(ValueError, match=r"sizes must be positive \(height, width\), got \(9, 31\) -> \(16, 0\)$"):
        resize(np.full((9, 31, 3), 7, np.uint8), (16, 0), rule)


def test_only_files_are_read_and_none_that_fills_the_memory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"pipe\.jpg: image cannot be read \(not a regular file\)$"):
        load_image(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(ValueError, match=r"huge\.jpg: image file has 2147483649 bytes; allowed: 2147483648$"):
        load_image(tmp_path / "huge.jpg")
