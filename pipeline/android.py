"""A converted model in the Android app of this repository: its assets are all that the app needs to know."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.contract import Contract

ASSETS = Path(__file__).resolve().parents[1] / "android_demo/app/src/main/assets/models"


def target(name: str, file: str) -> Path:
    """Where a converted `file`, such as model_int8.tflite, of the run called `name` goes: NAME_int8.tflite.

    ValueError if the app is not there, as in an installed package.
    """
    if not ASSETS.is_dir():
        raise ValueError(f"android: {ASSETS} does not exist; run from a clone of the repository, which has the app")
    return ASSETS / f"{name}_{file.removeprefix('model_')}"


def write(path: Path, data: bytes, contract: Contract) -> None:
    """Write the model and its contract, both or none. Of the training data the app learns the folder's name alone.

    Raises OSError, such as for a full disk.
    """
    folder = Path(contract.data.path).name if contract.data.path else None
    public = replace(contract, data=replace(contract.data, path=folder))
    with ExitStack() as stack:
        for file, content in ((path, data), (contracts.path_of(path), public.to_json().encode())):
            with open(stack.enter_context(runs.writing(file)), "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
