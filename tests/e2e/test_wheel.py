"""The wheel beside what a user has: PyPI's `tflite`, and a working directory full of names like ours."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CARDS = ROOT / "android_demo/app/src/main/assets/models/cards_int8.tflite"
PACKAGED = ("model", "pipeline", "tflite")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "micro_yolo", *PACKAGED)
# What nobody can shadow without breaking more than us is left out, such as numpy.py.
HOSTILE = ("model.py", "tflite.py", "data.py", "learn.py", "runs.py", "show.py", "store.py", "train.py", "heads.py")
RAISES = "raise RuntimeError(f'{__file__} was imported')\n"
THEIRS = {
    "tflite/__init__.py": "THEIRS = True\n",
    "tflite/Metadata.py": "THEIRS = True\n",
    "tflite-2.18.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tflite\nVersion: 2.18.0\n",
    "tflite-2.18.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, the test environment's packages, and PyPI's `tflite`.

    Attributes:
        scripts: where its commands are.
        site: its site-packages.
        wheel: what was installed.
    """

    scripts: Path
    site: Path
    wheel: Path

    def run(self, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """``run("python", "-m", "pipeline.summary", cwd=...)``."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run(
            [self.scripts / str(args[0]), *map(str, args[1:])],
            cwd=cwd,
            env=clean,
            capture_output=True,
            text=True,
            timeout=300,
        )


def copied(target: Path, *, links: bool) -> Path:
    """The sources as git has them, with its links or, as where there can be none, with files in their place."""
    target.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_file():
            shutil.copy(source, target / name)
            continue
        shutil.copytree(
            source, target / name, symlinks=True, ignore=shutil.ignore_patterns("node_modules", "__pycache__")
        )
    if not links:
        for name in PACKAGED:
            (target / "micro_yolo" / name).unlink()
            (target / "micro_yolo" / name).write_text(f"../{name}")
    return target


def theirs(folder: Path) -> Path:
    """A wheel with the file names of PyPI's `tflite`."""
    path = folder / "tflite-2.18.0-py3-none-any.whl"
    record = "".join(f"{name},,\n" for name in (*THEIRS, "tflite-2.18.0.dist-info/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**THEIRS, "tflite-2.18.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def checked(*args: object, cwd: Path) -> None:
    done = subprocess.run([sys.executable, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("wheel")
    build = "import setuptools.build_meta as build; build.build_{kind}({out!r})"
    source = copied(place / "source", links=True)
    # As a release is made: from the source archive, which must have all that the wheel needs.
    checked("-c", build.format(kind="sdist", out=str(place)), cwd=source)
    shutil.unpack_archive(next(place.glob("*.tar.gz")), place, filter="data")
    unpacked = next(path for path in place.glob("micro_yolo-*") if path.is_dir())
    checked("-c", build.format(kind="wheel", out=str(place)), cwd=unpacked)
    wheel = next(place.glob("micro_yolo-*.whl"))

    venv = place / "venv"
    checked("-m", "venv", "--without-pip", venv, cwd=place)
    paths = sysconfig.get_paths("venv", {"base": str(venv), "platbase": str(venv), "installed_base": str(venv)})
    python = Path(paths["scripts"]) / "python"
    offline = ("--disable-pip-version-check", "install", "--no-index", "--no-deps", "--no-compile")
    checked("-m", "pip", "--python", python, *offline, wheel, theirs(place), cwd=place)
    # A folder named in a .pth is searched, but its own .pth files, the editable install's among them, are not read.
    site = Path(paths["purelib"])
    (site / "outer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return Installed(Path(paths["scripts"]), site, wheel)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory where nothing but a photograph can be used."""
    place = tmp_path_factory.mktemp("hostile")
    for name in HOSTILE:
        (place / name).write_text(RAISES)
        (place / name.removesuffix(".py")).mkdir()
        (place / name.removesuffix(".py") / "__init__.py").write_text(RAISES)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    Image.fromarray(pixels).save(place / "photo.jpg")
    return place


def packaged() -> Iterator[str]:
    """Every Python file of ours as the wheel must have it."""
    for folder in PACKAGED:
        for file in (ROOT / folder).rglob("*.py"):
            if "node_modules" not in file.parts:
                yield (Path("micro_yolo") / file.relative_to(ROOT)).as_posix()


def test_the_wheel_has_every_file_and_takes_two_names(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"micro_yolo", "pipeline"}
    assert not set(packaged()) - names
    assert {name for name in names if name.startswith("pipeline/")} == {"pipeline/__init__.py"}
    for name in ("micro_yolo/pipeline/web/index.html", "micro_yolo/pipeline/page/templates/report.html.j2"):
        assert name in names


def test_no_file_is_anybody_elses(installed: Installed) -> None:
    """Compared without case, as on macOS and Windows."""
    owners: dict[str, set[str]] = {}
    for found in importlib.metadata.distributions(path=[str(installed.site), sysconfig.get_paths()["purelib"]]):
        name = found.metadata["Name"]
        for file in found.files or ():
            owners.setdefault(file.as_posix().lower(), set()).add(name)
    assert owners["tflite/metadata.py"] == {"tflite"}
    assert owners["micro_yolo/tflite/metadata.py"] == {"micro-yolo"}
    for file, names in owners.items():
        assert "micro-yolo" not in names or len(names) == 1 or ".dist-info/" in file, (file, names)


@pytest.mark.parametrize(
    "args",
    [
        ("python", "-m", "pipeline.summary", "micro_yolo"),
        ("python", "-m", "pipeline.predict", "--model", CARDS, "photo.jpg", "--overwrite"),
        # In a process of its own.
        ("python", "-m", "pipeline.benchmark", CARDS, "--runs", 1, "--no-memory"),
        ("micro-yolo", "summary", "micro_yolo"),
        ("micro-yolo", "predict", "--model", CARDS, "photo.jpg", "--overwrite"),
        ("micro-yolo", "--help"),
        ("python", "-m", "pipeline"),
        ("python", "-m", "micro_yolo"),
        ("python", "-c", "import micro_yolo"),
        ("python", "-c", "import micro_yolo.model.spec, micro_yolo.tflite.detector, micro_yolo.pipeline.train"),
    ],
    ids=lambda args: " ".join("cards.tflite" if each == CARDS else str(each) for each in args),
)
def test_it_works_in_a_hostile_directory(installed: Installed, hostile: Path, args: tuple[object, ...]) -> None:
    done = installed.run(*args, cwd=hostile)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_help_says_what_was_typed(installed: Installed, hostile: Path) -> None:
    for typed in (["micro-yolo", "train"], ["python", "-m", "pipeline.train"], ["python", "-m", "pipeline", "train"]):
        done = installed.run(*typed, "--help", cwd=hostile)
        assert f"usage: {' '.join(typed)} " in done.stdout, done.stderr


def test_training_works_in_a_hostile_directory(installed: Installed, hostile: Path) -> None:
    from micro_yolo.pipeline.data import synthetic

    data = synthetic.make(hostile / "shapes", train=8, val=2, size=(64, 64))
    done = installed.run(
        *("micro-yolo", "train", "--data", data, "--arch", "yolo_lite", "--size", 64, "--epochs", 1, "--run", "one"),
        cwd=hostile,
    )
    assert done.returncode == 0, done.stderr
    assert (hostile / "one" / "train" / "metrics.json").is_file()


def test_a_users_names_stay_the_users(installed: Installed, tmp_path: Path) -> None:
    """In one process, whichever comes first: their model.py, PyPI's tflite, and ours."""
    (tmp_path / "model.py").write_text("MINE = True\n")
    theirs = "import model, tflite, tflite.Metadata\nassert model.MINE and tflite.THEIRS and tflite.Metadata.THEIRS\n"
    ours = (
        "import micro_yolo, micro_yolo.model.zoo, micro_yolo.tflite.metadata\n"
        "from micro_yolo.model import zoo\nassert zoo.find('micro_yolo').classes\n"
    )
    for code in (theirs + ours, ours + theirs):
        done = installed.run("python", "-c", code, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_a_pipeline_py_hides_only_the_long_form(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("print('mine')\n")
    assert installed.run("python", "-m", "pipeline.summary", "micro_yolo", cwd=tmp_path).returncode
    for args in (("micro-yolo",), ("python", "-m", "micro_yolo"), ("python", "-P", "-m", "pipeline")):
        done = installed.run(*args, "summary", "micro_yolo", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "mine" not in done.stdout


@pytest.mark.parametrize("links", [True, False])
def test_a_clone_needs_no_installation(links: bool, installed: Installed, tmp_path: Path) -> None:
    """From its root, the links in it or, as on Windows, what git leaves in their place."""
    clone = copied(tmp_path / "clone", links=links)
    for args in (("-m", "pipeline.summary", "micro_yolo"), ("-m", "pipeline", "summary", "micro_yolo")):
        done = installed.run("python", *args, cwd=clone)
        assert done.returncode == 0, done.stderr
    code = "import micro_yolo.model.zoo as zoo; print(zoo.__file__)"
    assert installed.run("python", "-c", code, cwd=clone).stdout.startswith(str(clone))


def test_an_editable_install_works_from_elsewhere(installed: Installed, tmp_path: Path) -> None:
    source = copied(tmp_path / "clone", links=True)
    venv, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    checked("-m", "venv", "--without-pip", venv, cwd=tmp_path)
    paths = sysconfig.get_paths("venv", {"base": str(venv), "platbase": str(venv), "installed_base": str(venv)})
    site = Path(paths["purelib"])
    build = f"import setuptools.build_meta as build; build.build_editable({str(tmp_path)!r})"
    checked("-c", build, cwd=source)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        archive.extractall(site)
    (site / "outer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    there = Installed(Path(paths["scripts"]), site, source)
    (elsewhere / "model.py").write_text(RAISES)
    for module in (("pipeline.summary",), ("pipeline", "summary"), ("micro_yolo", "summary")):
        done = there.run("python", "-m", *module, "micro_yolo", cwd=elsewhere)
        assert done.returncode == 0, done.stderr
    code = "import micro_yolo.model.zoo as zoo; print(zoo.__file__)"
    assert there.run("python", "-c", code, cwd=elsewhere).stdout.startswith(str(source))
