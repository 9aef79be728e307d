from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_yolo.pipeline.store import runs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finish(stage: Path, arch: object = None) -> Path:
    stage.mkdir(parents=True, exist_ok=True)
    runs.write_json(stage / runs.ARCH, arch if arch is not None else {"name": "micro_yolo"})
    runs.write_atomic(stage / runs.WEIGHTS, b"weights")
    runs.write_json(stage / runs.CONFIG, {"seed": 0})
    runs.write_json(stage / runs.METRICS, {"AP": 1.0})
    return stage


def test_write_atomic_makes_directories_and_leaves_one_file(tmp_path: Path) -> None:
    path = runs.write_atomic(tmp_path / "a" / "b" / "café.txt", "é")
    assert path.read_bytes() == "é".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    assert runs.write_atomic(tmp_path / "x", b"").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs.write_atomic(tmp_path / "x.json", "old")

    def full(fd: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(type(error)):
        runs.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_keeps_the_suffixes_and_replaces_only_when_it_ends_well(tmp_path: Path) -> None:
    path = tmp_path / runs.WEIGHTS
    with pytest.raises(RuntimeError), runs.writing(path) as beside:
        beside.write_bytes(b"half")
        assert beside.name.endswith(runs.WEIGHTS)
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with runs.writing(path) as beside:
        beside.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"


def test_json_takes_what_the_stages_have(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        run: Path
        size: tuple[int, int]

    value = {
        "config": Config(Path("runs/x"), (320, 320)),
        "ap": np.float32(0.5),
        "ids": np.arange(3),
        "nan": float("nan"),
        "inf": np.inf,
        "flag": np.True_,
        3: {"b", "a"},
    }
    assert runs.read_json(runs.write_json(tmp_path / "x.json", value)) == {
        "config": {"run": "runs/x", "size": [320, 320]},
        "ap": 0.5,
        "ids": [0, 1, 2],
        "nan": None,
        "inf": None,
        "flag": True,
        "3": ["a", "b"],
    }


def test_json_refuses_what_has_no_form(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got object"):
        runs.write_json(tmp_path / "x.json", {"a": object()})
    assert not list(tmp_path.iterdir())


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain_values)
def test_plain_values_stay_as_they_are(value: object) -> None:
    assert json.loads(json.dumps(runs.plain(value))) == value


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_read_json_names_the_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.json: must be JSON"):
        runs.read_json(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError, match=r"y\.json: no such file"):
        runs.read_json(tmp_path / "y.json")


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert runs.sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_new_run_makes_the_stage_directory() -> None:
    assert runs.new_run(Path("a/b c")) == Path("a/b c")
    assert Path("a/b c/train").is_dir()


def test_new_runs_without_a_name_do_not_meet() -> None:
    made = {runs.new_run() for _ in range(3)}
    assert len(made) == 3
    assert all(run.parent == runs.RUNS for run in made)


def test_a_finished_stage_is_not_overwritten_unless_asked() -> None:
    finish(Path("r/train"))
    finish(Path("r/qat"))
    (Path("r") / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"already holds a finished train.*--overwrite"):
        runs.new_run(Path("r"))
    assert (Path("r/train") / runs.WEIGHTS).exists()
    runs.new_run(Path("r"), overwrite=True)
    assert not list(Path("r/train").iterdir())
    assert not Path("r/qat").exists()
    assert Path("r/notes.txt").exists()


def test_a_later_stage_leaves_the_earlier_ones() -> None:
    finish(Path("r/train"))
    finish(Path("r/prune"))
    finish(Path("r/export"))
    runs.new_run(Path("r"), stage="prune", overwrite=True)
    assert runs.is_finished(Path("r/train"))
    assert not Path("r/export").exists()


def test_a_half_made_stage_offers_to_resume() -> None:
    runs.begin(runs.new_run(Path("r")) / "train", {})
    with pytest.raises(ValueError, match=r"half-made train.*--resume.*--overwrite"):
        runs.new_run(Path("r"))


def test_of_two_that_begin_at_one_moment_one_is_the_first() -> None:
    first, second = (runs.new_run(Path("r")) / "train" for _ in range(2))
    runs.begin(first, {"whose": 1}, arch={"name": "a"})
    with pytest.raises(ValueError, match=r"half-made train.*--resume"):
        runs.begin(second, {"whose": 2}, arch={"name": "b"})
    assert (
        runs.read_json(first / runs.CONFIG)["settings"]["whose"] == 1
        and runs.read_json(first / runs.ARCH)["name"] == "a"
    )
    assert {path.name for path in Path("r").iterdir()} == {"train"}


@pytest.mark.parametrize("write", ["write_json", "record"])
def test_killed_before_it_recorded_its_settings_a_stage_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    class KilledError(BaseException):
        pass

    def killed_then(*args: object, **more: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(runs, write, killed_then)
        patched.setattr(runs.shutil, "rmtree", lambda *args, **more: None)
        patched.setattr(Path, "rmdir", lambda path: None)
        with pytest.raises(KilledError):
            runs.begin(runs.new_run(Path("r")) / "train", {}, arch={"name": "a"})
    assert len(list(Path("r").iterdir())) == 2
    runs.begin(runs.new_run(Path("r")) / "train", {}, arch={"name": "a"})
    assert (Path("r/train") / runs.CONFIG).is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_that_is_no_run_is_never_touched(overwrite: bool) -> None:
    Path("home").mkdir()
    Path("home/thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a run"):
        runs.new_run(Path("home"), overwrite=overwrite)
    with pytest.raises(ValueError, match="got a file"):
        runs.new_run(Path("home/thesis.txt"), overwrite=overwrite)
    assert [path.name for path in Path("home").iterdir()] == ["thesis.txt"]


def test_an_unwritable_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"^r: cannot be made \(Permission denied\); allowed: --run"):
        runs.new_run(Path("r"))


def test_latest_follows_the_newest_run() -> None:
    for name in ("one", "two"):
        runs.point_latest(runs.new_run(runs.RUNS / name))
        assert runs.resolve_run() == runs.RUNS / name
    assert {path.name for path in runs.RUNS.iterdir()} == {"one", "two", "latest"}


def test_latest_reaches_a_run_kept_elsewhere(tmp_path: Path) -> None:
    run = runs.new_run(tmp_path / "other" / "r")
    runs.point_latest(run)
    assert runs.resolve_run().resolve() == run


def test_a_directory_called_latest_is_not_replaced() -> None:
    finish(runs.RUNS / "latest" / "train")
    with pytest.raises(OSError, match="must be a link"):
        runs.point_latest(Path("r"))
    assert [path.name for path in runs.RUNS.iterdir()] == ["latest"]


def test_no_run_says_how_to_make_one() -> None:
    with pytest.raises(FileNotFoundError, match=r"no run yet; `python -m pipeline\.train`"):
        runs.resolve_run()
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such run; `python -m pipeline\.train --run nowhere`"):
        runs.resolve_run(Path("nowhere"))
    Path("empty").mkdir()
    with pytest.raises(ValueError, match="empty: a run must hold one of train"):
        runs.resolve_run(Path("empty"))


def test_a_latest_that_is_gone_is_told() -> None:
    run = runs.new_run(runs.RUNS / "gone")
    runs.point_latest(run)
    os.rename(run, "moved")
    with pytest.raises(FileNotFoundError, match="points at gone, which is gone"):
        runs.resolve_run()


def test_latest_stage_is_the_most_finished_before() -> None:
    run = Path("r")
    for stage in runs.STAGES:
        finish(run / stage)
    assert runs.latest_stage(run) == run / "qat"
    assert runs.latest_stage(run, before="qat") == run / "prune"
    assert runs.latest_stage(run, before="export") == run / "qat"
    (run / "qat" / runs.METRICS).unlink()
    assert runs.latest_stage(run) == run / "prune"


def test_latest_stage_without_one_says_what_to_do() -> None:
    run = runs.new_run(Path("r"))
    with pytest.raises(ValueError, match=r"its train is half-made; `python -m pipeline\.train --run r --resume`"):
        runs.latest_stage(run)
    with pytest.raises(ValueError, match=r"no train in it; `python -m pipeline\.train --run nothing`"):
        runs.latest_stage(Path("nothing"), before="prune")


def test_read_stage() -> None:
    stage = runs.read_stage(finish(Path("r/train")))
    assert (stage.arch["name"], stage.config["seed"], stage.weights.read_bytes()) == ("micro_yolo", 0, b"weights")


def test_read_stage_names_what_is_missing() -> None:
    stage = finish(Path("r/train"), arch=[1])
    with pytest.raises(ValueError, match=r"arch\.json: must hold a JSON object, got list"):
        runs.read_stage(stage)
    (stage / runs.CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json: no such file"):
        runs.read_stage(stage)
    (stage / runs.WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match="half-made"):
        runs.read_stage(stage)
    with pytest.raises(FileNotFoundError, match="no such stage"):
        runs.read_stage(Path("r/prune"))


def test_record_holds_settings_parent_and_versions() -> None:
    parent = finish(Path("r/train"))
    record = runs.record({"epochs": 3}, parent=parent, seed=7)
    assert record["settings"] == {"epochs": 3}
    assert record["seed"] == 7
    sums = {"sha256": hashlib.sha256(b"weights").hexdigest(), "table": runs.sha256(parent / runs.ARCH)}
    assert record["parent"] == {"path": "r/train", **sums}
    assert {"python", "numpy", "ai-edge-litert"} <= set(record["versions"])
    assert json.dumps(record)


def test_files_are_written_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a" / "first", tmp_path / "b" / "second"
    runs.write_together({first: b"1", second: b"2"})
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    with pytest.raises(TypeError):
        runs.write_together({first: b"changed", second: "text"})  # type: ignore[dict-item]
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["first", "second"]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that our code seems to be in."""
    file = tmp_path / "clone" / "pipeline" / "store" / "runs.py"
    runs.write_atomic(file, "first")
    monkeypatch.setattr(runs, "__file__", str(file))
    runs.commit.cache_clear()
    yield tmp_path / "clone"
    runs.commit.cache_clear()


def git(clone: Path, *args: str) -> str:
    told = subprocess.run(
        ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@b", *args],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return told.stdout.strip()


def test_the_commit_of_our_code_is_recorded(clone: Path) -> None:
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "first")
    git(clone, "tag", "-a", "v1", "-m", "a tag")
    assert runs.provenance()["commit"] == git(clone, "rev-parse", "HEAD")
    runs.commit.cache_clear()
    runs.write_atomic(clone / "pipeline" / "store" / "runs.py", "second")
    assert runs.provenance()["commit"] == git(clone, "rev-parse", "HEAD") + "+changes"


def test_what_is_no_clone_or_has_no_git_records_no_commit(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "commit" not in runs.provenance()
    git(clone, "init", "-q")
    runs.commit.cache_clear()
    # Nothing is committed yet.
    assert "commit" not in runs.provenance()
    monkeypatch.setenv("PATH", "")
    runs.commit.cache_clear()
    assert "commit" not in runs.provenance()


def test_a_stage_that_cannot_be_begun_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = runs.new_run(Path("r"))
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "fsync", full)
        runs.begin(run / "train", {"epochs": 3}, arch={"name": "a"})
    assert not (run / "train").exists()
    run = runs.new_run(Path("r"))
    runs.begin(run / "train", {"epochs": 3}, arch={"name": "a"}, loss={"box": 1.0})
    config = runs.read_json(run / "train" / runs.CONFIG)
    assert (config["settings"], config["loss"], config["parent"]) == ({"epochs": 3}, {"box": 1.0}, None)
    assert runs.read_json(run / "train" / runs.ARCH) == {"name": "a"}
