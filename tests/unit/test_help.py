"""Help and a wrong option must cost a user nothing: no command loads TensorFlow before it has work to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "tf_keras", "keras", "keras_cv", "matplotlib", "pycocotools", "ai_edge_litert", "scipy")


def commands() -> list[str]:
    found = []
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        if '__name__ == "__main__"' in path.read_text() or path.name == "__main__.py":
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append(module.removesuffix(".__main__"))
    # A former name, whose help is that of the new one.
    return [module for module in found if module != "pipeline.quickstart"]


def start(module: str, *args: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import atexit, runpy, sys\n"
        f"atexit.register(lambda: print('LOADED', *(set({HEAVY}) & set(sys.modules))))\n"
        f"sys.argv = ['x', *{args!r}]\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


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
def test_help_is_cheap_and_complete(module: str) -> None:
    done = start(module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "LOADED"
    assert f"usage: python -m {module} " in done.stdout
    assert done.stderr == ""
    # Every option has a word of explanation before its default.
    bare = re.findall(r"^│ +(--\S+)(?: [\[\]A-Z.{}|,\w]+)* +(?:\(default|\(required)", done.stdout, re.M)
    assert not bare


@pytest.mark.parametrize("module", commands())
def test_an_unknown_option_is_one_cheap_line(module: str) -> None:
    done = start(module, "--hepl")
    assert done.returncode == 2
    assert (
        done.stderr == f"python -m {module}: unknown option --hepl; nearest: --help; see `python -m {module} --help`\n"
    )
    assert done.stdout.strip() == "LOADED"
