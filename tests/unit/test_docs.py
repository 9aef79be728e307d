"""What the documents tell a reader to type exists."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from micro_yolo.pipeline.show import cli

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "android_demo/README.md", *(ROOT / "docs").glob("*.md")])
COMMAND = re.compile(r"python -m (pipeline(?:\.\w+)+)([^`\n#|]*)")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_exists(path: Path) -> None:
    for module, rest in COMMAND.findall(path.read_text()):
        where = ROOT / module.replace(".", "/")
        assert where.with_suffix(".py").exists() or (where / "__main__.py").exists(), module
        name = f"{module}.__main__" if where.is_dir() else module
        accepted = cli.options(importlib.import_module(f"micro_yolo.{name}").Config)
        assert set(re.findall(r"--[\w-]+", rest)) <= set(accepted), f"{module}{rest}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_make_target_exists(path: Path) -> None:
    text = path.read_text()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).exists(), link
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_exists_and_is_of_the_package(path: Path) -> None:
    for module, names in re.findall(
        r"^ *(?:python -c ')?(?:from|import) ([\w.]+)(?: import ([\w, ]+))?", path.read_text(), re.M
    ):
        assert module.split(".")[0] not in ("model", "pipeline", "tflite"), module
        if module.startswith("micro_yolo"):
            found = importlib.import_module(module)
            for name in filter(None, names.split(", ")):
                assert hasattr(found, name.strip()), f"{module}: {name}"


def test_the_map_says_what_the_modules_say() -> None:
    spec = importlib.util.spec_from_file_location("structure", ROOT / "benchmarks/structure.py")
    assert spec is not None and spec.loader is not None
    structure = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = structure
    spec.loader.exec_module(structure)
    said = (ROOT / "docs/architecture.md").read_text().partition("## Map\n\n")[2]
    assert said == structure.map_of(ROOT), "`python benchmarks/structure.py --map` prints what belongs there"
