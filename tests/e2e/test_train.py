"""Training as a user starts, stops, kills and continues it."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from micro_yolo.pipeline.data import synthetic

PROG = "pipeline.train"
FAST = ("--arch", "yolo_lite", "--size", 64, "--batch", 4, "--evaluate-every", 2)

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A tiny drawn data set."""
    return synthetic.make(tmp_path_factory.mktemp("shapes") / "set", train=12, val=4, size=(64, 64), seed=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shapes, command):
    """A finished run of six epochs, for the others to be compared with."""
    run = tmp_path_factory.mktemp("finished") / "run"
    done = command(PROG, "--data", shapes, *FAST, "--epochs", 6, "--run", run)
    assert done.returncode == 0, done.stderr
    return run


def history(run):
    with open(run / "train" / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def start(shapes, run, epochs=6, more=(), env=None):
    arguments = [sys.executable, "-m", PROG, "--data", shapes, *FAST, "--epochs", epochs, "--run", run, *more]
    return subprocess.Popen(
        [*map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epochs(process, run, epochs, seconds=240):
    """Until the history shows so many epochs; fails if the process ends first."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (run / "train" / "history.csv").exists() and len(history(run)) >= epochs:
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"no epoch {epochs}: {process.communicate()}")


def same_losses(one, other):
    for row, again in zip(one, other, strict=True):
        assert row["epoch"] == again["epoch"]
        # The order of a multi-threaded sum is free; anything else would show in the second digit.
        assert float(row["total"]) == pytest.approx(float(again["total"]), rel=0.02)


def test_a_finished_run_has_all_a_next_stage_reads(finished):
    stage = finished / "train"
    assert {"arch.json", "model.weights.h5", "config.json", "metrics.json", "history.csv", "history.png", "logs"} <= {
        path.name for path in stage.iterdir()
    }
    assert [int(row["epoch"]) for row in history(finished)] == list(range(1, 7))
    config = json.loads((stage / "config.json").read_text())
    assert config["settings"]["epochs" if "epochs" in config["settings"] else "recipe"]
    assert config["versions"]["tensorflow"]
    assert not [path for path in stage.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_continues_to_the_same_end(how, tmp_path, shapes, finished, command):
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
    again = command(PROG, "--run", run, "--resume")
    assert again.returncode == 0, again.stderr
    same_losses(history(run), history(finished))


def test_resume_refuses_other_settings_and_finished_runs(tmp_path, shapes, finished, command):
    done = command(PROG, "--run", finished, "--resume")
    assert done.returncode == 2
    assert "finished" in done.stderr
    run = tmp_path / "run"
    process = start(shapes, run)
    wait_for_epochs(process, run, 1)
    process.kill()
    process.communicate()
    other = command(PROG, "--run", run, "--resume", "--batch", 2)
    assert other.returncode == 2
    assert "batch" in other.stderr
    plain = command(PROG, "--data", shapes, *FAST, "--run", run)
    assert plain.returncode == 2
    assert "--resume" in plain.stderr


def test_a_loss_that_is_not_a_number_ends_with_advice(tmp_path, shapes, command):
    done = command(
        PROG, "--data", shapes, *FAST, "--epochs", 3, "--run", tmp_path / "run", "--optimizer", "sgd",
        "--learning-rate", 1e30, "--warmup-epochs", 0, "--clip-norm", 1e30,
    )  # fmt: skip
    assert done.returncode == 2
    assert "not a number" in done.stderr
    assert "--learning-rate" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_workers_end_with_identical_weights(tmp_path, shapes):
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    run = tmp_path / "run"
    processes = []
    for index in range(2):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        processes.append(start(shapes, run, epochs=2, env={"TF_CONFIG": json.dumps(cluster)}))
    digests = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=500)
        assert process.returncode == 0, stderr
        digests += re.findall(r"machine \d of 2: weights ([0-9a-f]{64})", stdout)
    assert len(digests) == 2
    assert digests[0] == digests[1]
    assert [int(row["epoch"]) for row in history(run)] == [1, 2]
    assert not list(run.glob(".worker-*"))


def test_one_worker_trains_other_weights_than_a_shorter_run(shapes, finished, command, tmp_path):
    """So that equal digests are not equal by an accident such as never training."""
    digest = (finished / "train" / "model.weights.h5").read_bytes()
    done = command(PROG, "--data", shapes, *FAST, "--epochs", 1, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "train" / "model.weights.h5").read_bytes() != digest


def test_a_cluster_that_is_none_is_refused(tmp_path, shapes, command):
    done = command(PROG, "--data", shapes, *FAST, "--run", tmp_path / "run", env={"TF_CONFIG": "{}"})
    assert done.returncode == 2
    assert "TF_CONFIG" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [("--precision", "bfloat16"), ("--precision", "float16", "--optimizer", "sgd")])
def test_mixed_precision_learns(more, tmp_path, shapes, command):
    done = command(PROG, "--data", shapes, *FAST, "--epochs", 4, "--run", tmp_path / "run", *more)
    assert done.returncode == 0, done.stderr
    losses = [float(row["total"]) for row in history(tmp_path / "run")]
    assert losses[-1] < losses[0]


MIRRORED = """
import sys
from micro_yolo.model.keras import tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from micro_yolo.pipeline import train
from micro_yolo.pipeline.learn import devices
from micro_yolo.pipeline.show import cli
devices.strategy = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
cli.main(train.Config, train.run, prog="mirrored", args=sys.argv[1:])
"""


def test_two_devices_of_one_machine_share_a_batch(tmp_path, shapes):
    arguments = ["--data", shapes, *FAST, "--epochs", 2, "--run", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = history(tmp_path / "run")
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert float(rows[1]["total"]) < float(rows[0]["total"])
