"""`pipeline.search` before any training: its candidates, its ranking, and everything it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.model.zoo import ARCHS
from micro_yolo.pipeline import search
from micro_yolo.pipeline.data import synthetic
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs

PAPERS = ("l3", "l5", "l7", "l9", "l11")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make(tmp_path_factory.mktemp("shapes") / "set", train=4, val=2, size=(64, 64), seed=0)


def call(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The one line the command leaves with."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(search.Config, search.command, prog=search.PROG, args=[str(arg) for arg in args])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_papers_32() -> None:
    paper = ARCHS["micro_yolo"]
    config = search.Config()
    assert (config.rows, config.kernels, config.recipe.epochs) == (PAPERS, (3, 5), 20)
    found = search.candidates(paper, config.rows, config.kernels)
    assert len(found) == 32 and len({table.rows for table in found.values()}) == 32
    assert found["35353"].rows == paper.rows and found["35353"].name == "micro_yolo_35353"
    for key, table in found.items():
        assert "".join(str(table.row(name).k) for name in PAPERS) == key
        assert all(row == paper.row(row.name) for row in table.rows if row.name not in PAPERS)


def test_names_stay_apart_for_wide_kernels() -> None:
    found = search.candidates(ARCHS["micro_yolo"], ["l5", "l3"], [3, 11])
    assert list(found) == ["33", "3-11", "11-3", "11-11"]
    assert (found["3-11"].row("l5").k, found["3-11"].row("l3").k) == (3, 11)


def test_ranking() -> None:
    def result(key: str, ap50: float | None, ap: float | None, macs: int) -> dict[str, Any]:
        return {"key": key, "AP50": ap50, "AP": ap, "macs": macs}

    results = [
        result("failed", None, None, 1),
        result("zero", 0.0, 0.0, 1),
        result("large", 60.0, 30.0, 9),
        result("small", 60.0, 30.0, 5),
        result("sharp", 60.0, 31.0, 9),
        result("best", 61.0, 10.0, 9),
    ]
    assert [each["key"] for each in search.ranked(results)] == ["best", "sharp", "small", "large", "zero", "failed"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--rows", "l3", "l33"], "rows: micro_yolo has no row 'l33'; nearest: l3, l13"),
        (["--rows", "l4"], "rows: micro_yolo.l4 is a pool, which has no kernel; allowed: l1, l3, l5,"),
        (["--rows", "l16"], "rows: micro_yolo.l16 is a detect, which has no kernel"),
        (["--rows", "l3", "l3"], "rows: must be different rows of micro_yolo, at least one, got l3 l3"),
        (["--rows"], "rows: must be different rows of micro_yolo, at least one, got none"),
        (["--kernels", "3"], "kernels: must be two or more different sizes above 0, got 3"),
        (["--kernels", "3", "3"], "kernels: must be two or more different sizes above 0, got 3 3"),
        (["--kernels", "0", "3"], "kernels: must be two or more different sizes above 0, got 0 3"),
        (["--arch", "micro_yol"], "arch: unknown network 'micro_yol'; nearest: micro_yolo"),
        (["--arch", "yolo_lite"], "rows: yolo_lite has no row 'l3'; nearest: none; allowed: conv1, conv2,"),
        (["--size", "100"], "micro_yolo: size (height x width) must be multiples of 32, got 100x100"),
        (["--batch", "0"], "batch: must be at least 1, got 0"),
        (["--batch", "5"], "batch: must not exceed the 4 training images, got 5"),
        (["--epochs", "0"], "epochs: must be above 0, got 0"),
        (["--seed", "-1"], "seed: must not be negative, got -1"),
        (["--data", "none"], "none: no such folder of labelled images"),
        (["--run", "file"], "file: a run must be a directory, got a file"),
        (["--run", "foreign"], "foreign: exists and is not a run"),
        (["--run", "begun"], "begun: already holds a search; allowed: --resume"),
        (["--run", "new", "--resume"], "new: has no search stage to continue"),
    ],
)
def test_mistakes_cost_no_training(
    args: list[str],
    message: str,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(search, "_search", lambda *_: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine").touch()
    (tmp_path / "begun" / "search").mkdir(parents=True)
    (tmp_path / "begun" / "search" / "arch.json").touch()
    before = sorted(tmp_path.rglob("*"))
    given = args if "--data" in args or "--resume" in args else ["--data", shapes, *args]
    line = call(capsys, *given)
    assert line.startswith(f"{search.PROG}: {message}"), line
    assert sorted(tmp_path.rglob("*")) == before


def test_validation_without_boxes(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = shutil.copytree(shapes, tmp_path / "set")
    file = data / "instances_val.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "annotations": []}))
    line = call(capsys, "--data", data, "--batch", 2, "--run", tmp_path / "run")
    assert "split 'val' needs usable boxes, got 0" in line
    assert not (tmp_path / "run").exists()


def test_no_search_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "runs: there is no search to resume" in call(capsys, "--resume")


def test_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    assert "a search runs on one machine" in call(capsys)


def test_processes_that_share_a_search_want_the_same(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ("--data", shapes, "--batch", 2)
    journal = ("--storage", tmp_path / "journal")
    for more in ((), ("--run", tmp_path / "run", "--overwrite")):
        line = call(capsys, *shared, *journal, *more)
        assert "storage: processes that share a search must be told the same new --run, without --overwrite" in line
    line = call(capsys, *shared, "--run", tmp_path / "run", "--storage", "postgresql://me:secret@there/studies")
    assert "storage: a password in a URL" in line and "secret" not in line
    assert not list(tmp_path.iterdir())
    # Who comes later and asks for something else, or knows of no storage, does not join.
    config = search.Config(run=tmp_path / "run", data=shapes, batch=2, storage=str(tmp_path / "journal"))
    runs.begin(runs.new_run(config.run, stage="search") / "search", config, arch=ARCHS["micro_yolo"].to_json())
    line = call(capsys, *shared, *journal, "--run", tmp_path / "run", "--rows", "l3")
    assert "goes on with the recorded rows, ('l3', 'l5', 'l7', 'l9', 'l11'), got ('l3',)" in line
    assert "already holds a search" in call(capsys, *shared, "--run", tmp_path / "run")
    assert not (tmp_path / "journal").exists()


def test_all_candidates_train_in_one_precision(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = call(capsys, "--data", shapes, "--batch", 2, "--run", tmp_path / "run", "--precision", "auto")
    assert "precision: candidates are compared, so all train in one, got auto; allowed: float32, bfloat16" in line
    assert not list(tmp_path.iterdir())


def test_a_directory_with_only_a_search_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "run" / "search").mkdir(parents=True)
    runs.check_new_run(tmp_path / "run")
