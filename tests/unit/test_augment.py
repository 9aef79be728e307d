import numpy as np
import pytest

from micro_yolo.model.keras import tf
from micro_yolo.pipeline.data import augment, pixels
from micro_yolo.pipeline.data.strength import Strength

STILL = {name: 0.0 for name in Strength.__dataclass_fields__}
BATCH, HEIGHT, WIDTH = 4, 64, 96


def pictures() -> np.ndarray:
    """Black images with one white block; its box is known from the pixels alone."""
    images = np.zeros((BATCH, HEIGHT, WIDTH, 3), np.uint8)
    for i in range(BATCH):
        images[i, 20 : 36 + i, 30 : 54 + 2 * i] = 255
    return images


BOXES = np.array([[[30, 20, 54 + 2 * i, 36 + i]] for i in range(BATCH)], np.float32)
CLASSES = np.arange(BATCH, dtype=np.int32)[:, None]


def changed(epoch: int = 1, seed: int = 0, **strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a batch of the pictures becomes, made as in training."""
    rng = np.random.default_rng([seed, epoch])
    drawn = augment.draw(Strength(**{**STILL, **strength}), BATCH, rng)
    images, boxes = pictures(), augment.Boxes(BOXES[:, 0], CLASSES[:, 0], np.arange(BATCH))
    if drawn.together is not None:
        parts = drawn.together.ravel()
        images = augment.mosaic(images, drawn.together, drawn.centres)
        boxes = augment.Boxes(boxes.xyxy[parts], boxes.classes[parts], np.arange(len(parts)))
        boxes = augment.mosaic_boxes(boxes, drawn.centres, (HEIGHT, WIDTH))
    boxes = augment.warp_boxes(boxes, drawn.warps, (HEIGHT, WIDTH))
    made = pixels.changed(tf.constant(images), *(tf.constant(x, tf.float32) for x in (drawn.warps, drawn.colours)))
    return made.numpy(), *boxes.padded(BATCH)


def white_box(image: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(image[..., 0] > 200)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_strength_zero_changes_nothing():
    images, boxes, classes = changed()
    assert np.abs(images - pictures()).max() < 0.01
    assert np.allclose(boxes[:, :1], BOXES)
    assert np.array_equal(classes[:, :1], CLASSES)
    assert (classes[:, 1:] == -1).all()


@pytest.mark.parametrize("strength", [{"flip": 1.0}, {"scale": 0.3}, {"aspect": 0.3}, {"shift": 0.1}])
def test_boxes_follow_the_pixels(strength):
    images, boxes, classes = changed(**strength)
    for image, box, label in zip(images, boxes[:, 0], classes[:, 0], strict=True):
        assert label >= 0
        assert np.abs(np.array(white_box(image)) - box).max() <= 1.01


def test_flip_mirrors():
    images, boxes, _ = changed(flip=1.0)
    assert np.abs(images - pictures()[:, :, ::-1]).max() < 0.01
    assert boxes[0, 0].tolist() == [WIDTH - 54, 20, WIDTH - 30, 36]


def test_mosaic_boxes_enclose_what_is_white():
    images, boxes, classes = changed(mosaic=1.0)
    for image, rows, labels in zip(images, boxes, classes, strict=True):
        inside = np.zeros(image.shape[:2], bool)
        for x0, y0, x1, y1 in rows[labels >= 0]:
            inside[int(np.floor(y0)) : int(np.ceil(y1)) + 1, int(np.floor(x0)) : int(np.ceil(x1)) + 1] = True
        lost = (image[..., 0] > 200) & ~inside
        # Slivers of a block cut at the edge lose their box.
        assert lost.sum() <= 0.2 * (image[..., 0] > 200).sum()
    assert (classes >= 0).sum() > BATCH


def test_a_mosaic_shows_of_each_image_the_corner_opposite_to_its_own():
    values = np.arange(BATCH * HEIGHT * WIDTH * 3, dtype=np.uint32).reshape(BATCH, HEIGHT, WIDTH, 3)
    images = (values * 2654435761 >> 24).astype(np.uint8)
    made = augment.mosaic(images, np.array([[0, 1, 2, 3], [3, 3, 0, 1]]), np.array([[0.25, 0.5], [0.75, 0.25]]))
    assert made.shape == (2, HEIGHT, WIDTH, 3) and made.dtype == np.uint8
    assert np.array_equal(made[0, :32, :24], images[0, 32:, 72:])
    assert np.array_equal(made[0, :32, 24:], images[1, 32:, :72])
    assert np.array_equal(made[0, 32:, :24], images[2, :32, 72:])
    assert np.array_equal(made[0, 32:, 24:], images[3, :32, :72])
    assert np.array_equal(made[1, :16, :72], images[3, 48:, 24:])
    assert np.array_equal(made[1, 16:, 72:], images[1, :48, :24])


def test_the_boxes_of_a_mosaic_are_those_of_its_parts_where_they_are_seen():
    whole = np.array([[0, 0, WIDTH, HEIGHT]] * 8, np.float32)
    boxes = augment.Boxes(whole, np.arange(8, dtype=np.int32), np.arange(8))
    made = augment.mosaic_boxes(boxes, np.array([[0.25, 0.5], [0.75, 0.25]]), (HEIGHT, WIDTH))
    # Of the others less than a fifth is seen.
    assert made.classes.tolist() == [1, 3, 6]
    assert made.images.tolist() == [0, 0, 1]
    assert made.xyxy.tolist() == [[24, 0, 96, 32], [24, 32, 96, 64], [0, 16, 72, 64]]
    corners = np.array([[84, 40, 96, 64], [0, 40, 24, 60], [90, 0, 100, 20], [5, 5, 9, 9]], np.float32)
    made = augment.mosaic_boxes(
        augment.Boxes(corners, np.arange(4), np.arange(4)), np.array([[0.25, 0.5]]), (HEIGHT, WIDTH)
    )
    assert made.xyxy.tolist() == [[12, 8, 24, 32], [24, 8, 48, 28], [18, 32, 28, 52], [29, 37, 33, 41]]
    hidden = augment.Boxes(np.array([[0, 0, 72, 32]], np.float32), np.zeros(1, np.int32), np.zeros(1, np.int64))
    assert not len(augment.mosaic_boxes(hidden, np.array([[0.25, 0.5]]), (HEIGHT, WIDTH)).classes)


# At -0.52 the narrowest shows 4.08 of its 24 pixels, the next 6.08 of 26: a fifth is asked for.
@pytest.mark.parametrize(("shift", "seen"), [(0.65, []), (-0.45, [0, 1, 2, 3]), (-0.52, [1, 2, 3])])
def test_boxes_moved_out_of_sight_are_dropped(shift, seen):
    boxes = augment.Boxes(BOXES[:, 0], CLASSES[:, 0], np.arange(BATCH))
    out = augment.warp_boxes(boxes, np.array([[1.0, 1.0, shift, 0.0]] * BATCH), (HEIGHT, WIDTH))
    assert out.classes.tolist() == out.images.tolist() == seen
    assert len(out.xyxy) == len(seen)


def test_a_box_of_less_than_two_pixels_is_dropped():
    boxes = augment.Boxes(
        np.array([[40, 30, 44, 50], [40, 30, 43.9, 50]], np.float32), np.array([0, 1]), np.zeros(2, int)
    )
    out = augment.warp_boxes(boxes, np.array([[0.5, 0.5, 0.0, 0.0]]), (HEIGHT, WIDTH))
    assert out.classes.tolist() == [0]


def test_there_is_room_for_the_most_boxes_of_this_batch_and_no_other():
    def padded(*counts: int) -> tuple[np.ndarray, np.ndarray]:
        owners = np.repeat(np.arange(len(counts)), counts)
        numbers = np.arange(len(owners), dtype=np.int32)
        return augment.Boxes(np.repeat(numbers[:, None], 4, 1).astype(np.float32), numbers, owners).padded(len(counts))

    for most, room in ((0, 16), (1, 16), (16, 16), (17, 32), (32, 32), (33, 64), (64, 64)):
        boxes, classes = padded(0, most, 2)
        assert boxes.shape == (3, room, 4) and classes.shape == (3, room)
        assert classes[1].tolist() == [*range(most), *[-1] * (room - most)]
        assert classes[2, :3].tolist() == [most, most + 1, -1]
        assert (boxes[..., 0] == classes).all()


def test_a_share_of_a_batch_is_changed_as_in_the_whole():
    drawn = augment.draw(Strength(mosaic=1.0), 8, np.random.default_rng(0))
    half = drawn.of(slice(4, 8))
    for name in ("together", "centres", "warps", "colours"):
        assert np.array_equal(getattr(half, name), getattr(drawn, name)[4:])
    assert augment.draw(Strength(mosaic=0.0), 8, np.random.default_rng(0)).of(slice(4, 8)).together is None


def test_what_is_drawn_is_as_wide_as_asked_for():
    s = Strength(mosaic=1.0)
    drawn = augment.draw(s, 20_000, np.random.default_rng(0))
    assert np.array_equal(drawn.together[:, 0], np.arange(20_000))
    assert (drawn.together.min(), drawn.together.max()) == (0, 19_999)
    assert abs(drawn.centres.min() - 0.25) < 0.001 and abs(drawn.centres.max() - 0.75) < 0.001
    scale_x, scale_y, shift_x, shift_y = drawn.warps.T
    assert abs((scale_x < 0).mean() - s.flip) < 0.02
    size, stretch = np.sqrt(np.abs(scale_x) * scale_y), np.abs(scale_x) / scale_y
    assert abs(size.min() - (1 - s.scale)) < 0.001 and abs(size.max() - (1 + s.scale)) < 0.001
    assert abs(np.log(stretch).min() + s.aspect) < 0.001 and abs(np.log(stretch).max() - s.aspect) < 0.001
    for shift in (shift_x, shift_y):
        room = s.shift + np.maximum(size - 1, 0) / 2
        assert (np.abs(shift) <= room).all()
        assert abs(np.abs(shift / room).mean() - 0.5) < 0.01
    grey = drawn.colours @ np.array([127.5, 127.5, 127.5, 1])
    assert abs(grey.min() / 127.5 - (1 - s.brightness)) < 0.001
    assert abs(grey.max() / 127.5 - (1 + s.brightness)) < 0.001


def test_the_epoch_and_the_seed_decide():
    free = {"flip": 0.5, "scale": 0.5, "hue": 0.1, "contrast": 0.3, "mosaic": 0.5}
    first, again = changed(epoch=3, **free), changed(epoch=3, **free)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], changed(epoch=4, **free)[0])
    assert not np.array_equal(first[0], changed(epoch=3, seed=1, **free)[0])


def test_colour_keeps_grey_grey_under_hue_and_saturation():
    drawn = augment.draw(Strength(**{**STILL, "hue": 0.2, "saturation": 0.9}), BATCH, np.random.default_rng(0))
    out = pixels.recoloured(tf.fill((BATCH, 8, 8, 3), 77.0), tf.constant(drawn.colours, tf.float32)).numpy()
    assert np.abs(out - 77).max() < 0.01


def test_what_is_uncovered_is_grey():
    warps = tf.constant([[0.5, 0.5, 0.0, 0.0]] * BATCH)
    out = pixels.warped(tf.constant(pictures()), warps).numpy()
    assert (out[:, [0, -1]] == 114).all() and (out[:, :, [0, -1]] == 114).all()
    inside = out[:, HEIGHT // 4 + 1 : -HEIGHT // 4 - 1, WIDTH // 4 + 1 : -WIDTH // 4 - 1]
    assert set(np.unique(inside[..., 0] > 114)) == {False, True} and (inside != 114).all()


def test_colour_changes_stay_in_range():
    images, _, _ = changed(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5)
    assert images.min() >= 0
    assert images.max() <= 255
    assert np.abs(images - pictures()).max() > 10


def test_strength_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"augment\.flip: must be in 0\.\.1, got 2"):
        Strength(flip=2)
