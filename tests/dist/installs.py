"""Each extra of the wheel in an environment of its own, and its first command there.

    python tests/dist/installs.py dist [EXTRA ...]

Environments are made by uv in a temporary folder, from the registry that pip is set up with. Prints a line an extra.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")
MODEL = ROOT / "android_demo/app/src/main/assets/models/cards_int8.tflite"
CARDS = ROOT / "pipeline/cards"
PHOTO = next((CARDS / "images").iterdir())
SMALL = ("--arch", "yolo_lite", "--size", "64", "--epochs", "1")
# A video, by what the extra brings.
FILM = (
    "import cv2, numpy; film = cv2.VideoWriter('film.avi', cv2.VideoWriter_fourcc(*'MJPG'), 5, (160, 120)); "
    "[film.write(numpy.full((120, 160, 3), 40 * n, numpy.uint8)) for n in range(3)]; film.release()"
)
# Extra -> commands, each as it is typed after the environment's bin/.
COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "": [
        ("micro-yolo", "--help"),
        ("micro-yolo", "inspect", str(MODEL)),
        ("micro-yolo", "predict", str(PHOTO), "--model", str(MODEL), "--out", "out"),
    ],
    "evaluate": [("micro-yolo", "evaluate", "--model", str(MODEL), "--data", str(CARDS), "--out", "out")],
    "edge": [("micro-yolo", "edge", str(MODEL))],
    "mcu": [("python", "-c", "import tflite_micro; print(tflite_micro.__file__)")],
    "heic": [
        ("micro-yolo", "predict", str(ROOT / "tests/unit/red_blue.heic"), "--model", str(MODEL), "--out", "out"),
    ],
    "video": [
        ("python", "-c", FILM),
        ("micro-yolo", "predict", "film.avi", "--model", str(MODEL), "--out", "out"),
    ],
    "train": [
        ("micro-yolo", "train", "--data", str(CARDS), *SMALL, "--run", "run"),
        ("micro-yolo", "convert", "--run", "run", "--int8", "--samples", "8", "--score-samples", "8"),
    ],
    "search": [("micro-yolo", "search", "--help"), ("python", "-c", "import optuna, micro_yolo.pipeline.store.trials")],
    "mediapipe": [("python", "-c", "import mediapipe; print(mediapipe.__version__)")],
    "docs": [("zensical", "--version")],
    "dev": [("ruff", "--version"), ("pytest", "--version")],
}


def run(args: tuple[object, ...], cwd: Path) -> None:
    """Run to its end. Raises CalledProcessError, having printed what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([str(arg) for arg in args], cwd=cwd, env=clean, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
        done.check_returncode()


def tried(wheel: Path, extra: str) -> None:
    """Install an extra into a new environment and run its commands, in an empty folder."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        work, environment = Path(place, "work"), Path(place, "environment")
        work.mkdir()
        run((UV, "venv", "--quiet", "--python", sys.executable, environment), work)
        wanted = f"micro-yolo[{extra}] @ {wheel.resolve().as_uri()}" if extra else str(wheel.resolve())
        python = environment / "bin/python"
        run((UV, "pip", "install", "--quiet", "--no-config", "--python", python, wanted), work)
        installed = time.perf_counter()
        for command in COMMANDS[extra]:
            run((environment / "bin" / command[0], *command[1:]), work)
        names = ", ".join(" ".join(Path(word).name for word in command[:2]) for command in COMMANDS[extra])
        print(f"{extra or 'no extra'}: installed in {installed - start:.0f} s, ran {names}", flush=True)


def main() -> None:
    """Try the extras named, by default all."""
    (wheel,) = Path(sys.argv[1]).glob("*.whl")
    for extra in sys.argv[2:] or COMMANDS:
        tried(wheel, extra)


if __name__ == "__main__":
    main()
