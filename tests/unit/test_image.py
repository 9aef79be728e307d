"""Decoding of every kind of picture, and the one resize rule."""

from __future__ import annotations

import os
import struct
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from micro_yolo.tflite import image as images
from micro_yolo.tflite.image import (
    LETTERBOX_FILL,
    RULES,
    SUFFIXES,
    find_images,
    fit_to,
    load_image,
    load_small,
    reads_heic,
    resize,
)

ORIENTATION = 0x0112


def gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) % 256], axis=2).astype(
        np.uint8
    )


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Half-pixel centres, clamped edges: the rule as the app's author would write it."""
    source = image.astype(np.float64)
    y = np.clip((np.arange(height) + 0.5) * image.shape[0] / height - 0.5, 0, image.shape[0] - 1)
    x = np.clip((np.arange(width) + 0.5) * image.shape[1] / width - 0.5, 0, image.shape[1] - 1)
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    y1, x1 = np.minimum(y0 + 1, image.shape[0] - 1), np.minimum(x0 + 1, image.shape[1] - 1)
    fy, fx = (y - y0)[:, None, None], (x - x0)[None, :, None]
    top = source[y0][:, x0] * (1 - fx) + source[y0][:, x1] * fx
    bottom = source[y1][:, x0] * (1 - fx) + source[y1][:, x1] * fx
    return top * (1 - fy) + bottom * fy


