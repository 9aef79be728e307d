"""The training input on images of every odd kind."""

from pathlib import Path

import numpy as np
import pytest
from data_folders import write_image
from PIL import Image, ImageOps

from micro_yolo.pipeline.data import Split
from micro_yolo.pipeline.data.input import Batches, Images
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.tflite.image import RULES

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
    assert (boxes[:, 0] >= 0).all()
    assert (classes[:, 0] == 0).all() and (classes[:, 1:] == -1).all()


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
    assert (classes[[0, 5], 0] == 0).all() and (classes[[0, 5], 1:] == -1).all()
    assert (classes[1:5] == -1).all()
    assert (boxes[1:5] == -1).all()
    assert images.usable.tolist() == ([0, 5] if held else [0, 1, 2, 3, 4, 5])


def test_not_one_readable_is_an_error(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("no image")
    with pytest.raises(ValueError, match=r"train: not one image can be decoded; the first: .*text\.jpg: not an image"):
        Images(split_of([path], [(48, 64)]), SIZE, "stretch").hold()


def crowded(tmp_path: Path, counts: list[int]) -> Split:
    """Images of several sizes with so many boxes each, numbered by their classes; every fifth is a crowd's."""
    rng = np.random.default_rng(0)
    sizes = [((48, 64), (50, 30), (32, 64))[i % 3] for i in range(len(counts))]
    files = [write_image(tmp_path / f"{i}.png", size) for i, size in enumerate(sizes)]
    starts = np.concatenate([[0], np.cumsum(counts)])
    corners = rng.uniform(0, 15, (starts[-1], 2))
    return Split(
        name="train",
        files=tuple(files),
        image_ids=np.arange(len(counts)),
        sizes=np.array(sizes, np.int32),
        boxes_xyxy=np.concatenate([corners, corners + rng.uniform(4, 15, corners.shape)], 1).astype(np.float32),
        classes=np.arange(starts[-1], dtype=np.int32),
        crowd=np.arange(starts[-1]) % 5 == 4,
        areas=np.full(starts[-1], 100, np.float32),
        starts=starts,
    )


@pytest.mark.parametrize("rule", RULES)
def test_boxes_are_laid_as_their_pictures_are(tmp_path, rule):
    split = crowded(tmp_path, [3, 0, 7, 20, 1, 0])
    order = np.array([3, 5, 0, 2, 3])
    boxes = Images(split, SIZE, rule).boxes(order)
    for place, index in enumerate(order):
        rows = np.arange(split.starts[index], split.starts[index + 1])
        rows = rows[~split.crowd[rows]]
        fit = split.picture(index, SIZE, rule)[1]
        mine = boxes.where(boxes.images == place)
        assert mine.classes.tolist() == rows.tolist()
        assert np.array_equal(mine.xyxy, fit.boxes_to_model(split.boxes_xyxy[rows]))
    assert (np.diff(boxes.images) >= 0).all()


def epoch(images: Images, *, number: int = 1, augmented: bool = True, **more):
    batches = Batches(images, 4, Strength(mosaic=0.5), seed=3, **more)
    batches.start_epoch(number)
    return [tuple(x.numpy() for x in batch) for batch in batches.dataset(augmented=augmented)]


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("augmented", [True, False])
def test_batches_are_the_same_however_many_read_and_wherever_they_are_held(tmp_path, augmented):
    split = crowded(tmp_path, [i % 6 for i in range(22)])
    made = []
    for readers, cache_bytes, cache in ((1, 0, None), (3, 0, None), (2, 1e9, None), (2, 0, "kept"), (5, 1e9, "kept")):
        images = Images(
            split, SIZE, "stretch", readers=readers, cache_bytes=cache_bytes, cache=cache and tmp_path / cache
        )
        images.hold()
        made.append(epoch(images, augmented=augmented))
    assert len(made[0]) == 5
    assert all(same(made[0], other) for other in made[1:])
    assert same(made[0], epoch(images, augmented=augmented))
    assert not same(made[0], epoch(images, augmented=augmented, number=2))


def test_devices_share_the_batch_that_one_would_have(tmp_path):
    images = Images(crowded(tmp_path, [i % 6 for i in range(22)]), SIZE, "stretch", cache_bytes=0)
    whole = epoch(images)
    for replicas, workers in ((2, 1), (4, 1), (2, 2), (4, 2)):
        parts = [epoch(images, replicas=replicas, workers=workers, worker=worker) for worker in range(workers)]
        local, each = replicas // workers, 4 // replicas
        for step, (pixels, boxes, classes) in enumerate(whole):
            for replica in range(replicas):
                mine = slice(replica * each, (replica + 1) * each)
                worker, place = divmod(replica, local)
                found = parts[worker][step * local + place]
                assert np.array_equal(found[0], pixels[mine])
                room = min(found[2].shape[1], classes.shape[1])
                assert np.array_equal(found[1][:, :room], boxes[mine, :room])
                assert np.array_equal(found[2][:, :room], classes[mine, :room])
                assert (found[2][:, room:] == -1).all() and (classes[mine, room:] == -1).all()


def test_an_epoch_has_each_image_once_and_its_last_ones_change(tmp_path):
    split = crowded(tmp_path, [1] * 10)
    split.crowd[:] = False
    images = Images(split, SIZE, "stretch")
    seen = [np.concatenate([c[:, 0] for _, _, c in epoch(images, augmented=False, number=n)]) for n in (1, 2)]
    assert all(len(set(classes)) == 8 for classes in seen)
    assert set(seen[0]) != set(seen[1])


def test_only_a_batch_with_many_boxes_has_room_for_many(tmp_path):
    split = crowded(tmp_path, [40, *[2] * 11])
    rooms = sorted(batch[2].shape[1] for batch in epoch(Images(split, SIZE, "stretch"), augmented=False))
    assert rooms == [16, 16, 32]


def test_no_epoch_waits_for_a_tuner(tmp_path):
    images = Images(crowded(tmp_path, [1] * 8), SIZE, "stretch")
    dataset = Batches(images, 4, Strength(), seed=0).dataset(augmented=True)
    assert dataset.options().autotune.enabled is False


def test_images_with_rare_classes_come_oftener(tmp_path):
    split = crowded(tmp_path, [1] * 16)
    split.crowd[:] = False
    split.classes[:] = [0] * 14 + [1, 1]
    images = Images(split, SIZE, "stretch")
    seen = {}
    for balance in (0.0, 1.0):
        parts = [epoch(images, augmented=False, balance=balance, number=n) for n in range(1, 9)]
        assert [len(batches) for batches in parts] == [4] * 8
        seen[balance] = np.mean([c[:, 0] == 1 for batches in parts for _, _, c in batches])
    assert seen[0.0] == 2 / 16
    # Four times as often as the others: 8 of 22.
    assert seen[1.0] == pytest.approx(8 / 22, abs=0.05)
