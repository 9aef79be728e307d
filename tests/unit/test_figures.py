"""The figures in the documents are those that the measuring commands left in docs/figures."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import documents
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
figures = importlib.import_module("figures")

FILES = sorted(figures.FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", figures.pages(), ids=documents.name)
def test_a_page_says_what_the_files_say(path: Path) -> None:
    text = path.read_text()
    assert figures.filled(text, figures.environment()) == text, "`make figures` fills the pages"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_what_was_measured_how_when_and_of_which_code(path: Path) -> None:
    said = json.loads(path.read_text())
    assert set(said) - {"taken_over"} == {"command", "commit", "date", "values"}
    assert re.fullmatch(r"[0-9a-f]{40}", said["commit"]) and re.fullmatch(r"\d{4}-\d\d-\d\d", said["date"])
    assert said["command"].split()[0] in ("python", "pytest", "make")
    assert not re.search(r"/(home|work|root|tmp|Users)/", path.read_text())


def test_every_file_is_shown_somewhere() -> None:
    shown = "".join(path.read_text() for path in [*figures.pages(), *figures.FOLDER.glob("*.j2")])
    lost = [path.stem for path in FILES if not re.search(rf"\b{path.stem}\b", shown)]
    assert not lost


@pytest.mark.parametrize("path", documents.PAGES, ids=documents.name)
def test_no_measured_table_is_written_by_hand(path: Path) -> None:
    """A table with three numbers that have a point is one, unless a comment above it says what else it is."""
    text = re.sub(r"<!-- figures \w+ -->.*?<!-- /figures -->", "", path.read_text(), flags=re.S)
    text = re.sub(r"<!-- no figures: .+? -->\n\n(\|.*\n)+", "", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len(re.findall(r"[ (]\d+\.\d+[ |,)]", table)) < 3, table[:200]


def test_the_networks_are_counted_as_they_are_now() -> None:
    from micro_yolo.model.count import count
    from micro_yolo.model.zoo import ARCHS

    said = {network["arch"]: network for network in json.loads((figures.FOLDER / "zoo.json").read_text())["values"]}
    now = {name: count(arch) for name, arch in ARCHS.items()}
    assert {name: (one["params"], one["macs"]) for name, one in said.items()} == {
        name: (total.params, total.macs) for name, total in now.items()
    }, "`python benchmarks/figures.py keep zoo python -m pipeline.summary` counts them"


def test_a_measurement_is_kept_with_its_command_and_without_its_places(tmp_path: Path) -> None:
    script = tmp_path / "measure.py"
    script.write_text("print('took 3 ms on /data/somewhere/photo.jpg')")
    path = figures.keep("quick", [sys.executable, str(script)], folder=tmp_path)
    said = json.loads(path.read_text())
    assert said["command"] == "python measure.py"
    assert said["values"] == {"printed": "took 3 ms on photo.jpg"}
    page = "<!-- figures quick -->\n\nold\n\n<!-- /figures -->\n"
    filled = figures.filled(page, figures.environment(tmp_path))
    assert "\n```console\n$ python measure.py\ntook 3 ms on photo.jpg\n```\n" in filled
    assert figures.filled(filled, figures.environment(tmp_path)) == filled


def test_what_a_command_left_is_taken_with_its_commit(tmp_path: Path) -> None:
    left = tmp_path / "metrics_int8.json"
    file = "/somewhere/runs/cells/export/model_int8.tflite"
    values = {"AP50": 88.125, "model": file, "times": list(range(200)), file: {"ms": 3}}
    left.write_text(json.dumps({**values, "versions": {"commit": "a" * 40}}))
    command = ["python", "-m", "pipeline.evaluate", "--model", "/somewhere/runs/cells/export/model_int8.tflite"]
    said = json.loads(figures.keep("cells", command, left, folder=tmp_path).read_text())
    assert said["commit"] == "a" * 40
    assert said["command"] == "python -m pipeline.evaluate --model cells/export/model_int8.tflite"
    name = "cells/export/model_int8.tflite"
    assert said["values"] == {"AP50": 88.125, "model": name, name: {"ms": 3}}
    (tmp_path / "metrics_int8.json").unlink()
    line = "It reaches <!-- = cells.AP50|fixed -->?<!-- = -->."
    assert (
        figures.filled(line, figures.environment(tmp_path)) == "It reaches <!-- = cells.AP50|fixed -->88.1<!-- = -->."
    )


@pytest.mark.parametrize(
    "page", ["<!-- = nothing.AP50 -->1<!-- = -->", "<!-- figures nothing -->\n\nx\n\n<!-- /figures -->"]
)
def test_a_figure_that_no_file_has_is_an_error(page: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing"):
        figures.filled(page, figures.environment(tmp_path))


@pytest.mark.parametrize("name, command", [("No Name", ["python"]), ("name", [])])
def test_what_cannot_be_kept_is_refused(name: str, command: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        figures.keep(name, command, folder=tmp_path)


def test_a_command_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="status 3"):
        figures.keep("failed", [sys.executable, "-c", "raise SystemExit(3)"], folder=tmp_path)
    assert not list(tmp_path.iterdir())
