"""Whether an int8 file computes what was trained: its outputs beside those of quantization-aware training.

python -m pipeline.convert --run runs/cells --int8 --head raw
python benchmarks/exactness.py --run runs/cells
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.measure.exactness import outputs, said, steps_apart
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import contract as contracts

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
