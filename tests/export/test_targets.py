"""`convert --target`: a toy target, in this file and a line, and what is refused before anything is made."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.pipeline import convert
from micro_yolo.pipeline.show import cli
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.targets import TARGETS, Target


class Toy(Target):
    """A text with the model's size, for int8 alone."""

    name = "toy"
    help = "a text with the model's size"
    limit = 1 << 30

    def names(self, name: str, variant: str, head: str) -> tuple[str, ...]:
        if variant != "int8":
            raise ValueError(f"target toy: takes int8, got {variant}")
        return (f"{name}/{variant}.txt",)

    def refuses(self, contract: Contract) -> str | None:
        return None if contract.size[0] < self.limit else f"its input must be less than {self.limit} high"

    def files(self, name: str, data: bytes, contract: Contract) -> dict[str, bytes]:
        return {path: str(len(data)).encode() for path in self.names(name, contract.variant, contract.head)}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    made = Toy()
    monkeypatch.setitem(TARGETS, made.name, made)
    return made


def config(run: Path, out: Path, **more: Any) -> convert.Config:
    return convert.Config(
        **{"run": run, "int8": True, "head": "raw", "samples": 4, "out": out, "target": ("toy",), **more}
    )


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_makes_the_files_it_names(name: str, exported: Path) -> None:
    if name == "mcu":
        pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: pip install 'micro-yolo[mcu]'")
    path = exported / "export/model_int8_raw.tflite"
    contract = contracts.load(path)
    target = TARGETS[name]
    assert target.name == name and target.help and "\n" not in target.help
    assert tuple(target.files("run", path.read_bytes(), contract)) == target.names("run", "int8", "raw")


def test_a_toy_goes_the_whole_way(toy: Toy, shallow_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (file,) = convert.run(config(shallow_run, out)).files
    made = out / "toy" / shallow_run.name / "int8.txt"
    assert made.read_text() == str(file.path.stat().st_size)
    with pytest.raises(ValueError, match=r"int8\.txt: already exists; allowed: --overwrite"):
        convert.run(config(shallow_run, out, overwrite=False))
    made.write_text("old")
    convert.run(config(shallow_run, out, overwrite=True))
    assert made.read_text() == str(file.path.stat().st_size)


def test_what_it_cannot_take_leaves_nothing(toy: Toy, shallow_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="target toy: takes int8, got float32"):
        convert.run(config(shallow_run, out, float32=True))
    assert not out.exists()
    toy.limit = 64
    with pytest.raises(ValueError, match="target toy: cannot take this file: its input must be less than 64 high"):
        convert.run(config(shallow_run, out))
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_a_full_disk_leaves_all_as_it_was(
    toy: Toy, shallow_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        convert.run(config(shallow_run, out))
    assert not [path for path in out.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("andriod", "target: unknown, got 'andriod'; allowed: android, mcu; nearest: android"),
        ("android,x", "target: unknown, got 'x'; allowed: android, mcu"),
    ],
)
def test_an_unknown_target_is_told_first(asked: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        # There is no such run, but that is not what is told.
        cli.main(convert.Config, convert.command, prog="x", args=["--run", "nowhere", "--target", asked])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"x: {message}\n"


def test_the_former_spelling() -> None:
    asked = convert._targets(convert.Config(android=True, target=("android",)))
    assert asked == [TARGETS["android"]] == convert._targets(convert.Config(android=True))
