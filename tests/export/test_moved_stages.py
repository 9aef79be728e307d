"""Data, and the run with it, have moved or changed between the stop of a stage and its --resume: prune, qat, search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from micro_yolo.model.spec import Arch
from micro_yolo.pipeline import prune, qat, search
from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store import runs

pytestmark = pytest.mark.slow
ASKED: dict[str, dict[str, Any]] = {
    "prune": {"rows": ("l4",), "step": 0.25},
    "qat": {"samples": 4},
    "search": {"rows": ("l4",), "kernels": (3, 5)},
}
STAGES: dict[str, Any] = {"prune": prune, "qat": qat, "search": search}


class ReachedError(Exception):
    """All was found to be as it was: here the training would begin."""


@pytest.fixture(params=list(STAGES))
def stage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(stage: str, own_run: Path, tiny: Arch, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a run, in which a stage was begun and stopped."""

    def reached(*_: Any) -> None:
        raise ReachedError

    monkeypatch.setattr(prune.Progressive, "run", reached)
    monkeypatch.setattr(qat, "_train", reached)
    monkeypatch.setattr(search, "_search", reached)
    home = own_run.parent / "home"
    shutil.copytree(tiny_data, home / "data")
    shutil.move(own_run, home / "run")
    asked = ASKED[stage]
    if stage == "search":
        asked = asked | {"arch": str(runs.write_json(home / "table.json", tiny.to_json()))}
    options = {"recipe": Recipe(epochs=1), "batch": 4, "augment": Strength(mosaic=0)}
    with pytest.raises(ReachedError):
        STAGES[stage].run(STAGES[stage].Config(run=home / "run", data=home / "data", **asked, **options))
    return home


def resume(stage: str, home: Path, data: Path | None = None) -> None:
    STAGES[stage].run(STAGES[stage].Config(run=home / "run", data=data, resume=True))


def test_a_run_and_its_data_that_moved(stage: str, home: Path) -> None:
    there = home.rename(home.with_name("there"))
    with pytest.raises(FileNotFoundError, match=r"data: the data of this stage is no longer there; `.* --data PATH`"):
        resume(stage, there)
    with pytest.raises(ReachedError):
        resume(stage, there, there / "data")


def test_data_that_changed_is_refused_with_both_ways_on(stage: str, home: Path) -> None:
    kept = home / "kept"
    shutil.copytree(home / "data", kept)
    labels = home / "data" / "instances_train.json"
    said = json.loads(labels.read_text())
    said["annotations"][0]["bbox"][2] -= 1
    labels.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"must hold what .* was begun with, .* or --overwrite to start again"):
        resume(stage, home)
    with pytest.raises(ReachedError):
        resume(stage, home, kept)
    picture = load(kept).splits["train"].files[0]
    with Image.open(picture) as opened:
        size = opened.size
    Image.new("RGB", size, "red").save(picture)
    with pytest.raises(ValueError, match=r"must hold what .* was begun with, train"):
        resume(stage, home, kept)


def test_what_it_goes_on_from_must_stay(stage: str, home: Path) -> None:
    if stage == "search":
        # Its table is its own: that from which it was begun may go.
        (home / "table.json").write_text("{}")
        with pytest.raises(ReachedError):
            resume(stage, home)
        return
    table = home / "run" / "train" / runs.ARCH
    table.write_text(table.read_text().replace("30.0", "31.0"))
    with pytest.raises(ValueError, match="began with other rows than"):
        resume(stage, home)
