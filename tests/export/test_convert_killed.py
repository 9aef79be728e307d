"""Several files of one conversion: all of them or none, and again where the process was killed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.pipeline import convert as stage
from micro_yolo.pipeline.convert import Config
from micro_yolo.pipeline.store import killed
from micro_yolo.tflite.convert import check


def files(run: Path) -> set[str]:
    folder = run / "export"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture(scope="module")
def finished_run(briefest_run: Path) -> Path:
    return briefest_run


class Killed(BaseException):
    """The process ends here, and nothing is cleaned up."""


@pytest.mark.parametrize("nth", [2, 3, 5])
def test_several_files_killed_half_way_can_be_asked_for_again(
    own_run: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    asked = Config(run=own_run, float32=True, float16=True, score_samples=0)
    replacing, calls = os.replace, []

    def kill(*paths: Any) -> None:
        calls.append(paths)
        if len(calls) >= nth:
            raise Killed
        replacing(*paths)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", kill)
        with pytest.raises(Killed):
            stage.run(asked)
    assert 0 < len(files(own_run)) < 8
    stage.run(asked)
    named = {f"model_{each}.{suffix}" for each in ("float32", "float16") for suffix in ("tflite", "json", "md")}
    assert files(own_run) == {"labels.txt", *named}
    with pytest.raises(ValueError, match="already exists"):
        stage.run(asked)


def test_files_are_written_when_all_are_made(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: bytes, variant: str, *more: Any) -> Any:
        if variant == "float16":
            raise ValueError("float16 refused")
        return check(data, variant, *more)

    monkeypatch.setattr("micro_yolo.tflite.convert.check", refuse)
    with pytest.raises(ValueError, match="float16 refused"):
        stage.run(Config(run=own_run, float32=True, float16=True, score_samples=0))
    assert files(own_run) == set()


def test_a_second_conversion_into_the_same_folder_is_told(own_run: Path) -> None:
    """Both would pass the look whether files are there already, and one would overwrite the other's."""
    asked = Config(run=own_run, float32=True, score_samples=0)
    with killed.alone(own_run / "export"):
        with pytest.raises(ValueError, match=r"export: another process is making it; .*another --out"):
            stage.run(asked)
        stage.run(dataclasses.replace(asked, out=own_run / "other"))
    stage.run(asked)
    assert "model_float32.tflite" in files(own_run)
