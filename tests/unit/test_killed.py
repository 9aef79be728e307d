"""What killed processes leave, and two processes that want the same."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import micro_yolo
from micro_yolo.pipeline.store import killed, runs

ROOT = Path(micro_yolo.__file__).resolve().parents[1]


def at(code, folder, status=0):
    """Run code in a process of its own that starts in a folder; what it said."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "from pathlib import Path\nfrom micro_yolo.pipeline.store import killed, runs\n" + code
    ended = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    return ended.stdout


DIE = "import os; os.kill(os.getpid(), 9)"


def finished(run, stage="train"):
    (run / stage).mkdir(parents=True)
    for name in (runs.ARCH, runs.WEIGHTS, runs.CONFIG, runs.METRICS):
        (run / stage / name).write_text("{}")
    return run / stage


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_the_dead_were_writing_is_removed_and_what_the_living_write_is_not(tmp_path):
    stage = finished(tmp_path / "run")
    code = f"with runs.writing(Path('train/a.h5')) as p:\n    p.write_text('half'); {DIE}"
    at(code, tmp_path / "run", status=-9)
    left = [path.name for path in stage.iterdir() if path.name.endswith("a.h5")]
    assert len(left) == 1
    alive = stage / f".part-{socket.gethostname()}-{os.getppid()}-b.h5"
    elsewhere = stage / ".part-another-machine-1-c.h5"
    for path in (alive, elsewhere):
        path.write_text("half")
    runs.sweep(tmp_path / "run")
    assert left[0] not in names(stage) and {alive.name, elsewhere.name} <= names(stage)
    assert runs.is_finished(stage)


def test_who_writes_into_a_folder_removes_what_the_dead_left_there(tmp_path):
    """Such as pipeline.debug in RUN/debug, which no stage sweeps."""
    code = f"with runs.writing(Path('debug/a.tflite')) as p:\n    p.write_text('half'); {DIE}"
    at(code, tmp_path, status=-9)
    assert len(names(tmp_path)) == 2
    at("runs.write_json(Path('debug/b.json'), {})", tmp_path)
    assert names(tmp_path) == {"debug", "debug/b.json"}


def test_a_link_of_the_dead_is_removed(tmp_path):
    code = f"killed.beside(runs.RUNS / 'latest').symlink_to('a')\n{DIE}"
    (tmp_path / "runs" / "a").mkdir(parents=True)
    at(code, tmp_path, status=-9)
    assert len(names(tmp_path / "runs")) == 2
    at("runs.point_latest(runs.RUNS / 'a')", tmp_path)
    assert names(tmp_path / "runs") == {"a", "latest"}


def test_who_asks_again_for_a_stage_killed_after_its_end_has_it_clean(tmp_path):
    stage = finished(tmp_path / "run")
    (stage / "checkpoint").mkdir()
    with pytest.raises(ValueError, match="already holds a finished train"):
        runs.check_new_run(tmp_path / "run")
    assert runs.is_finished(stage) and not (stage / "checkpoint").exists()


def test_what_only_a_half_made_stage_needs_goes_when_it_is_finished(tmp_path):
    train, prune = finished(tmp_path), tmp_path / "prune"
    for stage in (train, prune):
        for name in runs.WORKING:
            (stage / name).mkdir(parents=True)
            (stage / name / "ckpt").write_text("x")
    runs.sweep(tmp_path)
    assert {path.name for path in train.iterdir() if path.is_dir()} == set()
    assert {path.name for path in prune.iterdir()} == set(runs.WORKING)


def test_a_second_process_is_told(tmp_path):
    stage = tmp_path / "run" / "train"
    stage.mkdir(parents=True)
    ask = (
        "for ask in (lambda: killed.alone(Path('train')).__enter__(), lambda: killed.check_alone(Path('train')),\n"
        "            lambda: runs.new_run(Path('.'), overwrite=True)):\n"
        "    try:\n        ask(); print('free')\n    except ValueError as error:\n        print(error)\n"
    )
    with killed.alone(stage):
        (stage / "kept").write_text("x")
        told = at(ask, tmp_path / "run").splitlines()
        assert len(told) == 3
        assert all(
            line == "train: another process is making it; wait for it or end it, or take another --run" for line in told
        )
        assert (stage / "kept").exists()
    assert (
        at(
            "with killed.alone(Path('train')): print('mine')",
            tmp_path / "run",
        )
        == "mine\n"
    )
    killed.check_alone(tmp_path / "nowhere")


