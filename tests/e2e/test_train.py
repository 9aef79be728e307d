"""Training as a user starts, stops, kills and continues it."""

import errno
import json
import signal
import socket
import time
from collections import namedtuple

import numpy as np
import pytest
from started import Started

from micro_yolo.model.keras import keras
from micro_yolo.pipeline import train
from micro_yolo.pipeline.data import load, synthetic
from micro_yolo.pipeline.data.cache import Cache
from micro_yolo.pipeline.learn import peers
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.pipeline.store.history import read

FAST = ("--arch", "yolo_lite", "--size", 64, "--batch", 4, "--evaluate-every", 2)
EPOCHS = 6

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A tiny drawn data set."""
    return synthetic.make(tmp_path_factory.mktemp("shapes") / "set", train=12, val=4, size=(64, 64), seed=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shapes):
    """A finished run of six epochs, for the others to be compared with."""
    run = tmp_path_factory.mktemp("finished") / "run"
    train.run(parsed("--data", shapes, *FAST, "--epochs", EPOCHS, "--run", run))
    return run


@pytest.fixture
def half(tmp_path, shapes):
    """A run stopped after its first epoch, and the settings it was begun with."""

    class Stops(Show):
        def epoch(self, row, epochs):
            raise KeyboardInterrupt

    begun = ("--data", shapes, *FAST, "--epochs", EPOCHS, "--run", tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train.run(parsed(*begun), Stops())
    return tmp_path / "run", begun


@pytest.fixture
def call(capfd):
    """``call("--data", shapes, ...)``: the command in this process; its exit status, stdout and lines of stderr."""

    def run(*args):
        try:
            cli.main(train.Config, train.command, prog=train.PROG, args=[str(arg) for arg in args])
            status = 0
        except SystemExit as stopped:
            status = stopped.code
        told = capfd.readouterr()
        return status, told.out, told.err.splitlines()

    return run


def parsed(*args):
    return cli.parse(train.Config, prog=train.PROG, args=[str(arg) for arg in args])


def history(run):
    return read(run / "train" / runs.HISTORY)


def start(shapes, run):
    return Started("pipeline.train", "--data", shapes, *FAST, "--epochs", EPOCHS, "--run", run)


def wait_for_epochs(process, run, epochs, seconds=240):
    """Until the history shows so many epochs; fails if the process ends first."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if len(history(run)) >= epochs:
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"no epoch {epochs}: {process.communicate()}")


def same_history(one, other):
    """Bit for bit, as on one thread no sum has a choice of its order: a lost moment of the optimizer shows."""
    for row, again in zip(one, other, strict=True):
        timings = {name: row[name] for name in ("seconds", "images_per_second")}
        assert row == again | timings


def test_a_finished_run_has_all_a_next_stage_reads(finished):
    stage = finished / "train"
    assert {path.name for path in stage.iterdir()} == {
        "arch.json", "model.weights.h5", "config.json", "metrics.json", "history.csv", "history.png", "logs",
    }  # fmt: skip
    assert [row["epoch"] for row in history(finished)] == list(range(1, EPOCHS + 1))
    config = json.loads((stage / "config.json").read_text())
    assert config["settings"]["recipe"]["epochs"] == EPOCHS
    assert (config["settings"]["batch"], config["settings"]["arch"]) == (4, "yolo_lite")
    assert config["loss"] == {"box": 10.0, "objectness": 1.0, "classes": 1.0, "classes_first": 6.0, "fit_ratio": 2.5}
    assert config["images"] == {"train": 12, "val": 4}
    assert config["versions"]["tensorflow"].startswith("2.")


