"""The list of commands: ``micro-yolo``, ``python -m micro_yolo`` and ``python -m pipeline``."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import micro_yolo.__main__
from micro_yolo.pipeline import __main__ as commands

ROOT = Path(__file__).resolve().parents[2]
# The former name of `demo`, and the list itself.
NOT_LISTED = {"quickstart", "__main__"}


def module(name: str) -> Any:
    folder = (ROOT / "pipeline" / name).is_dir()
    return importlib.import_module(f"micro_yolo.pipeline.{name}{'.__main__' if folder else ''}")


def test_every_command_is_listed() -> None:
    modules = {path.stem for path in (ROOT / "pipeline").glob("*.py") if '"__main__"' in path.read_text()}
    folders = {path.parent.name for path in (ROOT / "pipeline").glob("*/__main__.py")}
    assert set(commands.COMMANDS) == (modules | folders) - NOT_LISTED


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_a_command_is_told_as_its_own_help_tells_it(name: str) -> None:
    told = inspect.getdoc(module(name).Config)
    assert told and commands.COMMANDS[name] == " ".join(told.split("\n\n")[0].split())


@pytest.mark.parametrize("started", ["micro_yolo", "pipeline"])
@pytest.mark.parametrize("args", [(), ("--help",)], ids=str)
def test_the_list_costs_nothing(started: str, args: tuple[str, ...]) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['x', *{args!r}]\n"
        "before = set(sys.modules)\n"
        f"runpy.run_module({started!r}, run_name='__main__', alter_sys=True)\n"
        "print('LOADED', *(name for name in sorted(set(sys.modules) - before) if name.split('.')[0] in "
        "('tyro', 'numpy', 'rich', 'PIL', 'tensorflow')))\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert time.perf_counter() - start < 1
    assert done.stderr == ""
    first, *lines, last = done.stdout.splitlines()
    assert first == f"usage: python -m {started} COMMAND ..."
    assert last == "LOADED"
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(commands.COMMANDS)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("trian", "unknown command trian; nearest: train; allowed: data, train, distill, prune, "),
        ("quux", "unknown command quux; allowed: data, train, distill, prune, "),
        ("--hepl", "unknown option --hepl; nearest: --help; see"),
        ("-v", "unknown option -v; allowed: --help; see"),
    ],
)
def test_an_unknown_command_is_one_line(typed: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        commands.main("micro-yolo", [typed])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith(f"micro-yolo: {told}")
    assert error.endswith("see `micro-yolo --help`\n") and error.count("\n") == 1


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_the_help_of_a_command_names_what_was_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for run, typed in (
        (lambda: commands.main("micro-yolo", [name, "--help"]), f"micro-yolo {name}"),
        (lambda: module(name).main(), f"python -m pipeline.{name}"),
    ):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(sys, "argv", ["x", "--help"])
            run()
        usage, _, rest = capsys.readouterr().out.partition("\n")
        assert usage.startswith(f"usage: {typed} ")
        shown.append(rest)
    assert shown[0] == shown[1]


def test_a_mistake_names_what_was_typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["micro-yolo", "train", "--epoch", "3"])
    with pytest.raises(SystemExit):
        micro_yolo.__main__.main()
    assert capsys.readouterr().err == (
        "micro-yolo train: unknown option --epoch; nearest: --epochs; see `micro-yolo train --help`\n"
    )
