"""Some of the damaged copies that benchmarks/fuzz.py makes by the thousand."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"
COPIES = 12


@pytest.fixture(scope="module")
def fuzz() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_damaged_copies_end_in_an_answer_or_a_clear_error(fuzz: Any, exported: Path, tmp_path: Path) -> None:
    for suffix in ("tflite", "json"):
        shutil.copy(exported / "export" / f"model_int8.{suffix}", tmp_path)
    ends = fuzz.run(fuzz.Config(model=tmp_path / "model_int8.tflite", run=exported, mutations=COPIES))
    assert sum(ends.values()) == 8 * COPIES
    assert not any("unclear" in end for end in ends)
    assert ends["predict: error: not the contract's file"] >= COPIES // 8
    assert ends["benchmark: answer"] and ends["inspect: answer"] and ends["inspect: error: damaged"]


def test_a_copy_is_the_same_every_time(fuzz: Any, exported: Path) -> None:
    data = (exported / "export" / "model_int8.tflite").read_bytes()
    copies = [fuzz.mutate(data, number) for number in range(16)]
    assert copies == [fuzz.mutate(data, number) for number in range(16)]
    assert {kind for kind, _ in copies} == set(fuzz.KINDS)
    assert all(copy != data for _, copy in copies)


def test_what_a_user_should_not_see_is_noticed(fuzz: Any) -> None:
    def fail(error: Exception) -> None:
        raise error

    assert fuzz.outcome(lambda: fail(KeyError("x"))) == "unclear: KeyError: 'x'"
    assert fuzz.outcome(lambda: fail(ValueError("what?"))) == "unclear: what?"
    assert fuzz.outcome(lambda: fail(ValueError("m: not a .tflite (its bytes...)"))) == "error: not a .tflite"
    assert fuzz.outcome(lambda: None) == "answer"
