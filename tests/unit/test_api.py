"""The names of `micro_yolo`: what importing them costs, and that each says what it is."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import micro_yolo

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ("tensorflow", "tf_keras", "keras", "keras_cv", "matplotlib", "pycocotools")
SCREEN = ("tyro", "rich")


def loaded(code: str, among: tuple[str, ...]) -> set[str]:
    code = f"import sys; {code}; print(*({set(among)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(done.stdout.split())


def test_importing_it_costs_nothing() -> None:
    assert not loaded("import micro_yolo", (*TRAINING, *SCREEN, "numpy", "PIL", "ai_edge_litert"))
    code = "import time; start = time.perf_counter(); import micro_yolo; print(time.perf_counter() - start)"
    took = [
        float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(took) < 0.1


def test_a_detector_needs_neither_training_nor_command_lines() -> None:
    assert not loaded("import micro_yolo; micro_yolo.Detector", (*TRAINING, *SCREEN))


@pytest.mark.parametrize("name", micro_yolo.__all__)
def test_no_name_loads_tensorflow(name: str) -> None:
    assert not loaded(f"from micro_yolo import {name}", TRAINING)


@pytest.mark.parametrize("name", micro_yolo.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(micro_yolo, name)
    assert name in dir(micro_yolo)
    assert inspect.getdoc(found)
    if inspect.isclass(found):
        for method, what in vars(found).items():
            assert method.startswith("_") or not callable(what) or inspect.getdoc(what), method


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'micro_yolo' has no attribute 'Detecter'"):
        micro_yolo.Detecter  # noqa: B018


def test_every_name_has_its_place_in_the_document() -> None:
    text = (ROOT / "docs/python.md").read_text()
    for name in micro_yolo.__all__:
        assert f"micro_yolo.{name}" in text, name
