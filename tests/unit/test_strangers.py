"""Runs that somebody else made: what their tables, settings and histories say is looked at before it is used."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.model.heads import settings_of
from micro_yolo.model.spec import Arch
from micro_yolo.pipeline import report, search, train
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import history, resume, runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.tflite import contract, inspect

TABLE: dict[str, Any] = {
    "name": "tiny",
    "size": [64, 64],
    "rows": [
        {"name": "l1", "op": "conv", "out": 8, "k": 3, "s": 2},
        {"name": "l2", "op": "detect", "anchors": [[12, 12]]},
    ],
}
FACTS: dict[str, Any] = {"settings": {"resize": "stretch", "seed": 3, "val_fraction": 0.25}, "names": ["a"] * 80}


FIRST, LAST = TABLE["rows"]


def stage(run: Path, table: Any = TABLE, facts: Any = FACTS) -> Path:
    folder = run / "train"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in ((runs.ARCH, table), (runs.CONFIG, facts), (runs.METRICS, {}), (runs.WEIGHTS, 0)):
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return run


def row(**changes: Any) -> dict[str, Any]:
    first, *others = TABLE["rows"]
    return {**TABLE, "rows": [first | changes, *others]}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE | {"size": [1 << 20, 1 << 20]}, "size must be at most 16384"),
        (TABLE | {"classes": 1 << 31}, "classes must be at most 65536"),
        (row(out=10**9), "tiny.l1: out must be at most 65536"),
        (row(k=10**6), "tiny.l1: k must be at most 1024"),
        (TABLE | {"rows": TABLE["rows"] * 5000}, "rows must be at most 4096"),
        (TABLE | {"rows": [TABLE["rows"][0], {"name": "l2", "op": "detect", "anchors": [[10**400, 1]]}]}, "anchors"),
        (
            TABLE | {"rows": [FIRST | {"s": 1024}, FIRST | {"name": "l3", "s": 32}, LAST]},
            "tiny.l3: stride must be at most",
        ),
        (
            TABLE | {"rows": [FIRST | {"out": 40000}, {"name": "l3", "op": "concat", "src": ["l1", "l1"]}, LAST]},
            "tiny.l3: channels must be at most 65536",
        ),
        ("[" * 100_000, "not JSON"),
        ('{"classes": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_table_without_bounds_is_refused(table: Any, message: str, tmp_path: Path) -> None:
    stage(tmp_path, table)
    with pytest.raises(ValueError, match=message) as raised:
        Arch.load(tmp_path / "train" / runs.ARCH)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("name", [runs.ARCH, runs.CONFIG, runs.HISTORY])
@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_what_is_no_file_of_a_run_is_not_read(kind: str, name: str, tmp_path: Path) -> None:
    path = stage(tmp_path) / "train" / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 1 << 36)
    read = {runs.ARCH: Arch.load, runs.CONFIG: runs.read_json, runs.HISTORY: history.read}[name]
    if name == runs.HISTORY and kind != "huge":
        assert history.read(path) == []
        return
    with pytest.raises((ValueError, OSError)) as refused:
        read(path)
    assert re.search("must be (a regular file|at most)", cli.message(refused.value))
    assert str(path) in cli.message(refused.value)


@pytest.mark.parametrize("model", ["model.tflite", "model.json"])
def test_a_pipe_for_a_model_or_its_contract_is_not_waited_for(model: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / model)
    with pytest.raises((ValueError, OSError)):
        contract.load(tmp_path / "model.tflite")
    with pytest.raises((ValueError, OSError)):
        inspect.read_bytes(tmp_path / "model.tflite")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"val_fraction": None}, "val_fraction: must be a number, got null"),
        ({"val_fraction": 10**400}, "val_fraction: must be a number"),
        ({"val_fraction": 2}, "val_fraction: must be between 0 and 1, got 2"),
        ({"split_seed": "x"}, "split_seed: must be a whole number"),
        ({"resize": "\x1b[2J"}, "resize: unknown"),
        ({"resize": []}, "resize: must be a string"),
        ({"data": 5}, "data: must be a string, got 5"),
        ({"content": {"train": {"images": 1}}}, "content.train: boxes, sha256 missing"),
        ({"content": 3}, "content: must be a mapping"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "too many digits"),
    ],
)
def test_what_a_config_says_of_the_data_has_its_types(facts: Any, message: str, tmp_path: Path) -> None:
    stage(tmp_path, facts=facts if isinstance(facts, str) else FACTS | facts)
    with pytest.raises(ValueError, match=message) as raised:
        find(tmp_path)
    assert runs.CONFIG in str(raised.value) and "\n" not in str(raised.value)


def test_what_ours_say_is_read(tmp_path: Path) -> None:
    facts = FACTS | {"content": {"train": {"images": 1, "boxes": 2, "sha256": "0"}}, "data": "/x/\udcff"}
    found = find(stage(tmp_path, facts=facts))
    assert (found.val_fraction, found.seed, found.resize) == (0.25, 3, "stretch")
    assert found.content == facts["content"] and str(found.data) == "/x/\udcff"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{runs.DEBUG}/{runs.DEBUGGED}", []),
        (f"{runs.DEBUG}/{runs.DEBUGGED}", {"files": []}),
        (f"{runs.DEBUG}/{runs.DEBUGGED}", {"files": {}, "layers": [], "worst": ["l1"]}),
        (f"{runs.DEBUG}/{runs.DEBUGGED}", {"files": {}, "layers": [], "worst": []}),
        (runs.COMPARED, []),
        (runs.COMPARED, {"stages": [{}]}),
        (runs.EDGE, {"edge": []}),
        ("metrics_int8.json", {"split": "val", "sha256": []}),
        ("prune/steps.json", {"unpruned": {}}),
    ],
)
def test_a_page_of_somebodys_records_is_made_or_refused_in_one_line(name: str, value: Any, tmp_path: Path) -> None:
    runs.write_json(stage(tmp_path) / name, value)
    with pytest.raises(ValueError, match="must be") as refused:
        report.run(report.Config(run=tmp_path))
    assert str(tmp_path) in str(refused.value) and "\n" not in cli.message(refused.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("given", [{"box": "10"}, {"box": None}, {"box": float("nan")}, {"box": 10**400}, [1], "box"])
def test_settings_of_a_loss_are_numbers(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^loss(\.box)?: "):
        settings_of(Arch.from_json(TABLE), given)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (train.Config, {"batch": "8"}),
        (train.Config, {"batch": True}),
        (train.Config, {"seed": 1.5}),
        (train.Config, {"data": 7}),
        (train.Config, {"recipe": {"epochs": []}}),
        (train.Config, {"recipe": 3}),
        (train.Config, {"xla": 1}),
        (search.Config, {"kernels": [3, "5"]}),
        (search.Config, {"rows": 5}),
    ],
)
def test_settings_that_are_gone_on_with_have_their_types(kind: Any, changes: dict[str, Any]) -> None:
    said = runs.plain(kind())
    assert resume.from_json(kind, {"settings": said}, Path("config.json")) == kind()
    with pytest.raises(ValueError, match=r"^config\.json: must hold the settings of this command"):
        resume.from_json(kind, {"settings": said | changes}, Path("config.json"))


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "epoch,AP\n,3\n", "epoch\n1\n1,2,3\n", "epoch,AP\n" + "9" * 5000 + ",1\n"]
)
def test_a_history_of_somebody_is_one_or_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / runs.HISTORY
    path.write_text(text)
    with pytest.raises(ValueError, match="must be numbers"):
        history.read(path)
