"""The Python in the documents runs as it stands there, but for sizes: the smallest network, a tiny set, one epoch.

The notebook's cells run one after the other in one process, without Jupyter, which would bring some thirty packages.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.pipeline.data import synthetic

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT, NOTEBOOK, README = ROOT / "docs/python.md", ROOT / "docs/quickstart.ipynb", ROOT / "README.md"
SMALLER = (
    (r'\btrain\((.*?), (?:arch="micro_yolo", )?size=', r'train(\1, arch="yolo_lite", size='),
    (r'\brows=\("l13",\), step=0.125', 'rows=("conv5",), step=0.25'),
    (r"\bepochs=\d+", "epochs=1"),
    (r"\bsize=(320|96)\b", "size=64"),
    (r"\bruns=50\b", "runs=2"),
    (r"\bfiles\[26\]", "files[0]"),
    (r"\btrain=320, val=40, size=\(192, 192\)", "train=12, val=4, size=(64, 64)"),
)
# Runs each piece as a notebook does: what its last line gives is shown.
RUNNER = """
import ast, json, sys
names = {"__name__": "__main__"}
for code in json.load(sys.stdin):
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "piece", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "piece", "eval"), names)
        if hasattr(value, "_repr_png_"):
            print("picture", len(value._repr_png_()))
        elif value is not None:
            print(repr(value))
"""


def pieces(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def cells(kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def run(codes: list[str], place: Path) -> str:
    for code in codes:
        ast.parse(code)
    for pattern, smaller in SMALLER:
        codes = [re.sub(pattern, smaller, code) for code in codes]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(codes),
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with photographs."""
    photos = synthetic.make(tmp_path / "photos", train=12, val=4, size=(64, 64))
    (tmp_path / "photo.jpg").write_bytes(next((photos / "images").iterdir()).read_bytes())
    return tmp_path


def test_the_document(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The package need not be there: tests/export/test_python.py has both it and its absence.
    (place / "supervision.py").write_text("def Detections(**of): return of\n")
    monkeypatch.setenv("PYTHONWARNINGS", "default::UserWarning:micro_yolo")
    printed = run(pieces(DOCUMENT), place)
    assert "Run('runs/mine': train, AP" in printed
    # A screen shows the training, and a class of one's own takes its reports.
    assert "epoch 1/1" in printed and "epoch 1 of 1 loss" in printed
    assert (place / "app/models/model_int8.tflite").is_file()
    assert (place / "boxes.jpg").is_file()
    assert micro_run(place / "runs/mine").stages == ("train", "prune", "qat")


def test_the_notebook(place: Path) -> None:
    printed = run(["".join(cell["source"]) for cell in cells("code")], place)
    assert printed.count("picture ") == 2
    assert "Dataset('shapes': synthetic, 5 classes, images: 12 train, 4 val)" in printed
    assert "Run('runs/quickstart': train, AP" in printed


def test_the_notebook_has_been_run_and_tells_nothing_of_where() -> None:
    code = cells("code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] in ("error", "stderr")]
    assert not re.search(r"/(home|work|root|tmp|Users)/", NOTEBOOK.read_text())
    assert NOTEBOOK.stat().st_size < 400_000


def test_the_readme_shows_lines_of_the_document() -> None:
    (readme,) = pieces(README)
    assert len([line for line in readme.splitlines() if line]) <= 5
    assert set(re.findall(r"micro_yolo\.\w+|detector\.\w+|run\.\w+", readme)) <= set(
        re.findall(r"micro_yolo\.\w+|detector\.\w+|run\.\w+", pieces(DOCUMENT)[0])
    )


def micro_run(path: Path) -> Any:
    import micro_yolo

    return micro_yolo.Run(path)
