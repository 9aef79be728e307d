"""A head is one thing: what a table, its counts, its channels and its settings are told by it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from micro_yolo.model.channels import channels_of
from micro_yolo.model.count import count
from micro_yolo.model.heads import HEADS, head_of, settings_of
from micro_yolo.model.heads.base import Head
from micro_yolo.model.heads.part import Part
from micro_yolo.model.heads.yolo import Settings, Yolo
from micro_yolo.model.spec import Arch, DetectionRow, Row
from micro_yolo.model.zoo import ARCHS

ANCHORS = ((10.0, 20.0), (30.0, 40.0))


class Points(Yolo):
    """One point a cell, its presence a number of its own."""

    op = "points"
    coding = "points/1"
    fields = ()
    parts = (Part("place", "xy", 2, lambda classes: 0.0), Part("classes", "cls", None, lambda classes: -1.0))

    def check(self, row: Row, where: str) -> None:
        """Nothing to check."""

    def predictions(self, row: Row) -> int:
        """One a cell."""
        return 1


def table(*detections: Row) -> Arch:
    return Arch("net", (Row("c", "conv", 8, k=3, s=2), *detections), size=(32, 64), classes=3)


def test_every_head_is_registered_by_its_op_and_has_a_coding_of_its_own() -> None:
    assert all(head.op == op for op, head in HEADS.items())
    assert len({head.coding for head in HEADS.values()}) == len(HEADS)
    assert {arch.name: head_of(arch).op for arch in ARCHS.values()} == dict.fromkeys(ARCHS, "detect")


def test_parts_and_widths_of_yolo() -> None:
    yolo, row = HEADS["detect"], Row("d", "detect", anchors=ANCHORS)
    assert [(part.name, part.layer) for part in yolo.parts] == [
        ("boxes", "box"), ("objectness", "obj"), ("classes", "cls"),
    ]  # fmt: skip
    assert yolo.widths(row, 7) == {"boxes": 2 * 4, "objectness": 2, "classes": 2 * 7}
    assert yolo.coding == "yolo-sigmoid-exp4/1"
    # A score is objectness times class; at the start the first is 1 % and the classes share 60 %.
    assert [part.bias(80) for part in yolo.parts] == pytest.approx([0, -4.6, np.log(0.6 / 79.01)])


def test_a_head_of_other_parts_is_a_network_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "points", Points())
    arch = table(Row("p", "points"), Row("q", "points", src=("c",)))
    assert Arch.from_json(json.loads(json.dumps(arch.to_json()))) == arch
    assert arch.detections == [DetectionRow("p", 2, ()), DetectionRow("q", 2, ())]
    assert arch.channels["p"] == 2 + 3
    counted = count(arch).rows[1]
    assert (counted.params, counted.macs) == (5 * 8 + 5, 16 * 32 * 5 * 8)
    assert {axis.layer for axis in channels_of(arch).axes} == {"c_conv", "c_bn", "p_xy", "p_cls", "q_xy", "q_cls"}
    assert head_of(arch).coding == "points/1"
    with pytest.raises(ValueError, match=r"^net\.p: points has no anchors, got "):
        table(Row("p", "points", anchors=ANCHORS))
    with pytest.raises(ValueError, match=r"^net: all detection rows must be of one op, got points, detect$"):
        table(Row("p", "points"), Row("d", "detect", anchors=ANCHORS, src=("c",)))
    with pytest.raises(ValueError, match=r"^net\.d: reads the points row 'p'; name another in src$"):
        table(Row("p", "points"), Row("d", "conv", 4))


def test_settings_are_the_heads_and_can_be_changed_one_by_one() -> None:
    arch = ARCHS["micro_yolo"]
    recorded = dataclasses.asdict(settings_of(arch))
    assert recorded == {"box": 10.0, "objectness": 1.0, "classes": 1.0, "classes_first": 6.0, "fit_ratio": 2.5}
    assert settings_of(arch, json.loads(json.dumps(recorded))) == Settings()
    # Stages of before had boxes and classes weigh the same to the end.
    assert settings_of(arch, {"box": 5}) == Settings(box=5, classes_first=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"boxes": 5}, "loss: unknown setting 'boxes'; allowed: box, objectness, classes, classes_first, fit_ratio"),
        ({"box": -1}, "loss.box: must be a number of at least 0, got -1"),
        ({"objectness": "1"}, "loss.objectness: must be a number of at least 0, got '1'"),
        ({"classes": float("nan")}, "loss.classes: must be a number of at least 0, got nan"),
        ({"fit_ratio": 0.9}, "loss.fit_ratio: must be a number of at least 1, got 0.9"),
    ],
)
def test_wrong_settings(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError) as error:
        settings_of(ARCHS["micro_yolo"], given)
    assert str(error.value) == message


def test_anchors_are_fitted_to_boxes_and_the_finest_grid_gets_the_smallest() -> None:
    rng = np.random.default_rng(0)
    shapes = np.concatenate([centre * rng.normal(1, 0.02, (60, 2)) for centre in (8.0, 20.0, 50.0)])
    rows = (
        Row("a", "conv", 4, k=3, s=4),
        Row("coarse", "detect", anchors=((60, 60),)),
        Row("u", "upsample", s=2, src=("a",)),
        Row("fine", "detect", anchors=((10, 10), (30, 30))),
    )
    arch = Arch("net", rows, size=(64, 64), classes=1)
    fitted, sentence = head_of(arch).fit(arch, shapes, np.zeros(len(shapes), int), 3)
    assert [row.row_name for row in fitted.detections] == ["coarse", "fine"]
    np.testing.assert_allclose(fitted.detections[0].anchors, [(50, 50)], rtol=0.02)
    np.testing.assert_allclose(fitted.detections[1].anchors, [(8, 8), (20, 20)], rtol=0.02)
    # Boxes of 8, 20 and 50 in anchors of 10, 30 and 60: (64/100 + 400/900 + 2500/3600) / 3 = 0.593.
    assert sentence.startswith("anchors: mean IoU with the best 0.9") and sentence.endswith(", published 0.59")
    assert head_of(arch).fit(arch, shapes, np.zeros(len(shapes), int), 3) == (fitted, sentence)


def test_a_rare_class_gets_an_anchor_of_its_own() -> None:
    """Of 2000 boxes around 100 pixels and 40 around 15: counted alike, all six anchors would go to the first."""
    rng = np.random.default_rng(0)
    shapes = np.concatenate([centre * rng.normal(1, 0.15, (n, 2)) for centre, n in ((100.0, 2000), (15.0, 40))])
    classes = np.repeat([0, 1], [2000, 40])
    arch = table(Row("d", "detect", anchors=(ANCHORS * 3)))
    found = [head_of(arch).fit(arch, shapes, each, 0)[0].detections[0].anchors for each in (classes, 0 * classes)]
    weighted, alike = (sum(width < 40 for width, _ in anchors) for anchors in found)
    assert weighted > alike


def test_a_head_that_fits_nothing_leaves_the_table_alone() -> None:
    arch = ARCHS["yolo_lite"]
    assert Head.fit(HEADS["detect"], arch, np.ones((3, 2)), np.zeros(3, int), 0) == (arch, "")