def test_its_metrics_are_those_of_the_best_epoch(finished):
    metrics = json.loads((finished / "train" / "metrics.json").read_text())
    measured = [row for row in history(finished) if row["AP"] is not None]
    assert [row["epoch"] for row in measured] == [2, 4, 6]
    assert metrics == max(measured, key=lambda row: row["AP"])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_continues_to_the_same_end(how, tmp_path, shapes, finished, call):
    run = tmp_path / "run"
    process = start(shapes, run)
    wait_for_epochs(process, run, 2)
    process.send_signal(how)
    _, stderr = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "--resume" in stderr
        assert len(stderr.strip().splitlines()) == 1
    assert not (run / "train" / "metrics.json").exists()
    status, out, told = call("--run", run, "--resume")
    assert (status, told) == (0, [])
    assert "epoch 1/" not in out and f"epoch {EPOCHS}/{EPOCHS}" in out
    same_history(history(run), history(finished))


def test_resume_refuses_other_settings_and_finished_runs(half, finished, call):
    status, _, (line,) = call("--run", finished, "--resume")
    assert status == 2
    assert "finished" in line
    run, begun = half
    status, _, (line,) = call("--run", run, "--resume", "--batch", 2)
    assert status == 2
    assert "batch" in line
    status, _, (line,) = call(*begun)
    assert status == 2
    assert "--resume" in line


def test_a_history_that_lost_its_lines_is_refused(half, call):
    """As where the power failed before they reached the disk; which epoch was best is not known then."""
    run, _ = half
    path = run / "train" / runs.HISTORY
    kept = path.read_bytes()
    done = len(kept.splitlines()) - 1
    path.write_bytes(b"")
    status, _, (line,) = call("--run", run, "--resume")
    path.write_bytes(kept)
    assert status == 2
    assert f"history.csv: must tell of the {done} epochs that are done, got 0; allowed: --overwrite" in line


def test_pictures_kept_on_disk_change_nothing_and_are_found_again(half, finished, shapes, tmp_path, call, monkeypatch):
    run, begun = half
    cache = tmp_path / "cache"
    status, _, told = call("--run", run, "--resume", "--cache", cache)
    assert (status, told) == (0, [])
    same_history(history(run), history(finished))
    (made,) = cache.iterdir()
    again = tmp_path / "again"
    begun = (*begun[:-1], again, "--cache", cache, "--cache-gib", 0)
    with monkeypatch.context() as patch:
        patch.setattr("micro_yolo.pipeline.data.input.load_small", None)
        status, _, told = call(*begun)
    assert (status, told) == (0, [])
    same_history(history(again), history(finished))
    assert list(cache.iterdir()) == [made]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("full", "12 pictures need 0.0 GiB more, got 0.0 GiB of room; allowed: --cache on a larger disk"),
        ("a file", "cannot be written to (Not a directory); allowed: --cache with a folder that can be written to"),
        (
            "not writable",
            "cannot be written to (Permission denied); allowed: --cache with a folder that can be written",
        ),
        ("others' files", "must be a cache of these pictures, got other files; allowed: another --cache folder"),
    ],
)
def test_a_cache_that_cannot_be_leaves_nothing(shapes, tmp_path, call, monkeypatch, kind, rule):
    cache = tmp_path / "cache"
    command = ("--data", shapes, *FAST, "--run", tmp_path / "run", "--cache", cache)
    with monkeypatch.context() as patch:
        if kind == "full":
            usage = namedtuple("usage", "total used free")(0, 0, 1 << 10)
            patch.setattr("micro_yolo.pipeline.data.cache.shutil.disk_usage", lambda _: usage)
        elif kind == "a file":
            cache.write_text("mine")
        elif kind == "not writable":
            # Root, who may write anywhere, runs these tests too.
            patch.setattr("micro_yolo.pipeline.data.cache._make", refused)
        else:
            Cache(cache, load(shapes).splits["train"], (64, 64), "stretch")
            (made,) = cache.iterdir()
            (made / "cache.json").write_text("mine")
        before = files_below(tmp_path)
        status, _, (line,) = call(*command)
    assert status == 2 and line.startswith(f"{train.PROG}: cache: {cache}") and rule in line
    assert files_below(tmp_path) == before


def refused(*_):
    raise PermissionError(errno.EACCES, "Permission denied")


