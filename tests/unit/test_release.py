"""What a release is made of says the same as the project: versions, targets, archives."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def tool(name: str) -> ModuleType:
    """A program of tests/dist."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tests/dist/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_versions_agree() -> None:
    version = PROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    headings = re.findall(
        r"^## (\S+) - (\d{4}-\d\d-\d\d|unreleased)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert headings[0][0] == version


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_targets_that_there_are(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    workflow = yaml.safe_load(path.read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    called = {step.removeprefix("make ") for step in steps if step.startswith("make ")}
    assert called and called <= targets
    # On is read as true.
    assert set(workflow) >= {"name", True, "permissions", "jobs"} and workflow["permissions"] == {"contents": "read"}


def test_every_check_is_called_by_a_workflow() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    for target in ("test", "docs", "android", "android-test", "dist"):
        assert f"run: make {target}\n" in text, target


def test_the_image_takes_all_that_the_package_is_made_of() -> None:
    """And nothing of what is ignored beside it."""
    let_in = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    folders = PROJECT["tool"]["setuptools"]["package-dir"].values()
    files = [PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "pyproject.toml", "requirements.lock"]
    assert let_in >= {*(folder.split("/")[0] for folder in folders), *files}
    assert all((ROOT / name).exists() for name in let_in)


def test_every_extra_is_tried() -> None:
    assert set(tool("installs").COMMANDS) == {"", *PROJECT["project"]["optional-dependencies"]}


def sound() -> tuple[dict[str, int], dict[str, int], list[str]]:
    archives = tool("archives")
    packages = PROJECT["tool"]["setuptools"]["packages"]
    wheel = {f"{name.replace('.', '/')}/__init__.py": 1 for name in packages} | dict.fromkeys(archives.NEEDED, 1)
    wheel |= {f"{archives.DEMO}a.jpg": 1, "micro_yolo-0.1.0.dist-info/METADATA": 1}
    return wheel, {**wheel, **dict.fromkeys(archives.TOLD, 1)}, packages


def test_sound_archives_pass() -> None:
    assert tool("archives").faults(*sound()) == []


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("micro_yolo/docs/demo.jpg", 1, "wheel: micro_yolo/docs/demo.jpg is a picture"),
        ("tests/unit/scenes.py", 1, "wheel: tests.unit is no package of ours"),
        ("micro_yolo/pipeline/web/node_modules/a.js", 1, "wheel: micro_yolo/pipeline/web/node_modules/a.js has no"),
        ("micro_yolo/model/runs.zip", 1, "wheel: micro_yolo/model/runs.zip has no business there"),
        ("micro_yolo/large.json", 1 << 30, "wheel: must unpack to at most"),
    ],
)
def test_what_does_not_belong_is_named(name: str, size: int, message: str) -> None:
    wheel, source, packages = sound()
    found = tool("archives").faults({**wheel, name: size}, source, packages)
    assert any(each.startswith(message) for each in found), found


def test_what_is_missing_is_named() -> None:
    wheel, source, packages = sound()
    del wheel["micro_yolo/pipeline/web/index.html"], source["CHANGELOG.md"]
    del wheel["micro_yolo/pipeline/card/__init__.py"]
    found = tool("archives").faults(wheel, {**source, "tests/unit/test_a.py": 1}, packages)
    assert found == [
        "wheel: lacks micro_yolo/pipeline/web/index.html",
        "source archive: lacks CHANGELOG.md",
        "wheel: lacks package micro_yolo.pipeline.card",
        "source archive: tests/unit/test_a.py is a test",
    ]


def test_contents_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import tarfile
    import zipfile

    archives = tool("archives")
    wheel, source, _ = sound()
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name in wheel:
            archive.writestr(name, "x")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for name in source:
            entry = tarfile.TarInfo(f"micro_yolo-0.1.0/{name}")
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"x"))
    monkeypatch.setattr(sys, "argv", ["archives.py", str(tmp_path)])
    assert archives.main() == 0
    assert "contents as they should be" in capsys.readouterr().out
    monkeypatch.setattr(archives, "MOST_BYTES", 10)
    assert archives.main() == 1
    assert "a.whl: must be at most 10 bytes" in capsys.readouterr().out
