"""`python -m pipeline.summary`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from micro_yolo.model.zoo import ARCHS
from micro_yolo.pipeline import summary

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    summary.command(summary.Config(("micro_yolo", "yolo_lite"), size="320x224", classes=3, json=True))
    micro, lite = json.loads(capsys.readouterr().out)
    assert (micro["arch"], micro["size"], micro["classes"]) == ("micro_yolo", [320, 224], 3)
    assert lite["arch"] == "yolo_lite"
    for shown in (micro, lite):
        assert shown["params"] == sum(row["params"] for row in shown["rows"])
        assert shown["macs"] == sum(row["macs"] for row in shown["rows"])
    assert micro["rows"][0] == {"name": "l1", "op": "conv", "shape": [320, 224, 16], "params": 496, "macs": 30_965_760}


def test_no_arch_is_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    summary.command(summary.Config(json=True))
    assert [each["arch"] for each in json.loads(capsys.readouterr().out)] == list(ARCHS)


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    summary.command(summary.Config(("micro_yolo",)))
    out = capsys.readouterr().out
    for name in (row.name for row in ARCHS["micro_yolo"].rows):
        assert any(line.split()[:1] == [name] for line in out.splitlines())
    assert "mbconv 5x5 mid 256 se 8" in out and "26x26x256" in out
    assert "2,562,702 parameters" in out and "1.0547 GMAC" in out
    assert "reconstructed" in out


def test_the_command(command: Command) -> None:
    done = command("pipeline.summary", "micro_yolo", "--json")
    assert done.returncode == 0 and done.stderr == ""
    assert json.loads(done.stdout)[0]["params"] == 2_562_702


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["micro_yol"], "arch: unknown network 'micro_yol'; nearest: micro_yolo;"),
        (["micro_yolo", "--size", "300"], "micro_yolo: size (height x width) must be multiples of 32, got 300x300;"),
        (["micro_yolo", "--size", "big"], "size: must be pixels like 320 or 256x320"),
        (["yolo_lite", "--classes", "0"], "yolo_lite: classes must be a whole number of at least 1, got 0"),
        (["none.json"], "none.json: No such file or directory"),
    ],
)
def test_mistakes(args: list[str], message: str, command: Command) -> None:
    done = command("pipeline.summary", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"python -m pipeline.summary: {message}") and done.stderr.count("\n") == 1
