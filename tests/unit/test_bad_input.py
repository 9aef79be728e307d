"""What a user can get wrong: one line on stderr, status 2, before TensorFlow is loaded, and every file as it was."""

import errno
import json
import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import pytest
from data_folders import coco_record, write_coco, write_image

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs

COMMANDS = ("train", "evaluate", "convert", "predict", "benchmark", "inspect", "edge", "summary", "data.__main__")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A place with one good data set, one finished run, and no TensorFlow."""
    monkeypatch.chdir(tmp_path)
    for name in ("tensorflow", "tf_keras", "micro_yolo.model.keras"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    write_coco(Path("good"), coco_record(12), coco_record(4, first=20))
    Path("empty").mkdir()
    Path("text.txt").write_text("text")
    make_stage(Path("runs/done/train"), finished=True)
    make_stage(Path("runs/half/train"), finished=False)
    Path("runs/bare/train").mkdir(parents=True)
    Path("home").mkdir()
    Path("home/thesis.txt").write_text("mine")
    return tmp_path


def make_stage(stage, *, finished):
    for name in (runs.ARCH, runs.CONFIG, *((runs.WEIGHTS, runs.METRICS) if finished else ())):
        runs.write_atomic(stage / name, "{}")


def snapshot():
    return {str(path): path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def complaint(command, args, capfd):
    """The one line a command ends with; fails if anything else happened."""
    module = import_module(f"micro_yolo.pipeline.{command}")
    before = snapshot()
    with pytest.raises(SystemExit) as stopped:
        cli.main(module.Config, module.run, prog=f"python -m pipeline.{command}", args=[str(arg) for arg in args])
    assert stopped.value.code == 2
    line, *more = capfd.readouterr().err.splitlines()
    assert not more
    assert line.startswith(f"python -m pipeline.{command}: ")
    assert snapshot() == before
    return line


TRAIN = [
    (["--arch", "micro_yol"], "nearest: micro_yolo;"),
    (["--arch", "micro-yolo"], "nearest: micro_yolo;"),
    (["--arch", "nothing.json"], "nothing.json"),
    (["--arch", "text.json"], "text.json"),
    (["--size", "100"], "32"),
    (["--size", "320x100"], "32"),
    (["--size", "big"], "size: must be pixels like 320 or 256x320"),
    (["--size", "0"], "size: must be pixels"),
    (["--batch", "13"], "batch: must not exceed the 12 training images, got 13; use a smaller --batch"),
    (["--batch", "0"], "batch: must be at least 1, got 0"),
    (["--batch", "many"], "must be a whole number"),
    (["--epochs", "0"], "epochs: must be above 0"),
    (["--learning-rate", "nan"], "learning_rate: must not be negative, got nan"),
    (["--optimizer", "adam"], "allowed: adamw, sgd|must be one of adamw, sgd"),
    (["--seed", "-1"], "seed: must not be negative"),
    (["--val-fraction", "1.5"], "val_fraction: must be between 0 and 1"),
    (["--epoch", "3"], "nearest: --epochs"),
    (["--data", "nowhere"], "nowhere: no such folder of labelled images"),
    (["--data", "empty"], "empty: no labelled images found; looked for COCO"),
    (["--data", "text.txt"], "text.txt: no labelled images found"),
    (["--run", "runs/done"], "already holds a finished train; allowed: another --run, or --overwrite"),
    (["--run", "runs/half"], "holds a half-made train; allowed: --resume to continue it, --overwrite"),
    (["--run", "home"], "home: exists and is not a run"),
    (["--run", "home", "--overwrite"], "home: exists and is not a run"),
    (["--run", "text.txt"], "text.txt: a run must be a directory, got a file"),
    (["--run", "text.txt/run"], "text.txt/run: cannot be made"),
]


@pytest.mark.parametrize(("args", "message"), TRAIN, ids=[" ".join(args) for args, _ in TRAIN])
def test_train_refuses_before_slow_work(args, message, capfd):
    Path("text.json").write_text("text")
    given = ["--data", "good", "--run", "runs/new", "--size", "64", "--batch", "4"]
    line = complaint("train", [*given, *args], capfd)
    assert any(part in line for part in message.split("|")), line


@pytest.mark.parametrize("args", [["--data", "nowhere"], ["--batch", "99"], ["--arch", "x"], ["--size", "33"]])
def test_a_failed_overwrite_keeps_the_old_run(args, capfd):
    complaint("train", ["--data", "good", "--size", "64", "--run", "runs/done", "--overwrite", *args], capfd)
    assert runs.is_finished(Path("runs/done/train"))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("runs/none", "runs/none: no such run; `python -m pipeline.train --run runs/none` makes one"),
        ("runs/done", "runs/done: its train stage is finished"),
        ("runs/bare", "runs/bare: was stopped before it recorded its settings; allowed: --overwrite"),
        ("runs/half", "runs/half/train/config.json: must hold the settings of this command"),
        ("home", "home: a run must hold one of train"),
    ],
)
def test_train_resume_refuses(run, message, capfd):
    assert message in complaint("train", ["--resume", "--run", run], capfd)


def test_a_read_only_place_is_refused_before_slow_work(capfd, monkeypatch):
    def refuse(**kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    line = complaint("train", ["--data", "nowhere", "--run", "runs/new"], capfd)
    assert "runs/new: cannot be made (Read-only file system); allowed: --run with a writable path" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_write_permission(capfd):
    Path("empty").chmod(0o500)
    assert "empty/new: cannot be made (Permission denied)" in complaint("train", ["--run", "empty/new"], capfd)


def broken_sets():
    """Name, what happens to a good record, what must be said."""

    def with_(**changes):
        return {**coco_record(6), **changes}

    nothing = {"images": [], "annotations": []}
    nan = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, float("nan"), 4]}]
    outside = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [900, 900, 4, 4]}]
    flat = [{"id": i, "image_id": i, "category_id": 7, "bbox": [1, 2, 3, -i]} for i in range(1, 4)]
    dangling = [{"id": 1, "image_id": 99, "category_id": 7, "bbox": [1, 2, 3, 4]}]
    unknown = [{"id": 1, "image_id": 1, "category_id": 99, "bbox": [1, 2, 3, 4]}]
    yield "not JSON", "{images: ", "instances_train.json: must be JSON"
    yield "not COCO", [1, 2], "instances_train.json: must be COCO JSON with lists images, annotations and categories"
    yield "COCO without categories", with_(categories=None), "must be COCO JSON"
    yield "no images", with_(**nothing), "split 'train' needs usable images, got 0"
    yield "no classes", with_(categories=[]), "needs at least one class"
    yield "only NaN", with_(annotations=nan), "split 'train' needs usable boxes, got 0; 1 bad records: "
    yield "only outside", with_(annotations=outside), "split 'train' needs usable boxes, got 0; 1 bad records: "
    yield "only negative", with_(annotations=flat), "split 'train' needs usable boxes, got 0; 3 bad records: "
    yield "only dangling images", with_(annotations=dangling), "split 'train' needs usable boxes, got 0; 1 bad"
    yield "only dangling classes", with_(annotations=unknown), "split 'train' needs usable boxes, got 0; 1 bad"
    yield "one class id twice", with_(categories=[{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]), "must have one name"


@pytest.mark.parametrize(("_name", "record", "message"), [*broken_sets()], ids=[name for name, _, _ in broken_sets()])
@pytest.mark.parametrize("command", ["train", "data.__main__"])
def test_unusable_coco(command, _name, record, message, capfd):
    # Without classes in val, as the splits' classes are put together.
    write_coco(Path("bad"), coco_record(6), {**coco_record(2, first=20), "categories": []})
    Path("bad/instances_train.json").write_text(record if isinstance(record, str) else json.dumps(record))
    args = ["--data", "bad", "--run", "runs/new", "--batch", "2"] if command == "train" else ["bad", "--out", "report"]
    assert message in complaint(command, args, capfd)


BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation><filename>&c;</filename></annotation>'
)
FILE_THIEF = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BILLION_LAUGHS, "XML with entities or a document type of its own is refused"),
        (FILE_THIEF, "XML with entities or a document type of its own is refused"),
        ("<annotation>", "not XML that can be read"),
        ("", "not XML that can be read"),
    ],
)
def test_unusable_voc(text, message, capfd):
    write_image(Path("voc/JPEGImages/one.jpg"))
    Path("voc/Annotations").mkdir()
    Path("voc/Annotations/one.xml").write_text(text)
    line = complaint("train", ["--data", "voc", "--run", "runs/new"], capfd)
    assert f"Annotations/one.xml: {message}" in line
    assert "root:" not in line


def test_no_image_that_can_be_read(capfd):
    record = coco_record(6)
    for image in record["images"]:
        del image["height"], image["width"]
    write_coco(Path("bad"), record)
    for n, path in enumerate(sorted(Path("bad/images").iterdir())):
        path.write_bytes([b"", b"text", b"\xff\xd8\xff"][n % 3])
    line = complaint("train", ["--data", "bad", "--run", "runs/new"], capfd)
    assert "needs usable images, got 0; 6 bad records" in line or "at least 2 usable images, got 0" in line


MODELS = {"nothing.tflite": None, "void.tflite": b"", "foreign.tflite": b"PK\x03\x04" * 99, "folder.tflite": "folder"}
MODELS["cut.tflite"] = b"\x1c\x00\x00\x00TFL3" + bytes(40)
SAID = {
    "nothing.tflite": "nothing.tflite: no such file",
    "void.tflite": "void.tflite: the file is empty",
    "foreign.tflite": "foreign.tflite: not a .tflite",
    "folder.tflite": "folder.tflite: must be a .tflite file, got a folder",
    "cut.tflite": "cut.tflite: ",
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("predict", ["--model", "MODEL", "good/images/im1.jpg", "--out", "new"]),
        ("evaluate", ["--model", "MODEL", "--data", "good", "--out", "new"]),
        ("benchmark", ["MODEL"]),
        ("inspect", ["MODEL"]),
        ("edge", ["MODEL", "--target", "edgetpu"]),
    ],
)
def test_a_tflite_that_is_none(command, args, name, capfd):
    content = MODELS[name]
    if content == "folder":
        Path(name).mkdir()
    elif content is not None:
        Path(name).write_bytes(content)
    line = complaint(command, [arg.replace("MODEL", name) for arg in args], capfd)
    assert SAID[name] in line


OTHERS = [
    ("predict", ["--model", "m.tflite", "nowhere.jpg"], "nowhere.jpg: no such picture or folder"),
    ("predict", ["--model", "m.tflite", "empty"], "empty: no pictures in this folder"),
    ("predict", ["--model", "m.tflite"], "images|pictures"),
    ("predict", ["--model", "m.tflite", "good", "--score", "2"], "score: must be in 0..1, got 2.0"),
    ("predict", ["--model", "m.tflite", "good", "--scor", "0.2"], "nearest: --score"),
    ("evaluate", ["--run", "runs/none"], "runs/none: no such run"),
    ("evaluate", ["--run", "runs/half"], "runs/half: its train is half-made"),
    ("evaluate", ["--run", "runs/bare"], "runs/bare: its train is half-made"),
    ("evaluate", ["--run", "runs/done"], "runs/done/train/arch.json"),
    ("evaluate", [], "runs/latest: there is no run yet; `python -m pipeline.train` makes one"),
    ("evaluate", ["--run", "home", "--model", "m.tflite"], "allowed is one of them"),
    ("evaluate", ["--batch", "0"], "must be at least 1"),
    ("convert", ["--run", "runs/none", "--int8"], "runs/none: no such run"),
    ("convert", ["--run", "runs/half", "--int8"], "--resume"),
    ("convert", ["--run", "runs/done", "--int8"], "runs/done/train/arch.json"),
    ("convert", ["--run", "text.txt"], "text.txt"),
    ("convert", ["--int9"], "nearest: --int8"),
    ("summary", ["micro_yol"], "nearest: micro_yolo"),
    ("summary", ["--size", "100"], "32"),
    ("benchmark", [], "models|name at least one"),
    ("edge", [], "models|name at least one"),
    ("edge", ["m.tflite", "--target", "ethos-u55-265"], "nearest: ethos-u55-256"),
    ("data.__main__", ["nowhere"], "nowhere: no such folder"),
    ("data.__main__", ["empty"], "empty: no labelled images found"),
]


@pytest.mark.parametrize(("command", "args", "message"), OTHERS, ids=[f"{c} {' '.join(a)}" for c, a, _ in OTHERS])
def test_other_commands_refuse_before_slow_work(command, args, message, capfd):
    line = complaint(command, args, capfd)
    assert any(part in line for part in message.split("|")), line


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option(command, capfd):
    assert "unknown option --qqqq" in complaint(command, ["--qqqq"], capfd)


def test_a_worker_that_came_first_is_no_stranger(here):
    """Machines that help write to a hidden directory of the run, perhaps before its chief makes it."""
    Path("new/.worker-1").mkdir(parents=True)
    assert runs.new_run(Path("new")) == Path("new")
    shutil.rmtree("new")