@pytest.mark.parametrize("size", [(40, 70), (33, 41), (21, 31), (50, 45)])
def test_resize_is_bilinear_with_half_pixel_centres(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    small, _ = resize(image, size)
    difference = bilinear(image, *size) - small
    assert difference.min() > -0.01
    assert difference.max() < 1.01


@pytest.mark.parametrize("size", [(40, 70), (33, 41), (12, 9), (90, 60)])
def test_mediapipe_samples_whole_thirty_seconds_from_the_corner(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    small, fit = resize(image, size, "mediapipe")
    for y, x in np.ndindex(size):
        top, down = divmod(round(32 * 40 * y / size[0]), 32)
        left, across = divmod(round(32 * 60 * x / size[1]), 32)
        two = image[[min(top, 39), min(top + 1, 39)]].astype(int)
        upper, lower = two[:, min(left, 59)] * (32 - across) + two[:, min(left + 1, 59)] * across
        assert small[y, x].tolist() == ((upper * (32 - down) + lower * down + 512) >> 10).tolist()
    assert (fit.scale_x, fit.scale_y, fit.pad_x, fit.pad_y) == (size[1] / 60, size[0] / 40, 0, 0)


def test_large_reductions_average_blocks_first() -> None:
    checks = np.indices((120, 120)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    small, _ = resize(image, (30, 30))
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_block_average_keeps_positions() -> None:
    image = np.zeros((301, 299, 3), np.uint8)
    image[140:160, 200:230] = 255
    small, fit = resize(image, (64, 64))
    rows, columns = np.nonzero(small[..., 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, fit.boxes_to_model(np.array([[200, 140, 230, 160]]))[0], atol=0.75)


def test_letterbox_pads_in_the_middle() -> None:
    small, fit = resize(np.full((50, 100, 3), 200, np.uint8), (64, 64), "letterbox")
    assert (fit.pad_x, fit.pad_y) == (0, 16)
    assert (small[:16] == LETTERBOX_FILL).all()
    assert (small[16:48] == 200).all()
    assert (small[48:] == LETTERBOX_FILL).all()


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.sampled_from(["stretch", "letterbox", "mediapipe"]),
)
def test_boxes_there_and_back(source: tuple[int, int], target: tuple[int, int], rule: str) -> None:
    fit = fit_to(source, target, rule)
    whole = np.array([[0, 0, source[1], source[0]]], np.float32)
    inside = fit.boxes_to_model(whole)[0]
    assert inside.min() >= 0
    assert inside[2] <= target[1] + 1e-3
    assert inside[3] <= target[0] + 1e-3
    np.testing.assert_allclose(fit.boxes_to_image(fit.boxes_to_model(whole)), whole, rtol=1e-4, atol=1e-2)


def test_boxes_are_clipped_to_the_image() -> None:
    fit = fit_to((10, 20), (100, 100))
    assert fit.boxes_to_image(np.array([[-50, -50, 500, 500]])).tolist() == [[0, 0, 20, 10]]
    assert fit.boxes_to_image(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("shape", [(500, 1), (1, 500), (1, 1), (20, 10_000)])
@pytest.mark.parametrize("rule", ["stretch", "letterbox", "mediapipe"])
def test_extreme_shapes(shape: tuple[int, int], rule: str) -> None:
    small, fit = resize(gradient(*shape), (64, 96), rule)
    assert small.shape == (64, 96, 3)
    assert fit.source == shape


@pytest.mark.parametrize(
    ("image", "rule", "message"),
    [
        (np.zeros((4, 4), np.uint8), "stretch", r"must be uint8 \(height, width, 3\), got uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3)), "stretch", "got float64"),
        (np.zeros((0, 4, 3), np.uint8), "stretch", "sizes must be positive"),
        (np.zeros((4, 4, 3), np.uint8), "crop", "allowed: stretch, letterbox, mediapipe"),
    ],
)
def test_resize_refuses(image: np.ndarray, rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resize(image, (8, 8), rule)


def test_modes_become_rgb(tmp_path: Path) -> None:
    grey = gradient(6, 8)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert (load_image(tmp_path / "grey.png") == grey[..., None]).all()

    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert (load_image(tmp_path / "deep.png") == grey[..., None]).all()

    Image.fromarray(grey > 127).save(tmp_path / "bits.png")
    assert set(np.unique(load_image(tmp_path / "bits.png"))) == {0, 255}

    colours = Image.fromarray(gradient(6, 8)).quantize(16)
    colours.save(tmp_path / "palette.png")
    assert (load_image(tmp_path / "palette.png") == np.asarray(colours.convert("RGB"))).all()

    cmyk = Image.fromarray(np.full((8, 8, 3), (200, 40, 40), np.uint8)).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(load_image(tmp_path / "cmyk.jpg").astype(int) - (200, 40, 40)).max() < 12


def test_transparency_is_laid_over_black(tmp_path: Path) -> None:
    pixels = np.full((2, 2, 4), 200, np.uint8)
    pixels[0, :, 3] = (0, 255)
    pixels[1, :, 3] = 128
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    assert load_image(tmp_path / "rgba.png")[..., 0].tolist() == [[0, 200], [100, 100]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = gradient(6, 10)
    undo = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    }  # fmt: skip
    stored = np.ascontiguousarray(undo[orientation](upright))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(stored).save(path, exif=exif)
    assert (load_image(path) == upright).all()
    assert (load_image(path, (6, 10)) == upright).all()
    if orientation >= 5:
        assert (load_image(path, (10, 6)) == stored).all(), "boxes drawn on the picture as stored"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.jpg: .*{message}"):
        load_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif", "gif"])
def test_truncated_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ValueError, match=f"a.{suffix}: .*(damaged|not an image)"):
            load_image(path)


def test_missing_image_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.jpg: image cannot be read"):
        load_image(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="cannot be read"):
        load_image(tmp_path)


def test_decompression_bomb(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(ValueError, match="pixels; allowed"):
        load_image(tmp_path / "bomb.png")


@given(st.binary(max_size=300), st.integers(0, 400))
def test_damage_never_escapes(tmp_path_factory: pytest.TempPathFactory, noise: bytes, where: int) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / f"noise-{os.getpid()}.jpg"
    Image.fromarray(gradient(16, 16)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:where] + noise + data[where + len(noise) :])
    try:
        assert load_image(path).dtype == np.uint8
    except ValueError as error:
        assert str(path) in str(error)


def test_find_images(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt", ".hidden.png", ".cache/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == ["a.png", "b.JPG", "sub/c.webp"]
    assert all(suffix == suffix.lower() for suffix in SUFFIXES)


def test_links_to_folders_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    for name in ("set/a.png", "elsewhere/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "further").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    found = [path.relative_to(tmp_path / "set").as_posix() for path in find_images(tmp_path / "set")]
    assert found == ["a.png", "far/b.png"]


# What libheif wrote of 16 x 8 pixels, red left and blue right, without what it can be shown without.
HEIC = Path(__file__).parent / "red_blue.heic"


def test_heic_is_read_where_its_library_is() -> None:
    if not reads_heic():
        pytest.skip("no pi-heif")
    pixels = load_image(HEIC).astype(int)
    assert pixels.shape == (8, 16, 3)
    assert np.abs(pixels[4, 3] - (255, 0, 0)).max() < 20
    assert np.abs(pixels[4, 12] - (0, 0, 255)).max() < 20


def test_heic_without_its_library_is_a_line_that_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "reads_heic", lambda: False)
    with pytest.raises(
        ValueError, match=r"heic: HEIC, which needs pi-heif; `pip install 'micro-yolo\[heic\]'` brings it$"
    ):
        load_image(HEIC)


def test_a_library_for_heic_is_taken_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    fake = types.SimpleNamespace(register_heif_opener=lambda: taken.append("yes"))
    for names, reads in (
        ({"pi_heif": None, "pillow_heif": None}, False),
        ({"pi_heif": None, "pillow_heif": fake}, True),
    ):
        reads_heic.cache_clear()
        for name, module in names.items():
            monkeypatch.setitem(sys.modules, name, module)
        assert reads_heic() is reads
    assert taken == ["yes"]
    reads_heic.cache_clear()


def test_mpo_is_read_as_the_jpeg_it_begins_with(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20))
    picture.save(tmp_path / "a.mpo", save_all=True, append_images=[picture])
    assert load_image(tmp_path / "a.mpo").shape == (20, 30, 3)


def test_avif_is_not_taken_for_heic(tmp_path: Path) -> None:
    photo(tmp_path / "a.avif", (20, 30))
    assert load_image(tmp_path / "a.avif").shape == (20, 30, 3)
    data = (tmp_path / "a.avif").read_bytes()
    (tmp_path / "b.avif").write_bytes(data[:8] + b"mif1" + data[12:])
    assert load_image(tmp_path / "b.avif").shape == (20, 30, 3)


def photo(path: Path, size: tuple[int, int], **save: object) -> Path:
    """Smooth, as photographs are: what is averaged in one way or another comes out alike."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path, **save)
    return path


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("name", "size"), [("a.png", (20, 30)), *(("a.jpg", size) for size in ((96, 128), (49, 65), (200, 300)))]
)
def test_a_picture_that_is_no_jpeg_or_not_twice_as_large_is_made_small_by_the_one_rule(tmp_path, rule, name, size):
    path = photo(tmp_path / name, (96, 128))
    assert np.array_equal(load_small(path, size, rule), resize(load_image(path), size, rule)[0])


@pytest.mark.parametrize("source", [(384, 512), (383, 509), (300, 900), (1000, 1333)])
@pytest.mark.parametrize("rule", RULES)
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path, source, rule, monkeypatch):
    path = photo(tmp_path / "large.jpg", source, quality=95)
    loaded = []
    as_ever = Image.Image.reduce
    monkeypatch.setattr(Image.Image, "reduce", lambda self, *args: loaded.append(self.size) or as_ever(self, *args))
    size = (48, 64)
    small, expected = load_small(path, size, rule), resize(load_image(path), size, rule)[0]
    assert small.shape == expected.shape == (48, 64, 3)
    difference = np.abs(small.astype(int) - expected)
    if rule == "mediapipe":
        assert not difference.any() and not loaded
    else:
        assert difference.mean() < 1 and difference.max() <= 12
        # What is decoded is never smaller than what is wanted.
        fit = fit_to(source, size, rule)
        halved = max(h for h in (1, 2, 4, 8) if h <= 1 / max(fit.scale_x, fit.scale_y))
        assert halved > 1
        assert all(side in ((source[1] + halved - 1) // halved, source[1]) for side, _ in loaded)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("stored", [(256, 320), (251, 317)])
@pytest.mark.parametrize("recorded", [None, "stored", "shown"])
def test_a_large_jpeg_is_turned_as_ever(tmp_path, orientation, stored, recorded):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = photo(tmp_path / "turned.jpg", stored, exif=exif, quality=95)
    shown = load_image(path).shape[:2]
    size = {None: None, "stored": stored, "shown": shown}[recorded]
    for rule in ("stretch", "letterbox"):
        small, expected = load_small(path, (64, 48), rule, size), resize(load_image(path, size), (64, 48), rule)[0]
        difference = np.abs(small.astype(int) - expected)
        assert difference.mean() < 1 and difference.max() <= 12


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_large_jpeg_of_another_mode_looks_the_same(tmp_path, mode):
    Image.open(photo(tmp_path / "rgb.png", (256, 320))).convert(mode).save(path := tmp_path / "large.jpg", quality=95)
    small, expected = load_small(path, (64, 48)), resize(load_image(path), (64, 48))[0]
    assert np.abs(small.astype(int) - expected).mean() < 1


def test_what_is_no_large_jpeg_is_an_error_that_names_it(tmp_path):
    path = photo(tmp_path / "large.jpg", (256, 320))
    path.write_bytes(path.read_bytes()[:-600])
    for read in (load_image, lambda file: load_small(file, (64, 48))):
        with pytest.raises(ValueError, match=r"large\.jpg: image is damaged or truncated \(OSError: "):
            read(path)
    with pytest.raises(ValueError, match=r"gone\.jpg: image cannot be read"):
        load_small(tmp_path / "gone.jpg", (64, 48))
    with pytest.raises(ValueError, match="resize: unknown rule, got 'crop'"):
        load_small(photo(tmp_path / "large.jpg", (256, 320)), (64, 48), "crop")