def test_what_is_held_is_said_with_what_else_to_ask_for_and_goes_if_nothing_came_of_it(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(ValueError, match=r"^x$"), killed.alone(folder, "another --out"):
        ask = "try:\n    killed.alone(Path('b'), 'another --out').__enter__()\nexcept ValueError as e: print(e)"
        assert (
            at(ask, folder.parent) == "b: another process is making it; wait for it or end it, or take another --out\n"
        )
        raise ValueError("x")
    assert names(tmp_path) == set()
    with killed.alone(folder, "another --out"):
        (folder / "kept").write_text("x")
    assert names(tmp_path) == {"a", "a/b", "a/b/kept"}


def test_the_dead_hold_nothing(tmp_path):
    at(
        f"killed.alone(Path('.')).__enter__()\n{DIE}",
        tmp_path,
        -9,
    )
    with killed.alone(tmp_path):
        pass


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_kill_between_names_that_belong_together_is_known(tmp_path, nth):
    """Killed at the n-th renaming: of the record, of three files, and at the record's removal."""
    code = (
        "import os\n"
        "count, replace, unlink = 0, os.replace, Path.unlink\n"
        "def counted(does):\n"
        "    def call(*args, **more):\n"
        "        global count\n        count += 1\n"
        f"        if count == {nth}: os.kill(os.getpid(), 9)\n"
        "        return does(*args, **more)\n    return call\n"
        "os.replace, Path.unlink = counted(replace), counted(unlink)\n"
        "runs.write_together({Path(n): b'new' for n in 'abc'}, record=Path('.'))\n"
    )
    (tmp_path / "mine").write_text("old")
    at(code, tmp_path, status=-9)
    made = {name for name in "abc" if (tmp_path / name).exists()}
    known = {Path(path).name for path in killed.half_written(tmp_path)}
    # Nothing has its name yet, or it is known which may.
    assert known == (set("abc") if nth > 1 else set())
    assert made <= known and "mine" not in known
    killed.sweep(tmp_path)
    assert not any(name.startswith(".part-") for name in names(tmp_path))
    at(
        "runs.write_together({Path(n): b'new' for n in 'abc'}, record=Path('.'))",
        tmp_path,
    )
    assert names(tmp_path) == {"a", "b", "c", "mine"} and killed.half_written(tmp_path) == frozenset()


@pytest.mark.parametrize("text", ["", "[1, 2]", "{}", "\xff", '["a"', "null"])
def test_a_damaged_record_is_none(tmp_path, text):
    (tmp_path / killed.PENDING).write_bytes(text.encode("latin-1"))
    assert killed.half_written(tmp_path) == frozenset()


def test_a_record_names_files_wherever_it_is_asked_from(tmp_path):
    with killed.pending(tmp_path, [tmp_path / "a"]):
        assert json.loads((tmp_path / killed.PENDING).read_text()) == [str(tmp_path / "a")]


def test_a_record_stays_while_something_is_half_done(tmp_path):
    """An error before anything was written leaves nothing."""
    with pytest.raises(ValueError, match="x"), killed.pending(tmp_path, [tmp_path / "a"]):
        raise ValueError("x")
    assert not names(tmp_path)
    with pytest.raises(ValueError, match="x"), killed.pending(tmp_path, [tmp_path / "a", tmp_path / "b"]):
        (tmp_path / "a").touch()
        raise ValueError("x")
    assert killed.half_written(tmp_path) == {str(tmp_path / "a"), str(tmp_path / "b")}


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(path, text):
        path.touch()
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=rf"quota exceeded: .*{killed.PENDING}"), killed.pending(tmp_path, []):
        pass
    assert not names(tmp_path)
