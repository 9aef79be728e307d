"""What a pupil learns from a teacher, and from which of its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from micro_yolo.model import hints as lessons
from micro_yolo.model.build import behind, build
from micro_yolo.model.hints import Hint
from micro_yolo.model.keras import keras
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.start.begin import with_start
from micro_yolo.model.start.record import STARTS
from micro_yolo.model.zoo import ARCHS

TEACHER = ARCHS["micro_yolo_mobile"].resized((96, 128))
PUPIL = Arch(
    "pupil",
    (
        Row("l1", "conv", 8, k=3, s=2),
        Row("l2", "conv", 16, k=3, s=2),
        Row("l3", "conv", 24, k=3, s=2),
        Row("l4", "conv", 96, k=3, s=2),
        Row("l5", "conv", 32),
        Row("l6", "conv", 64, k=3, s=2),
        Row("d1", "detect", anchors=((12, 12),)),
        Row("l7", "conv", 16, src=("l5",)),
        Row("d2", "detect", anchors=((6, 6),)),
    ),
    size=(96, 128),
)


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> list[np.ndarray]:
    from micro_yolo.tflite.image import load_image, resize

    files = sorted((shared_data / "playing_cards" / "images").glob("*.jpg"))[:8]
    pixels = np.stack([resize(load_image(file), TEACHER.size)[0] for file in files])
    return [pixels[:4], pixels[4:]]


def test_rows_as_wide_as_the_teachers_learn_from_it_on_their_grid() -> None:
    assert lessons.hints(ARCHS["micro_yolo"], ARCHS["micro_yolo_mobile"]) == (
        Hint("l9", "b12"),
        Hint("l11", "b16"),
        Hint("l13", "b16"),
        Hint("l15", "b16"),
        Hint("l22", "b12"),
    )


def test_the_widest_does_where_none_is_wide_enough() -> None:
    assert lessons.hints(PUPIL, TEACHER) == (Hint("l4", "b12"), Hint("l6", "b16"))


def test_what_a_hinted_row_reads_learns_too_and_nothing_behind_it() -> None:
    assert lessons.taught(PUPIL, lessons.hints(PUPIL, TEACHER)) == ("l1", "l2", "l3", "l4", "l5", "l6")
    micro_yolo = ARCHS["micro_yolo"]
    learn = lessons.taught(micro_yolo, lessons.hints(micro_yolo, TEACHER))
    assert {row.name for row in micro_yolo.rows if row.out} == {*learn}


def test_who_cannot_teach_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher: must be a network with start weights, got micro_yolo"):
        lessons.hints(PUPIL, ARCHS["micro_yolo"])
    rows = (*PUPIL.rows[:6], Row("l8", "conv", 8, k=3, s=2), Row("d1", "detect", anchors=((12, 12),)))
    coarse = Arch("coarse", rows, size=(128, 128))
    with pytest.raises(ValueError, match="micro_yolo_mobile has no row on a grid that coarse detects on"):
        lessons.hints(coarse, TEACHER)


def test_a_teacher_says_what_its_start_says_channels_alike(photographs: list[np.ndarray]) -> None:
    given = lessons.hints(PUPIL, TEACHER)
    said = lessons.teaching(TEACHER, given, photographs)
    every = [np.concatenate(parts) for parts in zip(*([x.numpy() for x in said(p)] for p in photographs), strict=True)]
    assert [x.shape for x in every] == [(8, 6, 8, 96), (8, 3, 4, 320)]
    for features in every:
        np.testing.assert_allclose(features.mean((0, 1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(features.std((0, 1, 2)), 1, atol=0.02)
    network = build(TEACHER)
    with_start(network, TEACHER, STARTS[TEACHER.start].layers(), photographs)
    start = keras.Model(network.input, behind(network, "b12"))(photographs[0].astype(np.float32)).numpy()
    channel = np.corrcoef(start[..., 5].ravel(), every[0][:4, ..., 5].ravel())[0, 1]
    assert channel == pytest.approx(1, abs=1e-4)


def test_a_pupil_is_its_network_and_a_convolution_for_each_hint(photographs: list[np.ndarray]) -> None:
    network, given = build(PUPIL), lessons.hints(PUPIL, TEACHER)
    model = lessons.pupil(network, given, TEACHER)
    assert [tuple(x.shape[1:]) for x in model.outputs] == [(6, 8, 96), (3, 4, 320)]
    own = {layer.name for layer in model.layers if layer.weights}
    assert own - {layer.name for layer in network.layers} == {"hint_l4", "hint_l6"}
    assert all(model.get_layer(name) is network.get_layer(name) for name in own if not name.startswith("hint_"))
    assert not any(name.startswith(("l7", "d1", "d2")) for name in own)


def test_the_distance_is_the_mean_of_the_hints() -> None:
    near, far = np.zeros((1, 2, 2, 4), np.float32), np.full((1, 1, 1, 8), 3, np.float32)
    assert lessons.distance([near, far], [near + 1, far - far]).numpy() == pytest.approx((1 + 9) / 2)
    assert lessons.distance([near, far], [near, far]).numpy() == 0


def test_behind_names_a_row_that_is_none() -> None:
    with pytest.raises(ValueError, match="no layers of a row 'l0'"):
        behind(build(PUPIL), "l0")
