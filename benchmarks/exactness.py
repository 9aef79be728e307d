"""Whether an int8 file computes what was trained: its outputs beside those of quantization-aware training.

python -m pipeline.convert --run runs/cells --int8 --head raw
python benchmarks/exactness.py --run runs/cells
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import contract as contracts

if TYPE_CHECKING:
    from micro_yolo.model.keras import keras

PROG = "python benchmarks/exactness.py"
FILE = "export/model_int8_raw.tflite"


@dataclass(frozen=True)
class Config:
    """Steps between the outputs of a run's raw int8 file and of the network it was made from."""

    run: Path | None = None
    """Run with a qat stage; by default the newest."""
    data: Path | None = None
    """Images; by default the validation images of the training."""
    images: int = 16
    """How many of them."""


def outputs(data: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Output name -> what a raw file gives for uint8 (B, h, w, 3), its integers counted from 0."""
    from micro_yolo.tflite.detector import Interpreter

    interpreter = Interpreter(data)
    found: dict[str, list[np.ndarray]] = {name: [] for name in interpreter.output_tensors}
    for image in pixels:
        interpreter.set(image[None])
        interpreter.invoke()
        for name, tensor in interpreter.output_tensors.items():
            found[name].append(interpreter.get(name)[0].astype(int) - tensor.zero_points[0])
    return {name: np.stack(values) for name, values in found.items()}


def said(model: keras.Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The same by the network of quantization-aware training: the sigmoid of its logits in steps of 1/256."""
    return {
        f"{row}_{part}": np.clip(np.rint(256 / (1 + np.exp(-np.asarray(values, np.float64)))), 0, 255).astype(int)
        for row, parts in model(pixels.astype(np.float32), training=False).items()
        for part, values in parts.items()
    }


def steps_apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> np.ndarray:
    """How far each value of the same outputs is apart, in steps."""
    return np.concatenate([np.abs(one[name] - other[name]).reshape(-1) for name in one])


def run(config: Config) -> np.ndarray:
    """Compare, print and return the steps. Raises ValueError or OSError for what a user can mend."""
    directory = runs.resolve_run(config.run)
    path = directory / FILE
    weights = directory / "qat" / runs.WEIGHTS
    if not path.is_file() or contracts.load(path).parents.get(f"qat/{runs.WEIGHTS}") != runs.sha256(weights):
        command = f"python -m pipeline.convert --run {directory} --int8 --head raw"
        raise ValueError(f"{path}: must be the file of the run's qat stage; `{command}` makes it")
    from micro_yolo.pipeline.store.finished import find
    from micro_yolo.tflite.image import load_image, resize

    trained = find(directory, "qat")
    model = trained.weighted()
    files = trained.dataset(config.data).splits["val"].files[: config.images]
    pixels = np.stack([resize(load_image(file), trained.arch.size, trained.resize)[0] for file in files])
    steps = steps_apart(outputs(path.read_bytes(), pixels), said(model, pixels))
    print(
        f"{path}: {len(pixels)} images, {steps.size:,} values; equal {np.mean(steps == 0):.4%}, "
        f"within one step {np.mean(steps <= 1):.4%}, most {steps.max()} steps"
    )
    return steps


if __name__ == "__main__":
    cli.main(Config, run, prog=PROG)
