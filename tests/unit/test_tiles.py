"""Windows over a picture, and what is found in them made one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from micro_yolo.pipeline.measure.finders import Advance, Facts, Found, Picture
from micro_yolo.pipeline.measure.tiles import Tiled, merged, windows
from micro_yolo.tflite.decode import Detections

SIDES = st.integers(1, 700)


@given(st.tuples(SIDES, SIDES), st.tuples(st.integers(16, 300), st.integers(16, 300)))
def test_windows_cover_the_picture_and_overlap(size: tuple[int, int], window: tuple[int, int]) -> None:
    found = windows(size, window)
    if size[0] <= window[0] and size[1] <= window[1]:
        assert found == []
        return
    covered = np.zeros(size, bool)
    for left, top, right, bottom in found:
        assert 0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]
        assert (bottom - top, right - left) == (min(window[0], size[0]), min(window[1], size[1]))
        covered[top:bottom, left:right] = True
    assert covered.all()
    for low, axis in ((0, 1), (1, 0)):
        starts = sorted({each[low] for each in found})
        for before, after in itertools.pairwise(starts):
            assert window[axis] - (after - before) >= 0.25 * window[axis] - 1


class Dots:
    """Finds bright pixels, of which it sees those that are at least 3 wide when a picture is as small as its input."""

    labels = ("dot",)
    facts = Facts((32, 32), "stretch", 0.25, 0.5)

    def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        for image in images:
            rows, columns = np.nonzero(image[:, :, 0] > 200)
            boxes = np.zeros((0, 4), np.float32)
            if len(rows) and (np.ptp(columns) + 1) * 32 / image.shape[1] >= 3:
                boxes = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
            yield Found(Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int32)), 1.0)

    def detect(self, pictures: Sequence[Picture], advance: Advance = lambda: None) -> Iterator[Found | str]:
        raise NotImplementedError


def picture(*dots: tuple[int, int, int]) -> np.ndarray:
    image = np.zeros((100, 150, 3), np.uint8)
    for left, top, side in dots:
        image[top : top + side, left : left + side] = 255
    return image


@pytest.mark.parametrize("left", range(0, 147, 7))
def test_what_is_too_small_in_the_whole_is_found_once_in_windows(left: int) -> None:
    (found,) = Tiled(Dots()).look([picture((left, 40, 3))])
    assert found.detections.boxes_xyxy.tolist() == [[left, 40, left + 3, 43]]
    assert len(windows((100, 150), (32, 32))) + 1 == found.ms


def test_a_large_object_is_one_though_windows_cut_it() -> None:
    (found,) = Tiled(Dots()).look([picture((20, 10, 80))])
    assert found.detections.boxes_xyxy.tolist() == [[20, 10, 100, 90]]


def test_of_the_whole_counts_what_is_large() -> None:
    class Sure(Dots):
        def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
            for image in images:
                boxes = np.array([[10, 10, 24, 24], [60, 10, 80, 50]], np.float32)[: 2 * (len(image) == 100)]
                yield Found(Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), int)), 1.0)

    (found,) = Tiled(Sure()).look([picture()])
    assert found.detections.boxes_xyxy.tolist() == [[60, 10, 80, 50]]
    # Without windows the picture is all there is.
    (found,) = Tiled(Sure(), (100, 150)).look([picture()])
    assert len(found.detections) == 2


def test_the_window_is_an_option_and_a_small_picture_is_looked_at_once() -> None:
    assert Tiled(Dots(), (100, 150)).window == (100, 150)
    (found,) = Tiled(Dots(), (100, 150)).look([picture((70, 40, 3))])
    assert (len(found.detections), found.ms) == (0, 1.0)


def test_files_are_looked_at_in_their_recorded_size(tmp_path: Path) -> None:
    Image.fromarray(picture((60, 40, 10))).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    done: list[int] = []
    pictures = [Picture(tmp_path / "a.png"), Picture(tmp_path / "b.png"), Picture(tmp_path / "a.png", (200, 75))]
    found = list(Tiled(Dots()).detect(pictures, lambda: done.append(1)))
    assert len(done) == 3 and "b.png: image file is empty" in str(found[1])
    boxes = [each.detections.boxes_xyxy.tolist() for each in found if isinstance(each, Found)]
    assert boxes == [[[60, 40, 70, 50]], [[30, 80, 35, 100]]]


def test_a_part_goes_and_neighbours_stay() -> None:
    found = Detections(
        np.array([[0, 0, 10, 10], [0, 0, 10, 40], [5, 0, 15, 10], [0, 0, 10, 10], [0, 0, 10, 9], [30, 0, 40, 9]]),
        np.array([0.95, 0.9, 0.8, 0.7, 0.5, 0.5], np.float32),
        np.array([0, 0, 0, 1, 0, 0], np.int32),
    )
    cut = np.array([True, False, False, False, False, True])
    # The first is part of the second, however sure it is; the fourth is of another class; the fifth, not cut, is
    # something smaller in front; the last is part of nothing that was found.
    kept = merged(found, cut, 0.5).scores.tolist()
    assert kept == [pytest.approx(score) for score in (0.9, 0.8, 0.7, 0.5, 0.25)]
    assert len(merged(found, cut & False, 0.2)) == 3
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    assert len(merged(empty, np.zeros(0, bool), 0.5)) == 0
