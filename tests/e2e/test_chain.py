"""`make demo` on a handful of images, and what is left of it on a machine without TensorFlow."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from micro_yolo.model import zoo
from micro_yolo.model.channels import check_unit
from micro_yolo.pipeline import demo as demo_command
from micro_yolo.pipeline import train

ROOT = Path(__file__).resolve().parents[2]
# What the base installation does not bring.
ABSENT = (
    "tensorflow",
    "tf_keras",
    "keras",
    "keras_cv",
    "tensorflow_model_optimization",
    "pycocotools",
    "matplotlib",
    "yaml",
    "defusedxml",
)
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def demo(called: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory the demo ran in, and what it printed."""
    place = tmp_path_factory.mktemp("demo")
    options = (
        # A network of few rows: each is made and traced a dozen times on the way.
        *("--arch", "yolo_lite", "--images", 16, "--size", 64, "--pictures", 2),
        # With so few images it is chance whether a cut costs less than the default tolerance.
        *("--epochs", 1, "--prune-epochs", 1, "--qat-epochs", 1, "--tolerance", 100),
    )
    done = called("pipeline.demo", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    return place, done.stdout


@pytest.fixture
def model(demo: tuple[Path, str]) -> Path:
    return demo[0] / "runs" / "demo" / "export" / "model_int8.tflite"


def without(absent: tuple[str, ...], module: str, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({absent}))\n"
        f"sys.argv = ['x', *{[str(arg) for arg in args]}]\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


STAGES = [("train", "float32"), ("train", "int8"), ("prune", "float32"), ("prune", "int8"), ("qat", "int8")]


def test_it_ends_in_a_table_of_each_stage_and_a_picture(demo: tuple[Path, str]) -> None:
    place, printed = demo
    rows = re.findall(r"^ (train|prune|qat) +(\w+) +([\d,]+) +([\d.,]+) +([\d,]+) ", printed, re.M)
    assert [row[:2] for row in rows] == STAGES
    params, kib = ([int(row[i].replace(",", "")) for row in rows] for i in (2, 4))
    assert params[0] == params[1] > params[2] == params[3] == params[4]
    assert kib[0] > 3 * kib[1] > 3 * kib[3] and kib[4] < kib[1]
    picture = place / printed.strip().splitlines()[-1].split(": ")[-1]
    with Image.open(picture) as image:
        assert max(image.size) == 224


def test_the_table_holds_what_was_measured_on_the_files(demo: tuple[Path, str]) -> None:
    place, printed = demo
    run = place / "runs" / "latest"
    entries = json.loads((run / "stages.json").read_text())["stages"]
    assert [(entry["stage"], entry["variant"]) for entry in entries] == STAGES
    for entry in entries:
        file = place / entry["path"]
        assert file.stat().st_size == entry["n_bytes"]
        folder = run if file.parent.name == "export" else file.parent
        metrics = json.loads((folder / f"metrics_{entry['variant']}.json").read_text())
        assert (metrics["AP"], metrics["AP50"]) == (entry["AP"], entry["AP50"])
        assert metrics["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert re.search(
            rf"^ {entry['stage']} +{entry['variant']} .* {entry['AP']:.1f} +{entry['AP50']:.1f} *$", printed, re.M
        )


def test_a_run_of_all_stages_is_debugged_and_reported(demo: tuple[Path, str], called: Command) -> None:
    place, _ = demo
    run = place / "runs" / "latest"
    done = called("pipeline.debug", "--images", 2, "--keep", 1, cwd=place)
    assert done.returncode == 0, done.stderr
    found = json.loads((run / "debug" / "debug.json").read_text())
    assert found["stage"] == "qat"
    # The float file of a stage of quantization-aware training has its integers as weights.
    assert all((layer["weights_snr_db"] or 200) > 100 for layer in found["layers"])
    done = called("pipeline.report", cwd=place)
    assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text()
    assert re.findall(r'<tr><th scope="row">(\w+)</th><td>(\w+)</td>', page.split('id="curves"')[0]) == STAGES
    assert "train, <code>" in page and "prune, <code>" in page


@pytest.mark.parametrize("module", ["predict", "benchmark", "inspect"])
def test_the_runtime_needs_no_training_packages(module: str, model: Path, tmp_path: Path) -> None:
    picture = next((model.parents[1] / "pictures").glob("*.jpg"))
    args = ("--model", model, picture, "--out", tmp_path / "out") if module == "predict" else (model,)
    done = without(ABSENT, f"pipeline.{module}", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if module == "predict":
        assert {path.name for path in (tmp_path / "out").iterdir()} == {picture.name, "detections.json"}


def test_a_file_is_measured_without_tensorflow(model: Path, tmp_path: Path) -> None:
    data = ROOT / "pipeline" / "cards"
    # What the extra "evaluate" brings.
    absent = tuple(name for name in ABSENT if name not in ("pycocotools", "yaml", "defusedxml", "matplotlib"))
    done = without(
        absent, "pipeline.evaluate", "--model", model, "--data", data, "--out", tmp_path, "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((model.parents[1] / "metrics_int8.json").read_text())
    assert json.loads((tmp_path / "metrics_int8.json").read_text())["AP50"] == written["AP50"]


def test_the_network_of_the_demo_is_the_one_that_training_begins_with() -> None:
    assert demo_command.Config().arch == train.Config().arch
    # Rows that pruning can cut.
    for unit in demo_command.widest(demo_command.Config().arch):
        check_unit(zoo.find(demo_command.Config().arch), unit)


def test_impossible_sizes_are_refused_before_anything_is_made(command: Command, tmp_path: Path) -> None:
    done = command("pipeline.demo", "--images", 0, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "images: must be at least 1, got 0" in done.stderr
    assert not list(tmp_path.iterdir())
