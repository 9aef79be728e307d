"""Several machines, here processes that meet over loopback: they agree or end, end alike, and tell of a lost one."""

import json
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from started import Started
from tiny_table import TABLE

from micro_yolo.pipeline import train
from micro_yolo.pipeline.data import synthetic
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.pipeline.store.history import read

pytestmark = pytest.mark.slow

EPOCHS = 6
# Seconds after which one that lost the other must have ended: TensorFlow misses signs of life after ten.
BOUND = 90
# No kernels are searched for here, for which the third row is there.
BRIEF = TABLE | {"rows": [row for row in TABLE["rows"] if row["name"] != "l3"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set and a table."""
    folder = tmp_path_factory.mktemp("processes")
    synthetic.make(folder / "set", train=12, val=4, size=(64, 64), seed=0)
    # One picture has so many boxes that the batches of two machines have different shapes.
    file = folder / "set" / "instances_train.json"
    record = json.loads(file.read_text())
    first = record["annotations"][0]
    record["annotations"] += [first | {"id": 1000 + n, "bbox": [n, n, 9, 9], "area": 81} for n in range(20)]
    file.write_text(json.dumps(record))
    (folder / "tiny.json").write_text(json.dumps(BRIEF))
    return folder


@pytest.fixture(scope="module")
def together(place):
    """A run that two processes trained and quantized without a disturbance, and what they said."""
    run = place / "together"
    _, *options = training(place, run)
    return run, ended(start([Path(__file__).with_name("two_stages.py"), *options]))


def training(place, run, *more):
    options = ["--arch", place / "tiny.json", "--run", run, *quick(EPOCHS), "--evaluate-every", 2, *more]
    return ["pipeline.train", "--data", place / "set", *options]


def quick(epochs):
    # Images as they are cost less to prepare.
    return ["--batch", 4, "--epochs", epochs, "--plain-epochs", epochs]


def free_ports():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [each.getsockname()[1] for each in (one, other)]


def start(*commands):
    """A process for each of two machines; one command is for both."""
    places = [f"127.0.0.1:{port}" for port in free_ports()]
    processes = []
    for index, (what, *options) in enumerate(commands * (2 // len(commands))):
        config = {"cluster": {"worker": places}, "task": {"type": "worker", "index": index}}
        processes.append(Started(what, *options, env={"TF_CONFIG": json.dumps(config), "MICRO_YOLO_WAIT": "200"}))
    return processes


def ended(processes, status=0):
    """What each said, once it ended with that status: on stdout, or on stderr if that is not 0."""
    told = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=300)
            assert process.returncode == status, err
            told.append(err if status else out)
    finally:
        for process in processes:
            process.kill()
    return told


def kill(processes, number, when):
    """Kill one as soon as `when` gives true; the line that the other ends with."""
    until = time.monotonic() + 240
    while not when():
        if any(process.poll() is not None for process in processes) or time.monotonic() > until:
            for process in processes:
                process.kill()
            pytest.fail(f"not reached: {[process.communicate() for process in processes]}")
        time.sleep(0.02)
    processes[number].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    ((line,),) = [told.splitlines() for told in ended([processes[1 - number]], status=2)]
    assert time.monotonic() - killed < BOUND
    processes[number].communicate()
    return line


def epochs(stage):
    return [row["epoch"] for row in read(stage / runs.HISTORY)]


def steps(stage):
    file = stage / "steps.json"
    return json.loads(file.read_text())["steps"] if file.exists() else []


def same_history(one, other):
    timings = ("seconds", "images_per_second")
    rows = [[{name: row[name] for name in row if name not in timings} for row in read(stage)] for stage in (one, other)]
    assert rows[0] == rows[1]


def digests(told):
    return [digest for each in told for digest in re.findall(r"machine \d of 2: weights ([0-9a-f]{64})", each)]


def test_two_end_with_identical_weights_in_one_run(together):
    run, told = together
    first, second = digests(told)
    assert first == second
    assert epochs(run / "train") == list(range(1, EPOCHS + 1))
    assert sorted(path.name for path in run.iterdir()) == ["qat", "train"] and runs.is_finished(run / "train")
    # The one that only helped points nobody at the run.
    assert "next: python -m pipeline.convert" in told[0] and "next:" not in told[1]


def test_a_lost_one_ends_the_other_and_leaves_a_run_that_resumes(place, together):
    run, alone = place / "lost", place / "alone"
    line = kill(processes := start(training(place, run)), 1, lambda: len(epochs(run / "train")) >= 2)
    assert "TF_CONFIG: machine 1 was lost" in line and "--resume" in line and len(processes) == 2
    assert not runs.is_finished(run / "train")
    shutil.copytree(run, alone)
    # To the same end, though the second has lost all it had and the new one what it knew.
    shutil.rmtree(run / ".worker-1")
    told = ended(start(["pipeline.train", "--run", run, "--resume"]))
    assert digests(told) == digests(together[1])
    same_history(run / "train" / runs.HISTORY, together[0] / "train" / runs.HISTORY)
    assert [path.name for path in run.iterdir()] == ["train"]
    # One machine alone goes on as well: in another order of adding up, so to nearly the same end.
    made = train.run(train.Config(run=alone, resume=True))
    assert runs.is_finished(made.stage) and epochs(made.stage) == list(range(1, EPOCHS + 1))
    ends = [read(stage / "train" / runs.HISTORY)[-1]["total"] for stage in (alone, run)]
    assert ends[0] == pytest.approx(ends[1], rel=0.05)


def test_what_they_disagree_about_is_named_by_both_before_anything_is_written(place):
    other = shutil.copytree(place / "set", place / "other")
    file = other / "instances_train.json"
    record = json.loads(file.read_text())
    record["annotations"][0]["bbox"][2] -= 1
    file.write_text(json.dumps(record))
    table = place / "wider.json"
    table.write_text(json.dumps(BRIEF | {"rows": [BRIEF["rows"][0] | {"out": 12}, *BRIEF["rows"][1:]]}))
    before = sorted(place.rglob("*"))
    mine = training(place, place / "never")
    first, second = ended(start(mine, [*mine, "--data", other, "--arch", table, "--seed", 1]), status=2)
    assert first == second and len(first.splitlines()) == 1
    for name in ("--seed", "table", "images and boxes of train"):
        assert f"{name}: must be the same on all machines, got" in first
    assert sorted(place.rglob("*")) == before


def test_two_quantize_what_they_trained(together):
    run, _ = together
    assert epochs(run / "qat") == [1, 2] and runs.is_finished(run / "qat")
    assert find(run).quantization is not None and find(run).weighted() is not None


def test_two_prune_and_a_lost_chief_is_told_of(place, together):
    run = place / "pruned"
    shutil.copytree(together[0] / "train", run / "train")
    cuts = ["--rows", "l1", "l2", "--tolerance", 100, "--step", 0.25, "--most", 0.25, "--evaluate-every", 2]
    stage = run / "prune"
    processes = start(["pipeline.prune", "--run", run, *quick(2), *cuts])
    line = kill(processes, 0, lambda: steps(stage))
    assert "TF_CONFIG: machine 0 was lost" in line
    (first,) = steps(stage)
    ended(start(["pipeline.prune", "--run", run, "--resume"]))
    assert sorted(path.name for path in run.iterdir()) == ["prune", "train"]
    done = steps(stage)
    assert done[0] == first and [(step["unit"], step["after"]) for step in done] == [("l1", 6), ("l2", 12)]
    assert runs.is_finished(stage) and find(run).weighted() is not None
