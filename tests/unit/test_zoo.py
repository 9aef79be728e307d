"""The networks that come with the project are the ones of their papers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from micro_yolo.model.spec import Arch
from micro_yolo.model.zoo import ARCHS, find
from micro_yolo.model.zoo.yolo_nano import yolo_nano


def kinds(arch: Arch) -> dict[str, str]:
    return {row.name: row.op for row in arch.rows if row.op in ("conv", "separable", "mbconv")}


def test_names() -> None:
    assert list(ARCHS) == [
        "yolov3_tiny",
        "yolo_lite",
        "yolo_nano",
        "micro_yolo",
        "micro_yolo_pruned",
        "micro_yolo_dsconv",
        "micro_yolo_mbconv",
        "micro_yolo_mobile",
        "micro_yolo_mcu",
    ]
    assert all(arch.name == name and arch.source for name, arch in ARCHS.items())


@pytest.mark.parametrize(
    ("name", "size", "heads"),
    [
        ("yolov3_tiny", (416, 416), {32: 3, 16: 3}),
        ("yolo_lite", (224, 224), {32: 5}),
        ("yolo_nano", (416, 416), {8: 3, 16: 3, 32: 3}),
        ("micro_yolo", (416, 416), {32: 3, 16: 3}),
        ("micro_yolo_pruned", (416, 416), {32: 3, 16: 3}),
        ("micro_yolo_dsconv", (416, 416), {32: 3, 16: 3}),
        ("micro_yolo_mbconv", (416, 416), {32: 3, 16: 3}),
        ("micro_yolo_mobile", (320, 320), {32: 3, 16: 3}),
        ("micro_yolo_mcu", (160, 160), {16: 3, 8: 3}),
    ],
)
def test_heads(name: str, size: tuple[int, int], heads: dict[int, int]) -> None:
    arch = ARCHS[name]
    assert arch.size == size and arch.classes == 80
    assert {row.stride: len(row.anchors) for row in arch.detections} == heads


def test_darknet_anchors_with_their_quirk() -> None:
    for name in ("yolov3_tiny", "micro_yolo"):
        coarse, fine = ARCHS[name].detections
        assert coarse.anchors == ((81, 82), (135, 169), (344, 319))
        assert fine.anchors == ((23, 27), (37, 58), (81, 82))


def test_micro_yolo_is_the_papers() -> None:
    arch = ARCHS["micro_yolo"]
    assert kinds(arch) == {
        "l1": "conv",
        **dict.fromkeys(("l3", "l5", "l7", "l9", "l11"), "mbconv"),
        "l13": "separable",
        "l14": "conv",
        "l15": "mbconv",
        "l19": "conv",
        "l22": "mbconv",
    }
    assert [arch.row(f"l{i}").k for i in (3, 5, 7, 9, 11)] == [3, 5, 3, 5, 3]
    # Widths and wiring are YOLOv3-Tiny's.
    tiny = ARCHS["yolov3_tiny"]
    assert arch.channels == tiny.channels and arch.sources == tiny.sources and arch.strides == tiny.strides
    for row in arch.rows:
        if row.op == "mbconv":
            width = arch.channels[arch.sources[row.name][0]]
            assert (row.mid, row.se) == (2 * width, max(1, 2 * width // 32))


def test_the_pruned_network_is_micro_yolo_with_fewer_channels() -> None:
    whole, pruned = ARCHS["micro_yolo"], ARCHS["micro_yolo_pruned"]
    cut = {row.name: 16 - 16 * pruned.row(row.name).out / row.out for row in whole.rows if row.out}
    # The paper's words: 6/16 at layer 13 (1024 -> 640), none at 15, at most 2/16 elsewhere.
    assert pruned.row("l13").out == 640 and cut.pop("l13") == 6 and cut.pop("l15") == 0
    assert set(cut.values()) <= {0, 1, 2}
    for row, cut_row in zip(whole.rows, pruned.rows, strict=True):
        assert dataclasses.replace(cut_row, out=row.out, mid=row.mid, se=row.se) == row
        if row.op == "mbconv":
            width = sum(pruned.channels[source] for source in pruned.sources[row.name])
            assert (cut_row.mid, cut_row.se) == (2 * width, max(1, 2 * width // 32))


def test_ablations_differ_in_the_kind_of_layer_only() -> None:
    paper = ARCHS["micro_yolo"]
    light = {"l3", "l5", "l7", "l9", "l11", "l13", "l15", "l22"}
    for name, kind in (("micro_yolo_dsconv", "separable"), ("micro_yolo_mbconv", "mbconv")):
        arch = ARCHS[name]
        assert {row for row, op in kinds(arch).items() if op == kind} == light
        assert arch.channels == paper.channels and arch.sources == paper.sources
        assert [row.k for row in arch.rows] == [row.k for row in paper.rows]


def test_yolo_nano_expansion() -> None:
    assert yolo_nano(1) == ARCHS["yolo_nano"]
    assert yolo_nano(2).row("pep1").mid == 14
    with pytest.raises(ValueError, match=r"^yolo_nano: expansion must be a whole number of at least 1, got 0$"):
        yolo_nano(0)


def test_yolo_nano_skips_where_shapes_match() -> None:
    skips = {row.name for row in ARCHS["yolo_nano"].rows if row.skip}
    assert skips == {f"pep{i}" for i in (1, 2, 3, 4, 5, 6, 7, *range(8, 17))}


def test_yolo_lite_anchors_are_the_papers_cells_in_pixels() -> None:
    assert ARCHS["yolo_lite"].detections[0].anchors[0] == pytest.approx((34.56, 38.08))


@pytest.mark.parametrize(
    ("name", "nearest"), [("micro_yol", "micro_yolo"), ("Micro-YOLO", "micro_yolo"), ("yolo3_tiny", "yolov3_tiny")]
)
def test_an_unknown_name_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError) as error:
        find(name)
    assert str(error.value) == (
        f"arch: unknown network {name!r}; nearest: {nearest}; allowed: yolov3_tiny, yolo_lite, yolo_nano, micro_yolo, "
        "micro_yolo_pruned, micro_yolo_dsconv, micro_yolo_mbconv, micro_yolo_mobile, micro_yolo_mcu, or a FILE.json; "
        "`python -m pipeline.summary` describes them"
    )


def test_a_name_like_nothing_suggests_nothing() -> None:
    with pytest.raises(ValueError, match=r"^arch: unknown network 'zzz'; allowed: yolov3_tiny"):
        find("zzz")


def test_a_table_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(ARCHS["yolo_lite"].to_json()))
    assert find(path) == find(str(path)) == ARCHS["yolo_lite"]
