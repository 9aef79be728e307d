"""What an int8 file loses: made by TensorFlow's converter as it is, and by ours, of the same weights and images.

    python benchmarks/integers.py runs/cells runs/cards

Each run's weights become a float32 file, an int8 file of tf.lite.TFLiteConverter with its own calibration, and an int8
file of `pipeline.convert`, all three with grids. AP is measured on each, and how far its boxes are from those of the
float32 file: 1 - IoU, the mean over all of that with a score above 0.3 of which there is one of the same class with an
IoU above a half.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from micro_yolo.pipeline.data.sample import sample_images
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, points
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import Trained, find
from micro_yolo.tflite.edit import SIGNATURE

SAMPLES = 200
SCORE, SAME = 0.3, 0.5


@dataclass(frozen=True)
class Config:
    """AP of int8 files by TensorFlow's converter and by ours."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Trained runs; the weights of their training."""
    json: Path | None = None
    """Also write what was measured to this file."""


def by_tensorflow(trained: Trained, show: Show) -> bytes:
    """The int8 file of tf.lite.TFLiteConverter."""
    from micro_yolo.model.keras import tf
    from micro_yolo.tflite import convert
    from micro_yolo.tflite.interpreter import quiet

    split = trained.dataset().splits["train"]
    samples = sample_images(split, SAMPLES, trained.arch.size, trained.resize, unreadable=show.warn)
    with quiet(), convert.saved(trained.deployable("int8", trained.weighted())) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({"image": sample[None].astype("float32")} for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
        return bytes(converter.convert())


def apart(whole: Path, file: Path, images: Sequence[np.ndarray]) -> float:
    """Mean 1 - IoU of a file's boxes with those of the float32 file."""
    from micro_yolo.tflite.decode import iou
    from micro_yolo.tflite.detector import Detector

    first, second, overlaps = Detector(whole), Detector(file), []
    for image in images:
        wanted, got = (detector.found(image, SCORE) for detector in (first, second))
        if len(wanted) and len(got):
            same = wanted.classes[:, None] == got.classes
            overlaps += [np.max(iou(wanted.boxes_xyxy, got.boxes_xyxy) * same, axis=1)]
    best = np.concatenate(overlaps)
    return float(1 - best[best > SAME].mean())


def measured(run: Path, show: Show) -> dict[str, Any]:
    """File -> AP and AP50."""
    from micro_yolo.pipeline import convert, evaluate
    from micro_yolo.tflite import contract as contracts
    from micro_yolo.tflite import inspect

    trained = find(run, "train")
    with tempfile.TemporaryDirectory(prefix="integers-") as place:
        out = Path(place)
        asked = convert.Config(run=run, from_stage="train", float32=True, int8=True, head="raw", out=out)
        whole, ours = (file.path for file in convert.run(dataclasses.replace(asked, score_samples=0), show).files)
        theirs, data = out / "model_tensorflow.tflite", by_tensorflow(trained, show)
        contract = contracts.load(ours)
        # The order of the outputs is the converter's business.
        indices = inspect.read(data).signature_outputs
        outputs = tuple(dataclasses.replace(output, index=indices[output.name]) for output in contract.outputs)
        said = dataclasses.replace(contract, outputs=outputs, model_sha256=hashlib.sha256(data).hexdigest())
        runs.write_together({theirs: data, contracts.path_of(theirs): said.to_json().encode()})
        split, size = trained.dataset().splits["val"], trained.arch.size
        images = sample_images(split, len(split), size, trained.resize, unreadable=show.warn)
        found: dict[str, Any] = {"run": run.name}
        for name, path in (("float32", whole), ("tensorflow", theirs), ("ours", ours)):
            metrics = evaluate.run(evaluate.Config(model=path, data=trained.data, out=out), QUIET).metrics
            found[name] = {key: metrics[key] for key in ("AP50", "AP")} | {"apart": apart(whole, path, images)}
    return found


def run(config: Config) -> None:
    """Convert, measure and tell. Raises ValueError or OSError for what a user can mend."""
    with Screen("stdout") as show:
        found = [measured(path, show) for path in config.runs]
        table = listing("run", "float32", "int8, TensorFlow's converter", "int8, ours", words=(0,))
        for row in found:
            each = (
                f"{points(row[name]['AP50'])} / {points(row[name]['AP'])}, {row[name]['apart']:.3f}"
                for name in ("float32", "tensorflow", "ours")
            )
            table.add_row(row["run"], *each)
        show.draw(table)
    if config.json is not None:
        runs.write_json(config.json, {"runs": found, "versions": runs.provenance()})


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/integers.py", description=__doc__)
