"""Bad records among good ones, odd images and odd class names, through the whole pipeline as a user runs it."""

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline.show.draw import unwritable

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

NAMES = ("large dog", "AC/DC", "été ❤ 漢字", "../up")
SIZE = (48, 64)


def draw(path, mode="RGB", size=SIZE, seed=0, **save):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **save)


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """12 usable training images of every kind among 7 that are not, each with a good box, and some bad boxes."""
    root = tmp_path_factory.mktemp("messy") / "data set"
    folder = root / "images"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for n, mode in enumerate(("RGB", "L", "P", "RGBA", "LA", "1")):
        draw(folder / f"{mode}.png", mode, seed=n)
    draw(folder / "cmyk.jpg", "CMYK")
    Image.fromarray(np.full(SIZE, 999, np.uint16)).save(folder / "16 bit.png")
    draw(folder / "turned.jpg", exif=exif)
    draw(folder / "línea 漢.jpg")
    sizes = {"turned.jpg": (64, 48), "thin.png": (300, 1), "huge.png": (30, 10_000)}
    for name in ("thin.png", "huge.png"):
        draw(folder / name, size=sizes[name])
    good = sorted(path.name for path in folder.iterdir())
    draw(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:900])
    draw(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:900])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    bad = ["cut.jpg", "cut.png", "empty.jpg", "text.jpg", "missing.jpg"]

    for split, names in {"train": [*good, *bad], "val": [f"val {n}.png" for n in range(3)] + ["val cut.jpg"]}.items():
        images, boxes = [], []
        for n, name in enumerate(names, 100 if split == "val" else 1):
            if name.startswith("val"):
                shutil.copy(folder / ("cut.jpg" if "cut" in name else "RGB.png"), folder / name)
            height, width = sizes.get(name, SIZE)
            images.append({"id": n, "file_name": name, "height": height, "width": width})
            box = [0, 0, max(width * (n % 5 + 1) // 6, 1), max(height * (n % 4 + 1) // 5, 1)]
            boxes.append({"id": n, "image_id": n, "category_id": n % 4 + 1, "bbox": box})
        first = names[0]
        if split == "train":
            faults = [[1, 2, float("nan"), 4], [1, 2, -3, 4], [1, 2, 0, 4], [5000, 5000, 4, 4]]
            boxes += [{"id": 500 + i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(faults)]
            boxes += [
                {"id": 600, "image_id": 999, "category_id": 1, "bbox": [1, 2, 3, 4]},
                {"id": 601, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]},
                {"id": 500, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
            ]
            images.append({"id": 1, "file_name": first, "height": 48, "width": 64})
        categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)]
        record = {"images": images, "annotations": boxes, "categories": categories}
        (root / f"instances_{split}.json").write_text(json.dumps(record))
    return root


def train(messy, run, *more):
    return [
        "--data",
        messy,
        "--arch",
        "yolo_lite",
        "--size",
        64,
        "--batch",
        4,
        "--plain-epochs",
        9,
        "--run",
        run,
        *more,
    ]


@pytest.fixture(scope="module")
def trained(messy, tmp_path_factory, called):
    run = tmp_path_factory.mktemp("runs") / "the run"
    done = called("pipeline.train", *train(messy, run, "--epochs", 1))
    assert done.returncode == 0, done.stderr
    return run, done


@pytest.fixture(scope="module")
def exported(trained, called):
    run, _ = trained
    done = called("pipeline.convert", "--run", run, "--int8")
    assert done.returncode == 0, done.stderr
    return run / "export" / "model_int8.tflite", done


def test_training_skips_counts_and_names_bad_records_once(trained):
    run, done = trained
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    # 2 files that are missing or empty, 4 bad boxes, 3 dangling or double records, 1 image record twice
    assert "10 bad records: " in told
    for name in ("cut.jpg", "cut.png", "text.jpg"):
        assert told.count(f"images/{name}: ") == 1, told
    with open(run / "train" / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert np.isfinite(float(row["total"]))
    assert row["images"] == "12"


def test_class_names_of_every_kind_come_out_as_they_went_in(messy, trained, exported, tmp_path, command):
    run, _ = trained
    model, _ = exported
    assert json.loads((run / "train" / "config.json").read_text())["names"] == list(NAMES)
    assert (model.parent / "labels.txt").read_text(encoding="utf-8").splitlines() == list(NAMES)
    out = tmp_path / "out put"
    done = command("pipeline.predict", "--model", model, messy / "images", "--out", out, "--score", 0)
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "detections.json").read_text(encoding="utf-8"))
    assert found["labels"] == list(NAMES)
    labels = {item["label"] for image in found["images"] for item in image["detections"]}
    assert labels
    assert labels <= set(NAMES)
    assert not (tmp_path / "up").exists()

    assert len(found["images"]) == 15
    assert {image["picture"] for image in found["images"]} == {path.name for path in out.iterdir()} - {
        "detections.json"
    }
    turned = next(image for image in found["images"] if image["file"].endswith("turned.jpg"))
    assert (turned["height"], turned["width"]) == (64, 48)
    assert Image.open(out / turned["picture"]).size == (48, 64)
    unreadable = {item["file"].rsplit("/", 1)[-1] for item in found["unreadable"]}
    assert unreadable == {"cut.jpg", "cut.png", "empty.jpg", "text.jpg", "val cut.jpg"}
    # Whether a font here can write them all is the system's business; what it cannot is said.
    warnings = [line for line in done.stderr.splitlines() if "no font here has the letters" not in line]
    assert len(warnings) == len(unreadable)
    assert ("no font here has the letters" in done.stderr) == bool(unwritable(NAMES))
    assert all(line.startswith("warning: skipped ") for line in warnings)


