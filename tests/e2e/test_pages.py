"""The two pages that a newcomer types from, run as they stand: but for what installs, serves, or takes long."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import documents
import pytest

from micro_yolo.pipeline.data import synthetic

ROOT = documents.ROOT
# Training small enough for a test.
SMALLER = {"pipeline.train": ["--arch", "yolo_lite", "--size", "64", "--epochs", "1"]}
ELSEWHERE = ("pip", "npm", "make", ".")


def typed(page: str, place: Path) -> list[str]:
    """What the page has typed, each command once, run in `place`; the first that fails ends it."""
    done: list[str] = []
    for block in documents.blocks((ROOT / "docs" / page).read_text()):
        for words in documents.commands(block):
            line = " ".join(words)
            if line in done or words[0] in ELSEWHERE or "venv" in words or "pipeline.browser" in words:
                continue
            assert words[:2] == ["python", "-m"], line
            run = subprocess.run(
                [sys.executable, *words[1:], *SMALLER.get(words[2], [])],
                cwd=place,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert run.returncode == 0, f"{line}: {run.stderr}"
            done.append(line)
    return done


def test_see_it_work(tmp_path: Path) -> None:
    models, images = "android_demo/app/src/main/assets/models", "pipeline/cards/images"
    (tmp_path / models).parent.mkdir(parents=True)
    (tmp_path / models).symlink_to(ROOT / models)
    (tmp_path / images).mkdir(parents=True)
    for picture in sorted((ROOT / images).iterdir())[:4]:
        shutil.copy(picture, tmp_path / images)
    assert len(typed("start.md", tmp_path)) == 3
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 4 and (tmp_path / "out/detections.json").is_file()


@pytest.mark.slow
def test_your_own_photographs(tmp_path: Path) -> None:
    synthetic.make(tmp_path / "photos", train=12, val=4, size=(64, 64))
    done = typed("photographs.md", tmp_path)
    assert [line.split()[2] for line in done] == [
        f"pipeline.{name}" for name in ("data", "train", "convert", "evaluate", "predict", "report")
    ]
    assert (tmp_path / "data_report/contact_sheet.png").is_file()
    assert (tmp_path / "runs/mine/export/model_int8.tflite").is_file()
    assert (tmp_path / "runs/mine/report.html").is_file()
