"""A kernel search as a user starts, kills and continues it, with a candidate that fails."""

import csv
import errno
import json
import os
import time

import pytest
from started import Started
from tiny_table import TABLE

from micro_yolo.model import zoo
from micro_yolo.model.count import count
from micro_yolo.pipeline import search
from micro_yolo.pipeline.data import synthetic
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs, trials

pytestmark = pytest.mark.slow

KEYS = ["33", "35", "53", "55"]
EPOCHS = 6


def results(run):
    return {each["key"]: each for each in runs.read_json(run / "search" / "search.json")["candidates"]}


def history(run, key):
    with open(run / "search" / key / "train" / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def continue_search(run, capfd):
    """Exit status and lines on stderr of the command with --resume, in this process."""
    args = ["--run", str(run), "--resume"]
    try:
        cli.main(search.Config, search.command, prog=search.PROG, args=args)
        status = 0
    except SystemExit as stopped:
        status = stopped.code
    told = capfd.readouterr()
    return status, told.out, told.err.splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a data set and a table."""
    folder = tmp_path_factory.mktemp("search")
    synthetic.make(folder / "set", train=8, val=4, size=(64, 64), seed=0)
    (folder / "tiny.json").write_text(json.dumps(TABLE))
    return folder


def searching(folder, run, *more):
    options = ["--arch", folder / "tiny.json", "--rows", "l2", "l3", "--batch", 4, "--run", run, *more]
    # Images as they are cost less to prepare.
    quick = ["--epochs", EPOCHS, "--plain-epochs", EPOCHS, "--evaluate-every", EPOCHS, "--mosaic", 0]
    return [search.PROG.split()[-1], "--data", folder / "set", *options, *quick]


@pytest.fixture(scope="module")
def killed(folder):
    """A search killed while its second candidate trains, and what it had written by then."""
    run = folder / "run"
    process = Started(*searching(folder, run))
    until = time.monotonic() + 400
    # The first epoch is certain to be kept once the second is told of.
    file = run / "search" / "35" / "train" / "history.csv"
    while not file.exists() or len(history(run, "35")) < 2:
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(str(process.communicate()))
        time.sleep(0.02)
    process.kill()
    process.communicate()
    return run, history(run, "35"), results(run)


def test_killed_continued_failed_and_continued(killed, capfd, monkeypatch):
    run, begun, known = killed
    weights = run / "search" / "33" / "train" / runs.WEIGHTS
    first = (runs.sha256(weights), weights.stat().st_mtime_ns)
    assert [key for key, each in known.items() if each["AP50"] is not None] == ["33"]
    assert 2 <= len(begun) < EPOCHS

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.weights.h5")

    def stop(*_):
        raise KeyboardInterrupt

    for end, status, word in ((full, 2, "No space left on device"), (stop, 130, "--resume` goes on")):
        with monkeypatch.context() as patch:
            patch.setattr(search, "_measure", end)
            left = continue_search(run, capfd)
        assert left[0] == status and word in left[2][0] and len(left[2]) == 1
        assert results(run) == known

    trained = []
    train = search.train.run

    def fail_at_53(config, show):
        trained.append((config.run.name, config.resume))
        if config.run.name == "53":
            raise ValueError("the loss is inf, not a number")
        return train(config, show)

    with monkeypatch.context() as patch:
        patch.setattr(search.train, "run", fail_at_53)
        status, out, (line,) = continue_search(run, capfd)
    assert status == 2
    assert line.endswith("1 of 4 candidates failed (53: the loss is inf, not a number); --resume tries them again")
    assert trained == [("35", True), ("53", False), ("55", False)]
    assert "53 failed: the loss is inf, not a number" in out
    # What the second had trained before it was killed is not trained again.
    rows = history(run, "35")
    assert [int(row["epoch"]) for row in rows] == list(range(1, EPOCHS + 1))
    assert rows[0] == begun[0]
    found = results(run)
    assert found["53"]["AP50"] is None and found["53"]["error"] == "the loss is inf, not a number"
    assert list(found)[-1] == "53"

    trained.clear()
    with monkeypatch.context() as patch:
        patch.setattr(search.train, "run", lambda config, show: trained.append(config.run.name) or train(config, show))
        status, out, told = continue_search(run, capfd)
    assert (status, told) == (0, [])
    assert trained == ["53"]
    assert first == (runs.sha256(weights), weights.stat().st_mtime_ns)

    check_ranking(run)
    # Nothing is left to do; the ranking is shown again.
    status, out, told = continue_search(run, capfd)
    assert (status, told) == (0, []) and "0 to train" in out


def check_ranking(run):
    stage = run / "search"
    found = results(run)
    assert sorted(found) == KEYS
    order = list(found.values())
    assert [each["AP50"] for each in order] == sorted((each["AP50"] for each in order), reverse=True)
    anchors = set()
    for key, each in found.items():
        arch = zoo.find(stage / key / "train" / runs.ARCH)
        assert f"{arch.row('l2').k}{arch.row('l3').k}" == key == "".join(map(str, each["kernels"].values()))
        total = count(arch)
        assert (each["params"], each["macs"]) == (total.params, total.macs)
        anchors.add(arch.detections[0].anchors)
        metrics = runs.read_json(stage / key / "metrics_float32.json")
        assert metrics["AP50"] == each["AP50"]
        assert metrics["sha256"] == runs.sha256(stage / key / "export" / "model_float32.tflite")
    assert len(anchors) == 1
    best = zoo.find(stage / search.BEST)
    assert best.name == f"tiny_{order[0]['key']}"
    assert best == zoo.find(stage / order[0]["key"] / "train" / runs.ARCH)
    assert (stage / "search.png").read_bytes()[:4] == b"\x89PNG"
    with open(stage / "search.csv", newline="") as file:
        assert [row["key"] for row in csv.DictReader(file)] == list(found)


def test_processes_share_a_search_and_do_again_what_a_killed_one_had_begun(killed, folder, capfd, monkeypatch):
    run, serial = folder / "shared", killed[0]
    processes = [Started(*searching(folder, run, "--storage", run / "search" / "journal")) for _ in "ab"]
    until = time.monotonic() + 400
    # Each has begun one of its own.
    while len(list((run / "search").glob("*/train/config.json"))) < 2:
        if any(process.poll() is not None for process in processes) or time.monotonic() > until:
            for process in processes:
                process.kill()
            pytest.fail(str([process.communicate() for process in processes]))
        time.sleep(0.02)
    for process in processes:
        process.kill()
        process.communicate()
    begun = {path.parents[1].name for path in run.glob("search/*/train/config.json")}
    trained = []
    train = search.train.run
    monkeypatch.setattr(trials, "GRACE", 0)
    monkeypatch.setattr(
        search.train, "run", lambda config, show: trained.append(config.run.name) or train(config, show)
    )
    status, _, told = continue_search(run, capfd)
    assert (status, told) == (0, [])
    # What was finished by then is not done again; what was under way is, here by this process.
    assert len(trained) == len(set(trained)) and begun <= set(KEYS)
    check_ranking(run)
    continue_search(serial, capfd)
    for key, each in results(serial).items():
        assert results(run)[key] == each | {"seconds": results(run)[key]["seconds"]}
        weights = [runs.sha256(of / "search" / key / "train" / runs.WEIGHTS) for of in (serial, run)]
        assert weights[0] == weights[1]
