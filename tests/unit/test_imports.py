"""Imports run one way: pipeline -> model, pipeline -> tflite; and each heavy library comes in through one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("model", "tflite", "pipeline")
FILES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
KERAS = {"tensorflow", "keras", "tf_keras"}
INTERPRETER = ("ai_edge_litert.interpreter", "tflite_runtime")


def imported(file: Path, *, at_top: bool = False) -> Iterator[str]:
    tree = ast.parse((ROOT / file).read_text())
    inside = {
        child
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if at_top and node in inside:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = ".".join(file.parts[: -node.level]) + "." if node.level else ""
            yield here + (node.module or "")


def roots(file: Path, *, at_top: bool = False) -> set[str]:
    """The packages a file imports, ours by their own names."""
    return {name.removeprefix("micro_yolo.").split(".")[0] for name in imported(file, at_top=at_top)}


def test_there_is_something_to_look_at() -> None:
    assert {file.parts[0] for file in FILES} == set(PACKAGES)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_run_one_way(file: Path) -> None:
    others = {"model": {"pipeline", "tflite"}, "tflite": {"pipeline", "model"}, "pipeline": {"tests"}}
    assert not roots(file) & (others[file.parts[0]] | {"benchmarks"})


@pytest.mark.parametrize("file", FILES, ids=str)
def test_keras_comes_from_one_file(file: Path) -> None:
    if file == Path("model/keras.py"):
        return
    if file.parts[0] == "tflite":
        assert not roots(file, at_top=True) & KERAS
        return
    assert not roots(file) & KERAS


@pytest.mark.parametrize("library", ["tensorflow_model_optimization", "keras_cv"])
def test_libraries_without_a_future_come_from_one_file_each(library: str) -> None:
    door = {"tensorflow_model_optimization": "model/tfmot.py", "keras_cv": "model/keras_cv.py"}[library]
    assert [str(file) for file in FILES if any(name.split(".")[0] == library for name in imported(file))] == [door]


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] == "model"], ids=str)
def test_private_names_of_libraries_stay_behind_their_doors(file: Path) -> None:
    tree = ast.parse((ROOT / file).read_text())
    own = {"self", "cls", "found", "tally"}
    private = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in own)
    }
    assert file in (Path("model/tfmot.py"), Path("model/keras.py")) or not private


TABLE_SIDE = (
    "spec",
    "row",
    "ops",
    "primitives",
    "count",
    "channels",
    "nearest",
    "anchors",
    "heads",
    "heads.yolo",
    "zoo",
)


def test_tables_are_checked_counted_and_cut_without_tensorflow() -> None:
    names = ", ".join(f"micro_yolo.model.{name}" for name in TABLE_SIDE)
    heavy = "[m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'tf_keras', 'keras', 'keras_cv')]"
    code = f"import sys, {names}; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_interpreter_comes_from_one_file(file: Path) -> None:
    found = [name for name in imported(file) if name.startswith(INTERPRETER)]
    assert file == Path("tflite/interpreter.py") or not found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_schema_of_files_comes_from_one_file(file: Path) -> None:
    assert file == Path("tflite/edit.py") or "schema_py_generated" not in (ROOT / file).read_text()


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] != "pipeline"], ids=str)
def test_only_the_pipeline_has_command_lines(file: Path) -> None:
    assert not roots(file) & {"tyro", "argparse", "click", "rich"}
    assert "__main__" not in (ROOT / file).read_text()
