"""The training input on images of every odd kind."""

from pathlib import Path

import numpy as np
import pytest
from data_folders import write_image
from PIL import Image, ImageOps

from micro_yolo.pipeline.data import Split
from micro_yolo.pipeline.data.input import Images

SIZE = (32, 64)
RED, BLUE = (220, 20, 20), (20, 20, 220)


def split_of(files: list[Path], sizes: list[tuple[int, int]], box: tuple[float, ...] = (4, 6, 20, 16)) -> Split:
    n = len(files)
    return Split(
        name="train",
        files=tuple(files),
        image_ids=np.arange(n),
        sizes=np.array(sizes, np.int32),
        boxes_xyxy=np.array([box] * n, np.float32),
        classes=np.zeros(n, np.int32),
        crowd=np.zeros(n, bool),
        areas=np.full(n, 100, np.float32),
        starts=np.arange(n + 1),
    )


@pytest.mark.parametrize("rule", ["stretch", "letterbox", "mediapipe"])
@pytest.mark.parametrize("cache_bytes", [0, 1e9])
def test_every_kind_of_image_becomes_pixels(tmp_path, rule, cache_bytes):
    files = []
    for mode in ("L", "P", "RGBA", "LA", "1"):
        Image.fromarray(np.full((48, 64, 3), 204, np.uint8)).convert(mode).save(path := tmp_path / f"{mode}.png")
        files.append(path)
    Image.fromarray(np.full((48, 64), 204 << 8, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((48, 64, 3), 204, np.uint8)).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    files += [tmp_path / "deep.png", tmp_path / "cmyk.jpg"]
    images = Images(split_of(files, [(48, 64)] * len(files)), SIZE, rule, cache_bytes=cache_bytes)
    images.hold()
    pixels, boxes, classes = images.batch(np.arange(len(files)))
    assert not images.unreadable
    assert pixels.shape == (len(files), *SIZE, 3)
    # 204 is in the usual palette; one bit a pixel dithers it into black and white.
    middle = pixels[[i for i, file in enumerate(files) if file.name != "1.png"], 8:24, 24:40]
    assert np.abs(middle.astype(int) - 204).max() <= 3
    assert (boxes >= 0).all()
    assert (classes == 0).all()


@pytest.mark.parametrize("rule", ["stretch", "letterbox", "mediapipe"])
def test_thin_and_huge_images(tmp_path, rule):
    sizes = [(500, 1), (1, 500), (1, 1), (40, 10_000), (10_000, 40)]
    files = [write_image(tmp_path / f"{h}x{w}.png", (h, w)) for h, w in sizes]
    images = Images(split_of(files, sizes, box=(0, 0, 1, 1)), SIZE, rule)
    images.hold()
    assert not images.unreadable
    _, boxes, _ = images.batch(np.arange(len(files)))
    assert np.isfinite(boxes).all()
    assert (boxes[:, 0, 2:] <= (SIZE[1], SIZE[0])).all()


# Of a mirrored or upside-down picture (2, 3, 4) the recorded size does not tell which was meant: it is as shown.
@pytest.mark.parametrize(
    ("orientation", "as_stored"), [*((n, False) for n in range(1, 9)), *((n, True) for n in (1, 5, 6, 7, 8))]
)
def test_exif_turned_as_its_boxes_are_meant(tmp_path, orientation, as_stored):
    """The box encloses the red patch, whichever way round its maker looked at the picture."""
    stored = np.full((48, 64, 3), BLUE, np.uint8)
    stored[6:16, 4:20] = RED
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path := tmp_path / "turned.png", exif=exif)
    if as_stored:
        size, box = (48, 64), (4, 6, 20, 16)
    else:
        shown = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        rows, columns = np.nonzero(shown[..., 0] > 100)
        size, box = shown.shape[:2], (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    images = Images(split_of([path], [size], box), (96, 96), "stretch")
    images.hold()
    pixels, boxes, _ = images.batch(np.array([0]))
    red = np.zeros((96, 96), bool)
    x1, y1, x2, y2 = boxes[0, 0].round().astype(int)
    red[y1:y2, x1:x2] = True
    assert ((pixels[0, ..., 0] > 120) == red).mean() > 0.98


@pytest.mark.parametrize("held", [True, False])
def test_what_cannot_be_read_is_named_once_and_teaches_nothing(tmp_path, held):
    files = [write_image(tmp_path / f"{name}.jpg") for name in ("good", "cut", "text", "empty", "gone", "fine")]
    files[1].write_bytes(files[1].read_bytes()[:300])
    files[2].write_text("no image")
    files[3].write_bytes(b"")
    files[4].unlink()
    images = Images(split_of(files, [(48, 64)] * 6), SIZE, "stretch", cache_bytes=1e9 if held else 0)
    images.hold()
    for _ in range(2):
        _, boxes, classes = images.batch(np.arange(6))
    assert set(images.unreadable) == {str(file) for file in files[1:5]}
    assert all(reason.startswith(file) for file, reason in images.unreadable.items())
    assert (classes[[0, 5]] == 0).all()
    assert (classes[1:5] == -1).all()
    assert (boxes[1:5] == -1).all()
    assert images.usable.tolist() == ([0, 5] if held else [0, 1, 2, 3, 4, 5])


def test_not_one_readable_is_an_error(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("no image")
    with pytest.raises(ValueError, match=r"train: not one image can be decoded; the first: .*text\.jpg: not an image"):
        Images(split_of([path], [(48, 64)]), SIZE, "stretch").hold()
