"""A stopped training goes on where its data, its run or the working directory has become another (R04, R06)."""

import json
import shutil
from pathlib import Path

import pytest

from micro_yolo.pipeline import evaluate, train
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.history import read

pytestmark = pytest.mark.slow
FAST = ("--arch", "yolo_lite", "--size", 64, "--batch", 12, "--epochs", 2, "--evaluate-every", 2)


class Stops(Show):
    def epoch(self, row, epochs):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def begun(tmp_path_factory, shared_cases):
    """A folder with data and a run that was stopped after its first epoch, begun there by relative paths."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(shared_cases / "R04" / "train", home / "data")
    for path in [home / "data", *(home / "data").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    args = [str(arg) for arg in ("--data", "data", "--run", "run", *FAST)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        with pytest.raises(KeyboardInterrupt):
            train.run(cli.parse(train.Config, prog=train.PROG, args=args), Stops())
    return home


@pytest.fixture
def home(begun, tmp_path, monkeypatch):
    """A copy of it, under another name than it was begun with; the working directory is elsewhere."""
    shutil.copytree(begun, tmp_path / "copy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "copy"


def resumed(*args):
    train.run(cli.parse(train.Config, prog=train.PROG, args=[str(arg) for arg in (*args, "--resume")]))


def losses(run):
    timings = ("seconds", "images_per_second")
    return [
        {name: each for name, each in row.items() if name not in timings} for row in read(run / "train" / runs.HISTORY)
    ]


@pytest.fixture(scope="module")
def unmoved(begun, tmp_path_factory):
    """What the same run comes to with nothing moved but the working directory."""
    run = tmp_path_factory.mktemp("unmoved") / "run"
    shutil.copytree(begun / "run", run)
    resumed("--run", run)
    return losses(run)


def test_a_run_that_moved_finds_its_data_from_another_working_directory(unmoved):
    assert [row["epoch"] for row in unmoved] == [1, 2]


def test_data_that_moved(home, begun, unmoved):
    config = home / "run" / "train" / runs.CONFIG
    config.write_text(config.read_text().replace(str(begun / "data"), str(begun / "gone")))
    with pytest.raises(
        FileNotFoundError, match=r"gone: the data of this stage is no longer there; `.* --resume --data PATH`"
    ):
        resumed("--run", home / "run")
    (home / "data").rename(home / "moved")
    resumed("--run", home / "run", "--data", home / "moved", "--cache-gib", 0.1)
    assert losses(home / "run") == unmoved


def test_other_data_is_refused(home):
    label = next((home / "data" / "labels" / "train").iterdir())
    label.write_text(label.read_text().replace("0.", "0.1", 1))
    with pytest.raises(ValueError, match=r"must hold what .*train was begun with, train: 24 images, 48 boxes"):
        resumed("--run", home / "run", "--data", home / "data")
    label.unlink()
    with pytest.raises(ValueError, match="got 24 images, 46 boxes"):
        resumed("--run", home / "run", "--data", home / "data")


def test_a_run_of_before_that_recorded_no_content_compares_classes_and_images(home):
    file = home / "run" / "train" / runs.CONFIG
    config = json.loads(file.read_text())
    del config["content"]
    file.write_text(json.dumps(config))
    picture = next((home / "data" / "images" / "train").iterdir())
    data = Path(shutil.copytree(home / "data", home / "other"))
    (data / "images" / "train" / picture.name).unlink()
    with pytest.raises(ValueError, match="images: train 24, val 8, got train 23, val 8"):
        resumed("--run", home / "run", "--data", data)
    file.write_text(json.dumps(config | {"names": ["bolt", "screw"]}))
    with pytest.raises(ValueError, match="classes: bolt, screw, got bolt, nut"):
        resumed("--run", home / "run", "--data", home / "data")


def test_evaluate_says_that_the_data_of_the_training_has_changed(home, begun):
    resumed("--run", home / "run", "--data", home / "data")
    file = home / "run" / "train" / runs.CONFIG
    file.write_text(file.read_text().replace(str(begun / "data"), str(home / "data")))
    told = []

    class Told(Show):
        def warn(self, text):
            told.append(text)

    evaluate.run(evaluate.Config(run=home / "run"), Told())
    assert not told
    next((home / "data" / "labels" / "val").iterdir()).unlink()
    evaluate.run(evaluate.Config(run=home / "run"), Told())
    assert "is not what the training had: val: 8 images, 16 boxes" in told[0]


@pytest.mark.parametrize(
    ("case", "classes", "left_out", "missing"),
    [("R01", {"nut": "nut"}, 1, []), ("R03", {"bolt": "bolt", "nut": "nut"}, 0, ["screw"])],
)
def test_a_test_set_with_fewer_or_more_classes_is_measured_by_name(
    home, shared_cases, case, classes, left_out, missing
):
    resumed("--run", home / "run", "--data", home / "data")
    metrics = evaluate.run(evaluate.Config(run=home / "run", data=shared_cases / case / "test")).metrics
    assert metrics["compared"] == {"classes": classes, "left_out": left_out, "missing": missing}
