"""A raw int8 file as a microcontroller runs it, beside what Python finds, on labelled photographs.

    python benchmarks/microcontroller.py --model runs/cells/export/model_int8_raw.tflite --data PATH

Each photograph goes through TFLM and the C decoder of target mcu, compiled with sanitizers, and through LiteRT's
reference kernels, its own optimized ones and XNNPACK, each with Python's decoder. Told are the outputs' integers that
differ, the photographs whose objects are the same (classes, order, scores, boxes to float rounding), and AP.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from micro_yolo.pipeline.show import cli
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.interpreter import BUILTIN, REFERENCE, XNNPACK, Interpreter

LEAST = 0.001


@dataclass(frozen=True)
class Config:
    """Compare TFLM and the C decoder with LiteRT and Python's."""

    model: Path
    """An int8 .tflite of ours with the raw head."""
    data: Path
    """Labelled images."""
    split: str = "val"
    """Which of them."""
    limit: int | None = None
    """Only so many, from the first."""


def run(config: Config) -> None:
    """Print a line for each comparison."""
    from c_decoder import CDecoder, write_contract

    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.measure.metrics import coco_metrics, coco_results
    from micro_yolo.pipeline.measure.results import joined
    from micro_yolo.tflite import contract as contracts
    from micro_yolo.tflite import tflm
    from micro_yolo.tflite.decode import decode
    from micro_yolo.tflite.image import load_image, resize
    from micro_yolo.tflite.slim import slim

    data, contract = config.model.read_bytes(), contracts.load(config.model)
    contracts.verify(contract, data, config.model)
    dataset = load(config.data)
    split = dataset.splits[config.split]
    split = split.subset(np.arange(len(split))[: config.limit])
    nms, size = contract.nms, contract.size
    laid = [resize(load_image(file), size, contract.input.resize) for file in split.files]
    n_outputs = len(contract.outputs)

    def through(look: Callable[[np.ndarray], None], stored: Callable[[int], np.ndarray]) -> list[list[np.ndarray]]:
        found = []
        for pixels, _ in laid:
            look(pixels)
            found.append([stored(number).copy() for number in range(n_outputs)])
        return found

    small = slim(data)
    used = tflm.measure(small, config.model)
    print(
        f"{contract.arch} at {size[0]}x{size[1]}: {len(small):,} bytes of flash, an arena of {used.arena_bytes:,} "
        f"({used.activation_bytes:,} of activations); {len(split)} photographs",
        flush=True,
    )
    micro = tflm.Micro(small)
    outputs = {"TFLM": through(micro.look, micro.stored)}
    for backend in (REFERENCE, BUILTIN, XNNPACK):
        litert = Interpreter(data, backend=backend)
        outputs[backend] = through(litert.look, partial(in_order, litert))
    places = [micro_place(data, output.index) for output in contract.outputs]
    for backend, theirs in outputs.items():
        if backend == "TFLM":
            continue
        differences = np.concatenate(
            [
                np.abs(a.astype(int) - b.astype(int)).ravel()
                for one, other in zip(outputs["TFLM"], theirs, strict=True)
                for a, b in zip(one, other, strict=True)
            ]
        )
        print(
            f"outputs of TFLM and LiteRT's {backend}: {np.count_nonzero(differences):,} of {differences.size:,} "
            f"integers differ, by {differences.max()} at most, {differences.mean():.4f} on average",
            flush=True,
        )

    def python(images: list[list[np.ndarray]], least: float) -> list[Detections]:
        found = []
        for image in images:
            grids: dict[str, dict[str, np.ndarray]] = {}
            for output, place in zip(contract.outputs, places, strict=True):
                values = (image[place][0].astype(np.float32) - output.zero_point) * np.float32(output.scale)
                grids.setdefault(output.row, {})[output.kind] = values
            found.append(
                decode(
                    grids,
                    contract.grids,
                    size,
                    coding=contract.coding,
                    score_threshold=least,
                    iou_threshold=nms.iou_threshold,
                    max_detections=nms.max_detections,
                    pre_nms=nms.pre_nms,
                )
            )
        return found

    with tempfile.TemporaryDirectory() as folder:
        by_c = CDecoder(Path(folder), write_contract(Path(folder), contract, places))
        for least in (nms.score_threshold, LEAST):
            ours = by_c.find(outputs["TFLM"], least, nms.iou_threshold, nms.pre_nms, nms.max_detections)
            for backend in (REFERENCE, BUILTIN, XNNPACK):
                found = python(outputs[backend], least)
                same = [alike(a, b) for a, b in zip(ours, found, strict=True)]
                total = sum(map(len, found))
                print(
                    f"above {least:g}, TFLM and C beside {backend} and Python: {sum(same)} of {len(same)} photographs "
                    f"the same, {sum(map(len, ours))} objects beside {total}",
                    flush=True,
                )
    for name, finds in (
        ("TFLM and C", ours),
        *((f"LiteRT {backend}", python(outputs[backend], LEAST)) for backend in (REFERENCE, BUILTIN, XNNPACK)),
    ):
        results = joined(
            [
                coco_results(
                    int(image_id), fit.boxes_to_image(each.boxes_xyxy), each.scores, each.classes, dataset.category_ids
                )
                for image_id, each, (_, fit) in zip(split.image_ids, finds, laid, strict=True)
            ]
        )
        scored = coco_metrics(split, dataset.category_ids, results)
        print(f"{name:18} AP {scored['AP']:.2f}, AP50 {scored['AP50']:.2f}", flush=True)


def alike(one: Detections, other: Detections) -> bool:
    """The same classes and scores in the same order, boxes to float rounding."""
    return (
        len(one) == len(other)
        and np.array_equal(one.classes, other.classes)
        and np.array_equal(one.scores, other.scores)
        and np.allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=1e-6, atol=1e-4)
    )


def in_order(litert: Interpreter, number: int) -> np.ndarray:
    """Output `number` in the order of the file, as stored."""
    return litert.tensor(litert.model.outputs[number])


def micro_place(data: bytes, index: int) -> int:
    """The how manieth output of the runtime a tensor is."""
    from micro_yolo.tflite import inspect

    return inspect.read(data).outputs.index(index)


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/microcontroller.py", description=__doc__)
