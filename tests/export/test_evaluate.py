"""The same measurement for Keras and for every file made from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from micro_yolo.pipeline import evaluate as stage
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs

Config = stage.Config


def test_keras_and_float32_agree(exported: Path, believed: Path, tmp_path: Path) -> None:
    asked = {"data": believed, "split": "train", "out": tmp_path}
    keras = stage.run(Config(run=exported, **asked))
    file = stage.run(Config(model=exported / "export" / "model_float32.tflite", **asked))
    assert keras.metrics["images"] == file.metrics["images"] == 12
    assert keras.AP > 50
    assert file.AP == pytest.approx(keras.AP, abs=0.1)
    assert file.AP50 == pytest.approx(keras.AP50, abs=0.1)
    assert repr(file) == f"Evaluation(AP={file.AP:.1f}, AP50={file.AP50:.1f}, images=12)"
    first, second = (json.loads((tmp_path / f"coco_{name}_train.json").read_text()) for name in ("train", "float32"))
    assert len(first) == pytest.approx(len(second), rel=0.02)
    assert set(first[0]) == {"image_id", "category_id", "bbox", "score"}


def test_batches_of_any_size_measure_the_same(exported: Path, believed: Path, tmp_path: Path) -> None:
    one, five = (
        stage.run(Config(run=exported, data=believed, split="train", batch=size, out=tmp_path / str(size)))
        for size in (1, 5)
    )
    assert one.AP == pytest.approx(five.AP, abs=0.1)
    counts = [len(json.loads(each.written[0].read_text())) for each in (one, five)]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)


def test_without_its_contract_a_file_is_measured_as_anybody_elses(alone: Path, believed: Path, tmp_path: Path) -> None:
    from micro_yolo.tflite import metadata

    ours = stage.run(Config(model=alone, data=believed, split="train", out=tmp_path / "ours"))
    body, files = metadata.split(alone.read_bytes())
    alone.write_bytes(metadata.append(body, {metadata.LABELS: files[metadata.LABELS]}))
    theirs = stage.run(Config(model=alone, data=believed, split="train", out=tmp_path / "theirs"))
    assert "foreign" not in ours.metrics and len(theirs.metrics["foreign"]["classes"]) == 5
    assert ours.AP > 50
    # NaN, of classes without a box, is not even itself.
    assert runs.plain(theirs.metrics["per_class"]) == runs.plain(ours.metrics["per_class"])


@pytest.mark.parametrize("variant", ["int8", "int8_raw", "int16x8_raw", "dynamic_raw", "float16_raw"])
def test_every_variant_is_measured(
    exported: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], variant: str
) -> None:
    model = exported / "export" / f"model_{variant}.tflite"
    config = Config(model=model, data=tiny_data, split="train", out=tmp_path)
    found = stage.run(config)
    assert capsys.readouterr() == ("", "")
    metrics = found.metrics
    assert metrics["images"] == 12
    names = ("coco_{}.json", "metrics_{}.json", "confusion_{}.json", "confusion_{}.png", "suspects_{}.json")
    assert found.written == tuple(tmp_path / name.format(f"{variant}_train") for name in names)
    assert all(path.is_file() for path in found.written)
    written = json.loads(found.written[1].read_text())
    assert written["AP50"] == pytest.approx(metrics["AP50"])
    assert written["sha256"] == metrics["sha256"]
    stage.command(config)
    shown = capsys.readouterr().out
    assert "AP50" in shown
    assert all(name[:8] in shown for name in metrics["per_class"])


def test_a_threshold_that_moves_to_int8_is_told(
    exported: Path,
    model_copy: Callable[[str], Path],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, whole = model_copy("int8"), model_copy("float32")
    where, contract = whole.with_suffix(".json"), json.loads(whole.with_suffix(".json").read_text())
    config = Config(model=model, data=tiny_data, out=tmp_path / "out")
    own = json.loads(model.with_suffix(".json").read_text())["thresholds"]
    contract["thresholds"] = own
    where.write_text(json.dumps(contract))
    stage.command(config)
    assert "moves by more than" not in capsys.readouterr().err
    away = (own["all"]["threshold"] + 0.3) % 0.9
    contract["thresholds"] = {**own, "all": {**own["all"], "threshold": away}}
    where.write_text(json.dumps(contract))
    for path in (model, whole):
        stage.command(Config(model=path, data=tiny_data, out=tmp_path / "out"))
        said = " ".join(capsys.readouterr().err.split())
        assert f"from float32 to int8: all classes from {away:g} to {own['all']['threshold']:g}" in said
    for gone in ({"thresholds": None}, {"parents": {}}):
        where.write_text(json.dumps({**contract, **gone}))
        stage.command(config)
        assert "moves by more than" not in capsys.readouterr().err


def test_the_matrix_is_at_the_files_own_threshold(exported: Path, believed: Path, tmp_path: Path) -> None:
    model = exported / "export" / "model_float32.tflite"
    contract = json.loads(model.with_suffix(".json").read_text())
    found = stage.run(Config(model=model, data=believed, split="train", out=tmp_path))
    matrix = json.loads((tmp_path / "confusion_float32_train.json").read_text())
    assert matrix["score_threshold"] == contract["nms"]["score_threshold"] == found.metrics["score_threshold"]
    assert matrix["labels"] == [*found.metrics["per_class"], "background"]
    boxes = [row["boxes"] for row in found.metrics["per_class"].values()]
    assert [sum(row) for row in matrix["matrix"][:-1]] == boxes
    shown = sum(record["score"] > matrix["score_threshold"] for record in json.loads(found.written[0].read_text()))
    assert sum(sum(row[:-1]) for row in matrix["matrix"]) == shown
    best = found.metrics["thresholds"]
    assert best["all"]["boxes"] == sum(boxes) and best["all"]["f1"] > 0.5
    # A network in Keras has no file that says; then it is the best one here.
    keras = stage.run(Config(run=exported, data=believed, split="train", out=tmp_path))
    assert keras.metrics["score_threshold"] == keras.metrics["thresholds"]["all"]["threshold"]


def test_results_go_to_the_run(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage.command(Config(model=exported / "export" / "model_int8.tflite", json=True))
    assert (exported / "coco_int8.json").is_file()
    assert json.loads(capsys.readouterr().out)["split"] == "val"


@pytest.mark.parametrize("what", ["file", "keras"])
def test_classes_are_compared_by_name(
    exported: Path, believed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    asked = {"run": exported} if what == "keras" else {"model": exported / "export" / "model_float32.tflite"}
    usual = stage.run(Config(**asked, data=believed, split="train", out=tmp_path / "usual")).metrics
    where = believed_as(believed, tmp_path / "turned", lambda names: names[::-1])
    turned = stage.run(Config(**asked, data=where, split="train", out=tmp_path / "out"))
    rows = runs.plain(turned.metrics["per_class"])
    assert rows == runs.plain(usual["per_class"]) and list(rows) == list(usual["per_class"])[::-1]
    assert turned.AP == pytest.approx(usual["AP"]) and "compared" in turned.metrics and "known" not in turned.metrics
    others = list(usual["per_class"])[1:]
    # Another name for one class: what is there of it is missed, what is found of it left out.
    where = believed_as(believed, tmp_path / "renamed", lambda names: ["zebra", *names[1:]])
    config = Config(**asked, data=where, split="train")
    found = stage.run(config)
    assert found.written == () and found.metrics["compared"]["missing"] == ["zebra"]
    assert found.metrics["compared"]["left_out"] == 1 and found.metrics["detections_left_out"] > 0
    assert found.metrics["known"]["AP50"] == pytest.approx(
        sum(usual["per_class"][name]["AP50"] for name in others if usual["per_class"][name]["boxes"])
        / sum(usual["per_class"][name]["boxes"] > 0 for name in others)
    )
    stage.command(config)
    said = capsys.readouterr()
    assert "knows no zebra: their boxes count as missed" in said.err
    assert "of the 4 classes that it knows: AP " in said.out and "not kept; --out FOLDER keeps the results" in said.out


def believed_as(believed: Path, root: Path, renamed: Callable[[list[str]], list[str]]) -> Path:
    """The set with other names of its classes, and their ids by the place of the old names among the new."""
    shutil.copytree(believed, root)
    for path in root.glob("instances_*.json"):
        value = json.loads(path.read_text())
        names = [category["name"] for category in value["categories"]]
        new = renamed(names)
        ids = {
            category["id"]: new.index(category["name"]) + 1 if sorted(new) == sorted(names) else category["id"]
            for category in value["categories"]
        }
        value["categories"] = [{"id": number, "name": name} for number, name in enumerate(new, 1)]
        for each in value["annotations"]:
            each["category_id"] = ids[each["category_id"]]
        path.write_text(json.dumps(value))
    return root


def test_bad_requests(exported: Path, model_copy: Callable[[str], Path], tiny_data: Path, tmp_path: Path) -> None:
    model = model_copy("int8")
    with pytest.raises(ValueError, match="has no 'test'; allowed: train, val"):
        stage.run(Config(model=model, data=tiny_data, split="test"))
    with pytest.raises(FileNotFoundError, match="nowhere: no such data set; pass --data PATH"):
        stage.run(Config(model=model, data=tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="--model measures a file, --run a Keras model"):
        stage.run(Config(model=model, run=exported))
    with pytest.raises(ValueError, match="batch, threads: must be at least 1"):
        stage.run(Config(run=exported, batch=0))
    with pytest.raises(ValueError, match=r"iou: must be in 0\.\.1, got 2"):
        stage.run(Config(model=model, iou=2.0))
    contract = json.loads(model.with_suffix(".json").read_text())
    contract["labels"] = ["zebra", "yak", "xerus", "wombat", "vole"]
    model.with_suffix(".json").write_text(json.dumps(contract))
    with pytest.raises(ValueError, match=r"has none of the classes of .*its own: zebra, yak"):
        stage.run(Config(model=model, data=tiny_data))
    contract["data"] = {}
    model.with_suffix(".json").write_text(json.dumps(contract))
    with pytest.raises(ValueError, match="its contract names no data set; pass --data PATH"):
        stage.run(Config(model=model))


def without_splits(tiny_data: Path, to: Path, keep: int | None = None) -> Path:
    """All images of the set in one list, the first `keep` of them."""
    shutil.copytree(tiny_data, to)
    labels = [json.loads((to / f"instances_{split}.json").read_text()) for split in ("train", "val")]
    for split in ("train", "val"):
        (to / f"instances_{split}.json").unlink()
    images = [image | {"id": 100 * n + image["id"]} for n, part in enumerate(labels) for image in part["images"]][:keep]
    boxes = [
        box | {"id": 10_000 * n + box["id"], "image_id": 100 * n + box["image_id"]}
        for n, part in enumerate(labels)
        for box in part["annotations"]
    ]
    ids = {image["id"] for image in images}
    boxes = [box for box in boxes if box["image_id"] in ids]
    (to / "labels.json").write_text(json.dumps({**labels[0], "images": images, "annotations": boxes}))
    return to


@pytest.mark.parametrize("what", ["file", "keras"])
def test_images_that_it_never_saw_are_all_measured(exported: Path, tiny_data: Path, tmp_path: Path, what: str) -> None:
    data = without_splits(tiny_data, tmp_path / "tests")
    asked = {"run": exported} if what == "keras" else {"model": exported / "export" / "model_int8.tflite"}
    config = Config(**asked, data=data, out=tmp_path / "out")
    found = stage.run(config)
    assert (found.metrics["images"], found.metrics["split"]) == (16, "all")
    assert found.written[1].name == f"metrics_{'train' if what == 'keras' else 'int8'}_all.json"
    assert sum(row["boxes"] for row in found.metrics["per_class"].values()) == boxes_of(data)
    assert stage.run(replace(config, split="val")).metrics["images"] == 3
    with pytest.raises(ValueError, match=r"has no 'test'; allowed: train, val, all$"):
        stage.run(replace(config, split="test"))
    with pytest.raises(ValueError, match=r"has no 'all'; allowed: train, val$"):
        stage.run(replace(config, data=tiny_data, split="all"))


def boxes_of(data: Path) -> int:
    return len(json.loads((data / "labels.json").read_text())["annotations"])


def test_the_trainings_own_images_are_known_again(brief_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    """By what they are, wherever they are; by their place, though some were added since; and by the folder's name."""
    from micro_yolo.pipeline import convert
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.fingerprint import content

    data = without_splits(tiny_data, tmp_path / "photos", keep=15)
    where = brief_run / "train" / runs.CONFIG
    runs.write_json(where, runs.read_json(where) | {"data": data, "content": content(load(data))})
    (file,) = convert.run(convert.Config(run=brief_run, float32=True, score_samples=0)).files
    moved, more = Path(shutil.copytree(data, tmp_path / "elsewhere")), tmp_path / "more"
    alone = Path(shutil.copy(file.path, tmp_path / "alone.tflite"))

    def measured(model: Path | None, at: Path) -> tuple[int, str]:
        asked = {"run": brief_run} if model is None else {"model": model}
        metrics = stage.run(Config(**asked, data=at, out=tmp_path / "out")).metrics
        return metrics["images"], metrics["split"]

    for model in (None, file.path, alone):
        assert measured(model, data) == measured(model, moved) == (3, "val")
    without_splits(tiny_data, more)
    for model in (None, file.path, alone):
        assert measured(model, more) == (16, "all")
    shutil.copy(more / "labels.json", data / "labels.json")
    for model in (None, file.path, alone):
        assert measured(model, data) == (3, "val")
    told: list[str] = []

    class Told(Show):
        def warn(self, text: str) -> None:
            told.append(text)

    stage.run(Config(model=file.path, out=tmp_path / "out"), Told())
    stage.run(Config(run=brief_run, out=tmp_path / "out"), Told())
    convert.run(convert.Config(run=brief_run, float32=True, score_samples=0, overwrite=True), Told())
    assert len([text for text in told if f"{data}: is not what the training had: train" in text]) == 3