def files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_loss_of_a_half_made_run_is_what_it_recorded(half, finished, call):
    run, _ = half
    file = run / "train" / "config.json"
    config = json.loads(file.read_text())
    for loss, told in (({"boxes": 10.0}, "loss: unknown setting 'boxes'"), ({"box": "many"}, "box")):
        file.write_text(json.dumps(config | {"loss": loss}))
        status, _, (line,) = call("--run", run, "--resume")
        assert status == 2 and told in line
    file.write_text(json.dumps(config | {"loss": config["loss"] | {"box": 7.0, "classes_first": 0.0}}))
    status, _, told = call("--run", run, "--resume")
    assert (status, told) == (0, [])
    first, second = history(run)[:2]
    # In the first epoch classes came first.
    assert first["total"] == pytest.approx(5 * first["box"] + first["objectness"] + 5 * first["classes"])
    assert second["total"] == pytest.approx(7 * second["box"] + second["objectness"] + second["classes"])


def test_a_loss_that_is_not_a_number_ends_with_advice(tmp_path, shapes, call):
    status, _, (line,) = call(
        "--data", shapes, *FAST, "--epochs", 3, "--run", tmp_path / "run", "--optimizer", "sgd",
        "--learning-rate", 1e30, "--warmup-epochs", 0, "--clip-norm", 1e30,
    )  # fmt: skip
    assert status == 2
    assert "not a number" in line
    assert "--learning-rate" in line


def test_a_shorter_run_ends_with_other_weights(shapes, finished, tmp_path):
    """So that equal digests are not equal by an accident such as never training."""
    made = train.run(parsed("--data", shapes, *FAST, "--epochs", 1, "--run", tmp_path / "run"))
    assert made.stage == tmp_path / "run" / "train" and made.metrics["epoch"] == 1
    kernels = [find(run).weighted().trainable_weights[0].numpy() for run in (made.run, finished)]
    assert np.any(kernels[0] != kernels[1])


def worker(index, *places):
    return json.dumps({"cluster": {"worker": places}, "task": {"type": "worker", "index": index}})


def test_machines_that_do_not_come_are_not_waited_for_without_end(tmp_path, shapes, call, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as left:
        places = [f"127.0.0.1:{each.getsockname()[1]}" for each in (taken, left)]
        left.close()
        monkeypatch.setattr(peers, "WAIT", 0.5)
        monkeypatch.setenv("TF_CONFIG", worker(0, *places))
        status, _, (line,) = call("--data", shapes, *FAST, "--run", tmp_path / "run")
        assert status == 2 and "must be free for machine 0" in line
        taken.close()
        status, _, (line,) = call("--data", shapes, *FAST, "--run", tmp_path / "run")
    assert status == 2 and f"all 2 machines must come within 0.5 s, machine 1 ({places[1]}) did not" in line
    assert not (tmp_path / "run").exists()


def test_a_cluster_that_is_none_is_refused(tmp_path, shapes, call, monkeypatch):
    for config, told in (
        ("{}", "TF_CONFIG: must be JSON with cluster.worker"),
        (worker(0, "here"), "TF_CONFIG: cluster.worker must list host:port, got 'here'"),
        (worker(2, "here:1", "there:1"), "TF_CONFIG: must be JSON with cluster.worker"),
    ):
        monkeypatch.setenv("TF_CONFIG", config)
        status, _, (line,) = call("--data", shapes, *FAST, "--run", tmp_path / "run")
        assert status == 2
        assert told in line
    monkeypatch.setenv("TF_CONFIG", worker(1, "here:1", "there:1"))
    status, _, (line,) = call("--data", shapes, *FAST)
    assert status == 2 and "run: several machines must be told the same --run, got none" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [("--precision", "bfloat16"), ("--precision", "float16", "--optimizer", "sgd")])
def test_mixed_precision_learns(more, tmp_path, shapes, call):
    status, _, told = call("--data", shapes, *FAST, "--epochs", 4, "--run", tmp_path / "run", *more)
    assert (status, told) == (0, [])
    losses = [row["total"] for row in history(tmp_path / "run")]
    assert losses[-1] < losses[0]
    assert keras.mixed_precision.global_policy().name == "float32"
