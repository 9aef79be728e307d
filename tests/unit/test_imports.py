"""What the contracts of import-linter (pyproject.toml, `make lint`) cannot say of imports, and the names of modules."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("model", "tflite", "pipeline")
FILES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# Loading these takes seconds, or needs an extra of the package.
HEAVY = {"jinja2", "keras_cv", "matplotlib", "pycocotools", "tensorflow", "tensorflow_model_optimization", "tf_keras"}
ENDINGS = re.compile(r"(ations?|ions?|ings?|ers?|ors?|ives?|ments?|ables?|ed|es|al|ly|e|s)$")
ALLOWED = {
    ("data", "dataset"): "a word of its own: a Dataset is what the package reads",
    ("edge", "edgetpu"): "the accelerator's name",
    ("keras", "keras_cv"): "the library's name",
    ("micro_yolo", "micro_yolo_mcu"): "networks, each in the file of its name",
}


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
            assert not node.level, f"{file}:{node.lineno}: imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_there_is_something_to_look_at() -> None:
    assert {file.parts[0] for file in FILES} == set(PACKAGES)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_code_is_imported_by_one_name_and_stands_alone(file: Path) -> None:
    roots = {name.split(".")[0] for name in imported(file)}
    assert not roots & {*PACKAGES, "android_demo", "benchmarks", "tests"}


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] == "tflite"], ids=str)
def test_what_runs_a_file_loads_nothing_heavy_before_it_must(file: Path) -> None:
    roots = {name.split(".")[0] for name in imported(file, at_top=True)}
    assert not roots & (HEAVY | {"ai_edge_litert", "flatbuffers"})


def test_the_interpreter_comes_in_through_one_door() -> None:
    found = {str(file) for file in FILES for name in imported(file) if name.startswith("ai_edge_litert.interpreter")}
    assert found == {"tflite/interpreter.py"}


def test_the_schema_of_files_comes_in_through_one_door() -> None:
    found = {str(file) for file in FILES for name in imported(file) if "schema_py_generated" in name}
    assert found == {"tflite/edit.py"}


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


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] != "pipeline"], ids=str)
def test_only_the_pipeline_has_command_lines(file: Path) -> None:
    assert "__main__" not in (ROOT / file).read_text()


def stems(name: str) -> set[str]:
    """A name without one ending after the other, down to five letters."""
    found = {name}
    while len(shorter := ENDINGS.sub("", name)) >= 5 and shorter != name:
        found.add(name := shorter)
    return {stem for stem in found if len(stem) >= 5}


def alike(one: str, other: str) -> bool:
    """Whether two names differ by an ending: one goes on for at most four letters, or both are endings of one stem."""
    short, long = sorted((one, other), key=len)
    return (long.startswith(short) and len(long) - len(short) <= 4) or bool(stems(short) & stems(long))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("train", "trainer", True),
        ("trainer", "trained", True),
        ("progress", "progressive", True),
        ("quantize", "quantizers", True),
        ("pruned", "pruning", False),  # a stem of four letters is a word like many others
        ("train", "retrain", False),
        ("decode", "detector", False),
        ("image", "images", True),
        ("contract", "convert", False),
    ],
)
def test_what_alike_means(one: str, other: str, expected: bool) -> None:
    assert alike(one, other) == alike(other, one) == expected


def test_no_two_modules_differ_by_an_ending() -> None:
    names = {file.parent.name if file.stem in ("__init__", "__main__") else file.stem for file in FILES}
    pairs = {pair for pair in itertools.combinations(sorted(names), 2) if alike(*pair)}
    assert pairs - set(ALLOWED) == set()
    assert set(ALLOWED) - pairs == set(), "no longer an exception"
