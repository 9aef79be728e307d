"""Which images an epoch shows how often, when classes are unequally frequent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from micro_yolo.pipeline import train
from micro_yolo.pipeline.data import Split
from micro_yolo.pipeline.data.balance import MOST, class_repeats, epoch_order, image_repeats, told
from micro_yolo.pipeline.store import resume

SEEDS = range(20)


def split_of(images: list[list[int]], crowds: tuple[int, ...] = ()) -> Split:
    """Images with these classes, a box each; the boxes numbered in `crowds` are of a crowd."""
    classes = np.array([kind for image in images for kind in image], np.int32)
    return Split(
        name="train",
        files=tuple(Path(f"{i}.png") for i in range(len(images))),
        image_ids=np.arange(len(images)),
        sizes=np.full((len(images), 2), 64, np.int32),
        boxes_xyxy=np.tile(np.array([1, 1, 9, 9], np.float32), (len(classes), 1)),
        classes=classes,
        crowd=np.isin(np.arange(len(classes)), crowds),
        areas=np.full(len(classes), 64, np.float32),
        starts=np.concatenate([[0], np.cumsum([len(image) for image in images])]),
    )


def counts_of(repeats: np.ndarray | None, count: int, epochs: int) -> np.ndarray:
    """How often each image was there, in each of the epochs, (epochs, count)."""
    return np.stack(
        [np.bincount(epoch_order(count, 7, epoch, repeats), minlength=count) for epoch in range(1, epochs + 1)]
    )


def test_without_repeats_it_is_the_permutation_that_it_always_was() -> None:
    wanted = np.random.default_rng([3, 2]).permutation(50)
    assert epoch_order(50, 3, 2).tolist() == wanted.tolist()
    assert sorted(wanted) == list(range(50))


def test_a_rare_class_comes_oftener_by_the_root_of_how_rare_it_is() -> None:
    # Of 100 images 95 have class 0 alone, 5 also class 1: on average a class is in 52.5 of them.
    split = split_of([[0, 0]] * 95 + [[0, 1, 1, 1]] * 5)
    assert class_repeats(split, 0.5) == pytest.approx([1.0, (52.5 / 5) ** 0.5])
    assert class_repeats(split, 1.0) == pytest.approx([1.0, MOST])
    repeats = image_repeats(split, 0.5)
    assert repeats is not None
    assert repeats[:95].tolist() == [1.0] * 95
    assert repeats[95:] == pytest.approx(3.24, abs=0.005)


def test_balanced_sets_stay_as_they_are() -> None:
    # One class, with and without empty images; and three that are equally frequent.
    assert image_repeats(split_of([[0]] * 10), 0.5) is None
    assert image_repeats(split_of([[0]] * 10 + [[]] * 30), 0.5) is None
    assert image_repeats(split_of([[0], [1], [2]] * 10), 0.5) is None
    assert image_repeats(split_of([[]] * 4), 0.5) is None
    # As the classes of a set in the wild are, a fifth more or less.
    almost = image_repeats(split_of([[0]] * 84 + [[1]] * 76 + [[2]] * 72), 0.5)
    assert almost is not None
    assert almost.max() < 1.04


def test_none_are_asked_for() -> None:
    assert image_repeats(split_of([[0]] * 95 + [[1]] * 5), 0.0) is None


def test_an_image_is_as_rare_as_its_rarest_class_and_an_empty_one_is_not_rare() -> None:
    split = split_of([[0]] * 60 + [[]] * 20 + [[0, 1]] * 15 + [[1, 2, 0]] * 5)
    of_class, of_image = class_repeats(split, 0.5), image_repeats(split, 0.5)
    assert of_image is not None
    assert of_class[0] == 1 < of_class[1] < of_class[2]
    assert of_image.tolist() == [1.0] * 80 + [of_class[1]] * 15 + [of_class[2]] * 5


def test_boxes_of_crowds_and_classes_without_images_do_not_count() -> None:
    assert image_repeats(split_of([[0]] * 9 + [[0, 1]], crowds=(10,)), 0.5) is None
    # Class 1 of the list has no image: the others' average is of two.
    assert class_repeats(split_of([[0]] * 8 + [[2]] * 2), 0.5) == pytest.approx([1.0, 1.0, (5 / 2) ** 0.5])


def test_two_images_are_not_all_that_is_seen() -> None:
    assert class_repeats(split_of([[0]] * 4000 + [[1]] * 2), 0.5)[1] == MOST


def test_an_epoch_stays_as_long_and_shows_each_image_its_share() -> None:
    repeats = np.array([1.0] * 95 + [3.24] * 5)
    counts = counts_of(repeats, 100, 400)
    share = repeats * (100 / repeats.sum())
    assert (counts.sum(1) == 100).all()
    # Rounded up or down, never farther off.
    assert (np.abs(counts - share) < 1).all()
    assert counts.mean(0) == pytest.approx(share, abs=0.1)


def test_who_is_left_out_changes_and_an_image_does_not_follow_itself() -> None:
    repeats = np.array([1.0] * 95 + [3.24] * 5)
    counts = counts_of(repeats, 100, 60)
    assert (counts[:, :95] == 0).any(0).all()
    assert (counts[:, :95] == 1).any(0).all()
    followed = [np.mean(np.diff(epoch_order(100, 7, epoch, repeats)) == 0) for epoch in range(1, 61)]
    assert np.mean(followed) < 0.02


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    repeats = np.array([1.0] * 20 + [2.5] * 3)
    orders = {tuple(epoch_order(23, seed, epoch, repeats)) for seed in SEEDS for epoch in (1, 2)}
    assert len(orders) == 2 * len(SEEDS)
    assert epoch_order(23, 4, 2, repeats).tolist() == epoch_order(23, 4, 2, repeats.copy()).tolist()


def test_what_is_said_of_it() -> None:
    names = ["ace", "king", "queen", "jack", "ten"]
    assert told(np.array([1.0, 1.04, 1.49]), names) == ""
    assert told(np.array([1.0, 2.17]), names) == (
        "images with rare classes are shown oftener: king 2.2 times; --balance 0 shows all alike"
    )
    assert told(np.array([1.5, 2.0, 1.0, 3.0, 2.0]), names) == (
        "images with rare classes are shown oftener: jack 3.0 times, king 2.0 times, ten 2.0 times and 1 more; "
        "--balance 0 shows all alike"
    )


def test_a_run_of_before_goes_on_as_it_was() -> None:
    file = Path("config.json")
    assert train.Config().balance == 0.5
    assert resume.from_json(train.Config, {"settings": {"batch": 4}}, file).balance == 0.0
    assert resume.from_json(train.Config, {"settings": {"balance": 0.25}}, file).balance == 0.25
