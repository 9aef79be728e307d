"""The paper's tables beside ours: `python -m pipeline.summary --tables`."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.model.count import count
from micro_yolo.model.zoo import ARCHS
from micro_yolo.model.zoo.micro_yolo import CUT
from micro_yolo.pipeline import summary
from micro_yolo.pipeline.paper.published import formula, tables
from micro_yolo.pipeline.store import runs

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def made() -> dict[str, list[dict[str, Any]]]:
    return tables()


def stage(run: Path, name: str, arch: str) -> Path:
    runs.write_json(run / name / runs.ARCH, ARCHS[arch].with_classes(3).to_json())
    for file in (runs.WEIGHTS, runs.CONFIG, runs.METRICS):
        runs.write_json(run / name / file, {})
    return run / name


def contract(variant: str, digest: str, parents: dict[str, str]) -> dict[str, Any]:
    tensor = {"dtype": "float32", "scale": 1.0, "zero_point": 0}
    outputs = [
        {
            "name": f"d_{kind}",
            "kind": kind,
            "row": "d",
            "stride": 32,
            "shape": [1, 1, 1, depth],
            "index": index,
            **tensor,
        }
        for index, (kind, depth) in enumerate((("boxes", 4), ("objectness", 1), ("classes", 3)))
    ]
    return {
        "format": "micro-yolo/1",
        "name": "net",
        "arch": "net",
        "variant": variant,
        "input": {"name": "image", "shape": [1, 32, 32, 3], "index": 0, "resize": "stretch", **tensor},
        "outputs": outputs,
        "anchors": {"d": [[8.0, 8.0]]},
        "labels": ["a", "b", "c"],
        "model_sha256": digest,
        "parents": parents,
    }


def exported(run: Path, variant: str, parent: Path, ap50: float) -> Path:
    """A measured file of a run: its bytes, its contract and what `pipeline.evaluate` says of it."""
    model = run / runs.EXPORT / f"model_{variant}.tflite"
    runs.write_atomic(model, variant)
    digest = hashlib.sha256(variant.encode()).hexdigest()
    parents = {f"{parent.name}/{runs.ARCH}": runs.sha256(parent / runs.ARCH)}
    runs.write_json(model.with_suffix(".json"), contract(variant, digest, parents))
    metrics = {"AP50": ap50, "AP": ap50 / 2, "data": "/some/cells", "sha256": digest}
    return runs.write_json(run / f"metrics_{variant}.json", metrics)


def test_table_1_formulas_are_our_counts(made: dict[str, list[dict[str, Any]]]) -> None:
    assert len(made["table1"]) == 8 * 3
    assert {line["difference"] for line in made["table1"]} == {0}
    # By hand, layer 9: 128 -> 256, 5x5, inner width 256, gate 2 * 256 * 8.
    assert formula("conv", 5, 128, 256) == 819_200
    assert formula("separable", 5, 128, 256) == 25 * 128 + 128 * 256
    assert formula("mbconv", 5, 128, 256) == 2 * 128**2 + 25 * 256 + 4096 + 256 * 256
    used = {line["row"]: line["layer"] for line in made["table1"] if line["used"]}
    assert used == {**dict.fromkeys(("l3", "l5", "l7", "l9", "l11", "l15", "l22"), "MBConv"), "l13": "DSConv"}


def test_table_2_and_4_compare_with_the_papers(made: dict[str, list[dict[str, Any]]]) -> None:
    ablations = {line["layers"]: line for line in made["table2"]}
    assert list(ablations) == ["all Conv", "all DSConv", "all MBConv", "MBConv, DSConv in l13"]
    # Nothing is known of the paper's ablations; nothing may be made up.
    assert all(
        ablations[kind][key] is None for kind in ("all DSConv", "all MBConv") for key in ("paper_params", "paper_map")
    )
    networks = {line["arch"]: line for line in made["table4"]}
    assert list(networks) == list(ARCHS)
    pruned = networks["micro_yolo_pruned"]
    assert (pruned["paper_params"], pruned["paper_gmac"], pruned["paper_map"]) == (1_920_000, 0.87, 29.3)
    assert pruned["params"] == count(ARCHS["micro_yolo_pruned"]).params
    assert pruned["params_difference_percent"] == pytest.approx(100 * (1_925_835 - 1_920_000) / 1_920_000)
    assert networks["micro_yolo"]["times_fewer_params"] == pytest.approx(3.46, abs=0.005)
    assert networks["micro_yolo"]["gmac_difference_percent"] == pytest.approx(-4.1, abs=0.05)
    assert networks["yolo_nano"]["classes"] == 20
    assert made["measured"] == []


def test_table_3_is_the_cut(made: dict[str, list[dict[str, Any]]]) -> None:
    found = {line["group"]: line for line in made["table3"]}
    assert {
        group: line["cuts"]["micro_yolo_pruned"]["sixteenths"] for group, line in found.items() if "." not in group
    } == CUT
    assert (found["l13"]["paper"], found["l15"]["paper"], found["l22.mid"]["paper"]) == ("6", "0", None)
    assert found["l13"]["cuts"]["micro_yolo_pruned"] == {"before": 1024, "after": 640, "sixteenths": 6}


def test_a_pruned_and_measured_run(tmp_path: Path) -> None:
    run = tmp_path / "cells"
    trained, pruned = stage(run, "train", "micro_yolo"), stage(run, "prune", "micro_yolo_pruned")
    channels = {
        "original": {"l13": 1024, "l14": 256, "l22.mid": 768, "own": 8},
        "kept": {"l13": list(range(640)), "l22.mid": list(range(720))},
    }
    runs.write_json(pruned / "channels.json", channels)
    exported(run, "float32", trained, 80.5)
    exported(run, "int8", pruned, 79.25)
    made = tables([run])
    column = {line["group"]: line["cuts"].get(str(run)) for line in made["table3"]}
    assert column["l13"] == {"before": 1024, "after": 640, "sixteenths": 6}
    assert column["l14"] == {"before": 256, "after": 256, "sixteenths": 0}
    assert column["l22.mid"]["sixteenths"] == 1 and column["own"]["after"] == 8
    assert column["l1"] is None
    # Each file is counted by the table it was made from.
    float32, int8 = made["measured"]
    assert (float32["stage"], float32["arch"], float32["AP50"]) == ("train", "micro_yolo", 80.5)
    assert (int8["stage"], int8["arch"], int8["AP50"]) == ("prune", "micro_yolo_pruned", 79.25)
    assert int8["params"] == count(ARCHS["micro_yolo_pruned"].with_classes(3)).params


def test_a_run_nothing_was_measured_of(tmp_path: Path) -> None:
    stage(tmp_path / "run", "train", "micro_yolo")
    (line,) = tables([tmp_path / "run"])["measured"]
    assert line["AP50"] is None and line["arch"] == "micro_yolo" and line["classes"] == 3


def test_a_file_that_is_not_the_one_measured(tmp_path: Path) -> None:
    run = tmp_path / "run"
    metrics = exported(run, "int8", stage(run, "train", "micro_yolo"), 70.0)
    runs.write_json(metrics, {**runs.read_json(metrics), "sha256": "0" * 64})
    with pytest.raises(
        ValueError, match=r"model_int8\.tflite: was not the file measured; `python -m pipeline.evaluate"
    ):
        tables([run])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "must hold the original and the kept channels"),
        ({"original": {"l1": 16}}, "must hold the original and the kept channels"),
        ({"original": {"l1": 16}, "kept": {"l9": [0]}}, "keeps channels of l9, which it does not list"),
        ({"original": {"l1": 16}, "kept": {"l1": []}}, "l1 must keep 1 to 16 channels, got 0"),
        ({"original": {"l1": 2}, "kept": {"l1": [0, 1, 2]}}, "l1 must keep 1 to 2 channels, got 3"),
    ],
)
def test_damaged_channels(value: Any, message: str, tmp_path: Path) -> None:
    stage(tmp_path, "train", "micro_yolo")
    runs.write_json(tmp_path / "prune" / "channels.json", value)
    with pytest.raises(ValueError) as error:
        tables([tmp_path])
    assert str(error.value).startswith(f"{tmp_path / 'prune' / 'channels.json'}: {message}")


def test_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    summary.command(summary.Config(tables=True))
    out = capsys.readouterr().out
    assert all(f"Table {number}:" in out for number in (1, 2, 3, 4))
    assert out.count("Reconstruction:") == 4
    assert "1.055" in out and "1.10" in out and "1024 -> 640" in out


def test_the_command_prints_json(command: Command) -> None:
    done = command("pipeline.summary", "--tables", "--json")
    assert done.returncode == 0 and done.stderr == ""
    assert list(json.loads(done.stdout)) == ["table1", "table2", "table3", "table4", "measured"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--run", "x"], "run: only --tables reads runs"),
        (["micro_yolo", "--tables"], "tables: are those of the paper"),
        (["--tables", "--run", "none"], "none: no such run"),
    ],
)
def test_mistakes(args: list[str], message: str, command: Command) -> None:
    done = command("pipeline.summary", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"python -m pipeline.summary: {message}") and done.stderr.count("\n") == 1
