"""The parts of benchmarks/scale.py at a small size: what is read, how it is held, and what is asked of the disk."""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import annotation, coco_record, write_coco

from micro_yolo.pipeline.data import Dataset, load
from micro_yolo.pipeline.data.files import Files, in_threads
from micro_yolo.pipeline.measure.metrics import coco_metrics, measure_split
from micro_yolo.pipeline.measure.results import Results, read_results

ROOT = Path(__file__).resolve().parents[2]
IMAGES, BOXES = 120, 840
FORMS = ("coco", "yolo", "voc", "csv")


@pytest.fixture(scope="module")
def scale() -> Iterator[Any]:
    # By a path that processes of the benchmark's inherit.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import scale

        yield scale
    del sys.modules["scale"], sys.modules["drawn_sets"]


@pytest.fixture(scope="module")
def sets(scale: Any) -> Any:
    return sys.modules["drawn_sets"]


@pytest.fixture(scope="module")
def size(sets: Any) -> Any:
    return sets.Size(IMAGES, BOXES, 30, seed=3)


@pytest.fixture(scope="module")
def drawn(scale: Any, size: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {form: tmp_path_factory.mktemp(form) for form in FORMS}
    for form, root in roots.items():
        scale.DRAW[form](root, size)
    return roots


def boxes_of(dataset: Dataset) -> Counter[tuple[Any, ...]]:
    """Each box as its picture's name, its class and its rounded corners."""
    return Counter(
        (file.name, dataset.names[number], *np.floor(box).astype(int).tolist())
        for split in dataset.splits.values()
        for index, file in enumerate(split.files)
        for number, box in zip(
            split.classes[split.rows(index)], split.boxes_xyxy[split.rows(index)] + 1e-3, strict=True
        )
    )


@pytest.mark.parametrize("form", FORMS)
def test_what_is_drawn_is_read(sets: Any, size: Any, drawn: dict[str, Path], form: str) -> None:
    dataset = load(drawn[form])
    assert dataset.format == form and dataset.problems == ()
    expected = sets.draw_boxes(size)
    # An image without a box cannot be said in CSV.
    images = IMAGES if form != "csv" else len(set(expected.images.tolist()))
    assert sum(map(len, dataset.splits.values())) == images
    assert boxes_of(dataset) == Counter(
        (f"{image:08d}.jpg", f"class {number}", *box)
        for image, number, box in zip(
            expected.images.tolist(), expected.classes.tolist(), expected.xyxy.tolist(), strict=True
        )
    )


def test_the_same_seed_draws_the_same_file(sets: Any, size: Any, drawn: dict[str, Path], tmp_path: Path) -> None:
    sets.draw_coco(tmp_path, size)
    assert (tmp_path / "labels.json").read_bytes() == (drawn["coco"] / "labels.json").read_bytes()
    assert len({path.stat().st_ino for path in (tmp_path / "images").rglob("*.jpg")}) == 8


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_held_that_is_an_object_for_each_box_or_image(drawn: dict[str, Path], form: str) -> None:
    for split in load(drawn[form]).splits.values():
        for name in ("image_ids", "sizes", "boxes_xyxy", "classes", "crowd", "areas", "starts"):
            held = getattr(split, name)
            assert isinstance(held, np.ndarray) and held.dtype != object and held.base is None
        assert isinstance(split.files, Files) and all(type(text) is str for text in split.files.texts)


@pytest.mark.parametrize(("form", "opened", "asked"), [("coco", 0, 1), ("yolo", 2, 1), ("voc", 1, 1), ("csv", 0, 1)])
def test_the_disk_is_asked_once_for_each_image(
    drawn: dict[str, Path], form: str, opened: int, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YOLO says nothing of sizes, so that the picture is opened beside its label; VOC has an XML for each."""
    calls: Counter[str] = Counter()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            calls[name] += 1
            return real(*args, **more)

        return call

    for module, name in ((os, "stat"), (os, "lstat"), (builtins, "open"), (os, "scandir")):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    dataset = load(drawn[form])
    monkeypatch.undo()
    images = sum(map(len, dataset.splits.values()))
    # Layouts are tried by looking for a few folders and files, a sample of fifty images in nine folders among them.
    assert calls["open"] <= opened * images + 10
    assert calls["stat"] + calls["lstat"] <= asked * images + 10 * 50 + 100
    assert calls["scandir"] <= 40


def test_files_are_paths(tmp_path: Path) -> None:
    names = [
        "a.jpg",
        "b/c.jpg",
        "./d.jpg",
        "b//e.jpg",
        "/f/g.jpg",
        "/h.jpg",
        "b/./i.jpg",
        "../j.jpg",
        "b/..",
        "b/.",
        "k/",
    ]
    files = Files.below(tmp_path, names)
    assert list(files) == [tmp_path / name for name in names]
    assert files.texts == [str(tmp_path / name) for name in names]
    assert Files.below(Path(), ["a.jpg", "b/c.jpg"]).texts == ["a.jpg", str(Path("b/c.jpg"))]
    assert files[1] == tmp_path / "b/c.jpg" and list(files[1:3]) == [tmp_path / name for name in names[1:3]]
    assert list(files.take(np.array([2, 0]))) == [tmp_path / "d.jpg", tmp_path / "a.jpg"]
    assert Files.of(files) is files and Files.of([tmp_path]).texts == [str(tmp_path)]


@pytest.mark.parametrize("long", [False, True])
def test_threads_keep_the_order_and_take_no_more_than_they_work_on(long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from micro_yolo.pipeline.data import files

    monkeypatch.setattr(files, "_LONG_S", -1.0 if long else 1e9)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    doubled = in_threads(lambda number: 2 * number, items(), workers=2)
    first = [next(doubled) for _ in range(3)]
    assert first == [0, 2, 4] and len(taken) < 1000
    assert [*first, *doubled] == list(range(0, 20_000, 2))
    assert list(in_threads(str, [])) == []


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    from micro_yolo.pipeline.data import files

    monkeypatch.setattr(files, "_LONG_S", -1.0)
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // (number - 500), range(1000)))


@pytest.mark.parametrize("piece", [1, 7, 64])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":"), (" ,\n", " :\t")])
def test_a_file_longer_than_a_piece_is_read_the_same(
    tmp_path: Path, piece: int, separators: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from micro_yolo.pipeline.data import json_parts

    record = coco_record(3)
    record["annotations"].append(annotation(77, 2, [1.25, 2.5, 30, 1e1], note='ü"}, {[\\ \u2028', area=-0.0))
    path = write_coco(tmp_path, record, coco_record(1, 9, "val")) / "instances_train.json"
    path.write_text(json.dumps(record, ensure_ascii=False, separators=separators), encoding="utf-8-sig")
    whole = load(tmp_path).splits["train"]
    monkeypatch.setattr(json_parts, "PIECE_BYTES", piece)
    pieces = load(tmp_path).splits["train"]
    assert pieces.boxes_xyxy.tolist() == whole.boxes_xyxy.tolist() and len(whole.classes) == 4
    assert pieces.files.texts == whole.files.texts and pieces.starts.tolist() == whole.starts.tolist()


@pytest.mark.parametrize("piece", [5, 1 << 22])
@pytest.mark.parametrize(
    "text",
    [
        '{"images": [1,\n {"a": }]}',
        '{"images": [1 2]}',
        '{"images": [1, 2',
        '{"images": [],}',
        '{"images" []}',
        '{"info": {"a":\n\n 1.5e3} "images": []}',
        '{"images": []}\n x',
        '{"images": [tru]}',
        '["a", nul]',
        '"open',
        "  ",
    ],
)
def test_what_is_no_json_is_told_as_python_tells_it(
    tmp_path: Path, piece: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from micro_yolo.pipeline.data import json_parts

    monkeypatch.setattr(json_parts, "PIECE_BYTES", piece)
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(ValueError) as got:
        list(json_parts.members(path, ("images",)))
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("value", [{}, {"images": [], "b": [1, {"c": None}]}, {"images": {"a": [1]}}, 12.5, [1], None])
def test_members_are_those_of_the_file(tmp_path: Path, value: Any) -> None:
    from micro_yolo.pipeline.data.json_parts import members

    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    expected = (
        [(name, each, False) for name, each in value.items()] if isinstance(value, dict) else [(None, value, False)]
    )
    assert list(members(path, ("images",))) == expected


def test_bytes_that_are_no_text_are_told_by_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from micro_yolo.pipeline.data import json_parts

    path = tmp_path / "a.json"
    data = b'{"images": ["\xc3\xbc", "\xff"]}'
    path.write_bytes(data)
    for piece in (3, 1 << 22):
        monkeypatch.setattr(json_parts, "PIECE_BYTES", piece)
        with pytest.raises(ValueError, match=f"can't decode byte 0xff in position {data.index(0xFF)}:"):
            list(json_parts.members(path, ("images",)))


def test_detections_are_held_as_arrays_and_written_as_records(sets: Any, size: Any, tmp_path: Path) -> None:
    split = sets.drawn_split(size)
    names = tuple(f"class {i}" for i in range(30))
    dataset = Dataset(tmp_path, "coco", names, tuple(range(1, 31)), {"val": split})
    metrics, results = measure_split(sets.Drawn(size, 9), split, dataset)
    assert isinstance(results, Results) and len(results) == 9 * IMAGES and metrics["images"] == IMAGES
    for name in ("image_ids", "category_ids", "boxes_xywh", "scores"):
        assert getattr(results, name).dtype != object
    assert sum(row["boxes"] for row in metrics["per_class"].values()) == BOXES
    records = list(results)
    assert results[5] == records[5] and list(results[3:6]) == records[3:6] and results[-1] == records[-1]
    with pytest.raises(IndexError):
        results[len(results)]
    assert results.write(tmp_path / "found.json").read_text() == json.dumps(records) + "\n"
    again = read_results(tmp_path / "found.json")
    assert list(again) == records
    for found in (again, json.loads((tmp_path / "found.json").read_text())):
        measured = coco_metrics(split, dataset.category_ids, found, names)
        assert measured == {name: metrics[name] for name in measured}


@pytest.mark.parametrize(
    "text", ["[{]", "[1]", '{"a": 1}', '[{"image_id": 1}]', '[{"image_id": "a", "category_id": 1}]']
)
def test_what_holds_no_detections_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "found.json"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_results(path)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"found.json: must be detections in COCO's results format, got "):
        read_results(path)
    path.write_text("[]")
    assert len(read_results(path)) == 0


def test_classes_are_measured_as_pycocotools_measures_all_at_once(sets: Any, size: Any, tmp_path: Path) -> None:
    """pycocotools alone, fed as its own users feed it."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    split, ids = sets.drawn_split(size), tuple(range(1, 31))
    _, results = measure_split(sets.Drawn(size, 9), split, Dataset(tmp_path, "coco", tuple(map(str, ids)), ids, {}))
    metrics = coco_metrics(split, ids, results)
    owner = np.repeat(split.image_ids, np.diff(split.starts)).tolist()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": int(i)} for i in split.image_ids],
            "categories": [{"id": i} for i in ids],
            "annotations": [
                {"id": n + 1, "image_id": owner[n], "category_id": ids[c], "bbox": [x, y, u - x, v - y], "area": a}
                | {"iscrowd": 0}
                for n, (c, (x, y, u, v), a) in enumerate(
                    zip(split.classes.tolist(), split.boxes_xyxy.tolist(), split.areas.tolist(), strict=True)
                )
            ],
        }
        truth.createIndex()
        whole = COCOeval(truth, truth.loadRes(list(results)), "bbox")
        whole.evaluate()
        whole.accumulate()
        whole.summarize()
    names = ("AP", "AP50", "AP75", "AP_small", "AP_medium")
    np.testing.assert_allclose([metrics[name] for name in names], 100 * whole.stats[:5], rtol=1e-12)
    assert metrics["AR100"] == pytest.approx(100 * whole.stats[8], rel=1e-12)


@pytest.mark.slow
def test_each_part_is_measured_in_a_process_of_its_own(scale: Any, tmp_path: Path, capsys: Any) -> None:
    parts, shares = ("read", "evaluate", "yolo"), (0.5, 1.0)
    config = scale.Config(
        parts=parts,
        images=IMAGES,
        boxes=BOXES,
        classes=30,
        files=IMAGES,
        evaluated=IMAGES,
        shares=shares,
        folder=tmp_path,
    )
    found = scale.run(config)
    assert {part: [row.said.get("boxes") for row in rows] for part, rows in found.items()} == {
        part: [BOXES // 2, BOXES] for part in parts
    }
    assert all(row.gib > 0.01 for rows in found.values() for row in rows)
    printed = capsys.readouterr().out
    assert all(word in printed for word in (*parts, "CPU s at 0.5", "GiB at 1", "grown", f"boxes {BOXES}"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="parts: unknown, got walk; allowed: read, "):
        scale.run(scale.Config(parts=("walk",)))
