"""Help and a wrong option must cost a user nothing: no command loads TensorFlow before it has work to do."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "tf_keras", "keras", "keras_cv", "matplotlib", "pycocotools", "ai_edge_litert", "scipy")
Answers = dict[tuple[str, str], tuple[int, str, str]]


def commands() -> list[str]:
    found = []
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        if '__name__ == "__main__"' in path.read_text() or path.name == "__main__.py":
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append(module.removesuffix(".__main__"))
    # A former name, whose help is that of the new one.
    return [module for module in found if module != "pipeline.quickstart"]


# Every command in a process of its own, forked from one that has loaded only what every command needs: a start of
# Python and of those libraries for each would take most of the time of these tests.
RUNNER = """
import json, os, runpy, sys, tempfile
import PIL.Image, numpy, rich.console, rich.progress, rich.table, tyro
calls, heavy = json.load(sys.stdin)
for module, *args in calls:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            status = 0
            try:
                sys.argv = ["x", *args]
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as stop:
                status = stop.code or 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
                status = 1
            print("LOADED", *sorted(set(heavy) & set(sys.modules)), flush=True)
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), err.seek(0)
        print(json.dumps([status, out.read(), err.read()]), flush=True)
"""


@pytest.fixture(scope="module")
def answers() -> Answers:
    """(command, option) -> status, stdout and stderr."""
    calls = [(module, option) for module in commands() for option in ("--help", "--hepl")]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([calls, HEAVY]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(calls, (tuple(json.loads(line)) for line in done.stdout.splitlines()), strict=True))


def test_the_commands_are_there() -> None:
    expected = {
        "train",
        "evaluate",
        "convert",
        "predict",
        "benchmark",
        "inspect",
        "edge",
        "summary",
        "data",
        "demo",
        "browser",
        "search",
        "prune",
        "qat",
        "stages",
    }
    assert {f"pipeline.{name}" for name in expected} <= set(commands())


@pytest.mark.parametrize("module", commands())
def test_help_is_cheap_and_complete(module: str, answers: Answers) -> None:
    status, stdout, stderr = answers[module, "--help"]
    assert status == 0, stderr
    assert stdout.splitlines()[-1] == "LOADED"
    assert f"usage: python -m {module} " in stdout
    assert stderr == ""
    # Every option has a word of explanation before its default.
    bare = re.findall(r"^│ +(--\S+)(?: [\[\]A-Z.{}|,\w]+)* +(?:\(default|\(required)", stdout, re.M)
    assert not bare


@pytest.mark.parametrize("module", commands())
def test_an_unknown_option_is_one_cheap_line(module: str, answers: Answers) -> None:
    status, stdout, stderr = answers[module, "--hepl"]
    assert status == 2
    assert stderr == f"python -m {module}: unknown option --hepl; nearest: --help; see `python -m {module} --help`\n"
    assert stdout == "LOADED\n"


def test_help_from_a_fresh_process_takes_less_than_a_second() -> None:
    """Of the command with the most imports; in time of the processor, so that a busy machine changes nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "pipeline.train", "--help"], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