def test_calibration_and_evaluation_leave_bad_images_out(exported, command):
    model, done = exported
    assert "Traceback" not in done.stderr
    unused = [line for line in done.stderr.splitlines() if line.startswith("warning: not used for calibration")]
    assert len(unused) == 3
    measured = command("pipeline.evaluate", "--model", model, "--json")
    assert measured.returncode == 0, measured.stderr
    metrics = json.loads(measured.stdout)
    assert metrics["images"] == 3
    assert list(metrics["per_class"]) == list(NAMES)
    assert measured.stderr.count("val cut.jpg") == 1


@pytest.mark.parametrize("damage", ["cut", "last byte cut", "another's contract", "contract cut"])
def test_a_damaged_file_of_ours(damage, exported, messy, tmp_path, capfd):
    """Runs in this process: a damaged file must not take it down."""
    from micro_yolo.pipeline import predict
    from micro_yolo.pipeline.show import cli

    source, _ = exported
    model = tmp_path / "model_int8.tflite"
    shutil.copy(source, model)
    shutil.copy(source.with_suffix(".json"), model.with_suffix(".json"))
    contract = model.with_suffix(".json")
    if damage == "cut":
        model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    elif damage == "last byte cut":
        model.write_bytes(model.read_bytes()[:-1])
    elif damage == "another's contract":
        contract.write_text(contract.read_text().replace(json.loads(contract.read_text())["model_sha256"], "0" * 64))
    else:
        contract.write_text(contract.read_text()[:200])
    args = ["--model", str(model), str(messy / "images" / "RGB.png"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        cli.main(predict.Config, predict.command, prog=predict.PROG, args=args)
    assert stopped.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "model_int8" in line
    assert not (tmp_path / "out").exists()


def test_no_picture_is_left_half_written(exported, tmp_path):
    """A limit on file sizes acts as a full disk does: the write that meets it is cut short, only the next one fails."""
    # Larger than the limit, which the memory shared with the runtime's process stays below.
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    command = [sys.executable, "-m", "pipeline.predict", "--model", exported[0], "noise.png", "--out", "o"]
    done = subprocess.run(
        [*map(str, command)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "no font here has the letters" not in line]
    assert "File too large" in line
    assert not (tmp_path / "o").exists()


def test_stopped_in_the_first_epoch_then_a_full_disk_then_on(messy, tmp_path, capfd, monkeypatch):
    from micro_yolo.model.keras import tf
    from micro_yolo.pipeline import train as stage
    from micro_yolo.pipeline.learn import loop as trainer
    from micro_yolo.pipeline.show import cli
    from micro_yolo.pipeline.store import runs

    run = tmp_path / "run"
    usage = shutil.disk_usage

    def call(*args):
        try:
            cli.main(stage.Config, stage.command, prog=stage.PROG, args=[str(arg) for arg in args])
            status = 0
        except SystemExit as stopped:
            status = stopped.code
        return status, capfd.readouterr().err.splitlines()

    def stop(*_):
        raise KeyboardInterrupt

    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "part-00000; No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_epoch", stop)
        status, (line,) = call(*train(messy, run, "--epochs", 2))
    assert status == 130
    assert "--resume" in line
    status, (line,) = call(*train(messy, run, "--epochs", 2))
    assert status == 2
    assert "--resume to continue it, --overwrite to start again" in line

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
        status, (line,) = call("--run", run, "--resume")
    assert status == 2
    assert "the epoch cannot be saved (less than " in line
    assert "--resume" in line
    names = {path.name for path in (run / "train").iterdir()}
    assert names <= {runs.ARCH, runs.CONFIG, "logs", "checkpoint"}

    def too_large(*_):
        raise tf.errors.OutOfRangeError(None, None, f"{run}; File too large")

    with monkeypatch.context() as patch:
        patch.setattr(tf.summary, "create_file_writer", too_large)
        status, (line,) = call("--run", run, "--resume")
    assert status == 2
    assert "the epoch cannot be saved" in line and "File too large" in line

    with monkeypatch.context() as patch:
        patch.setattr(tf.train.CheckpointManager, "save", full)
        status, (line,) = call("--run", run, "--resume")
    assert status == 2
    assert "No space left on device" in line
    assert not runs.is_finished(run / "train")

    assert call("--run", run, "--resume") == (0, [])
    assert runs.is_finished(run / "train")
    with open(run / "train" / runs.HISTORY, newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert not [path for path in (run / "train").iterdir() if path.name.startswith(".")]
