"""What the documents tell a reader to type exists, is understood, and is run by a test or says why not."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import documents
import pytest

from micro_yolo.pipeline.show import cli

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {"sh", "console", "python", "text", "yaml", "json", "toml", "c", "kotlin", "html", "markdown", "dockerfile"}
DOCUMENTED = tomllib.loads((ROOT / "tests/unit/documented.toml").read_text())
# In running text, where no fence says that it is a command.
MENTION = re.compile(r"python -m (pipeline(?:\.\w+)+)([^`\n#|]*)")
every_page = pytest.mark.parametrize("path", documents.PAGES, ids=documents.name)


def config_of(module: str) -> type:
    """The settings of a command, which its parser is made of."""
    where = ROOT / module.replace(".", "/")
    assert where.with_suffix(".py").exists() or (where / "__main__.py").exists(), module
    name = f"{module}.__main__" if where.is_dir() else module
    found: type = importlib.import_module(f"micro_yolo.{name}").Config
    return found


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def kind(words: list[str]) -> str:
    """What is run, as tests/unit/documented.toml calls it."""
    if words[:2] == ["python", "-m"]:
        return words[2] if words[2].startswith("pipeline") else " ".join(words[:3])
    if words[0] == "micro-yolo":
        return f"pipeline.{words[1]}" if len(words) > 1 else "micro-yolo"
    if words[0] == "python" and words[1].startswith("benchmarks/"):
        return words[1]
    return " ".join(words[:2])


def parses(words: list[str]) -> None:
    """Fails where the command's own parser would."""
    args = words[3:] if words[:2] == ["python", "-m"] else words[2:]
    if "--help" in args:
        config_of(kind(words))
    elif kind(words).startswith("pipeline."):
        cli.parse(config_of(kind(words)), prog=kind(words), args=args)
    elif kind(words) == "benchmarks/figures.py" and "python" in args:
        parses(args[args.index("python") :])
    elif kind(words).startswith("benchmarks/"):
        source = (ROOT / kind(words)).read_text()
        # Behind `--` is somebody else's command.
        ours = args[: args.index("--")] if "--" in args else args
        for option in (word.split("=")[0] for word in ours if word.startswith("--")):
            name = option[2:].removeprefix("no-").replace("-", "_")
            assert f'"{option}"' in source or re.search(rf"^    {name}: |name=\"{name}\"", source, re.M), option
    elif words[0] == "make":
        assert {word for word in words[1:] if "=" not in word} <= targets()
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for word in words[2:]:
            asked = re.fullmatch(r"(?:micro-yolo|\.)(?:\[([\w,]+)\])?", word)
            assert asked and set((asked[1] or "").split(",")) - {""} <= set(extras), word
    elif words[0] == "pytest":
        assert (ROOT / words[1]).exists(), words[1]


@every_page
def test_every_fenced_command_is_understood_and_run_by_a_test_or_says_why_not(path: Path) -> None:
    for block in documents.blocks(path.read_text()):
        assert block.language in LANGUAGES, f"a fence says what is in it: {block.code[:60]!r}"
        if block.language == "python":
            ast.parse(block.code)
        if block.why:
            continue
        for words in documents.commands(block):
            if words[0] in ("pytest", ".", "cd") or words[:2] == ["python", "-c"]:
                parses(words)
                continue
            known = {**DOCUMENTED["run_by"], **DOCUMENTED["not_run"]}
            assert kind(words) in known, f"{' '.join(words)}: run by no test; say why not in documented.toml"
            try:
                parses(words)
            except ValueError as error:
                pytest.fail(f"{' '.join(words)}: {error}")


@every_page
def test_every_command_and_option_that_is_mentioned_exists(path: Path) -> None:
    for module, rest in MENTION.findall(path.read_text()):
        assert set(re.findall(r"--[\w-]+", rest)) <= set(cli.options(config_of(module))), f"{module}{rest}"


def test_the_tests_that_are_said_to_run_commands_do() -> None:
    for what, test in DOCUMENTED["run_by"].items():
        source = (ROOT / test).read_text()
        name = Path(what.removeprefix("make ")).stem if "/" in what or "make" in what else what.rpartition(".")[2]
        assert re.search(rf"\b{name}\b", source), f"{test} says nothing of {what}"
    commands = importlib.import_module("micro_yolo.pipeline.__main__").COMMANDS
    assert {f"pipeline.{name}" for name in commands} <= set(DOCUMENTED["run_by"])


@every_page
def test_no_command_stands_outside_a_fence(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    assert not re.findall(r"^ {4}(?:python|make|pip|micro-yolo) .*$", text, re.M)


@every_page
def test_every_link_and_make_target_exists(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).exists(), link
        # The site is made of docs/ alone.
        assert path not in documents.SITE or not link.startswith(".."), f"{link}: name it in `code`, the site lacks it"
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets()


@every_page
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
