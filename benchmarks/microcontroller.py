"""Raw int8 files as a microcontroller runs them, beside what Python finds, on labelled photographs.

    python benchmarks/microcontroller.py A.tflite B.tflite --data PATH
    python benchmarks/microcontroller.py runs/cells/export/model_int8_raw.tflite --data PATH --json measured.json

Each photograph goes through TFLM and the C decoder of target mcu, compiled with sanitizers, and through LiteRT's
reference kernels, its own optimized ones and XNNPACK, each with Python's decoder. Told are the outputs' integers that
differ, the photographs whose objects are the same (classes, order, scores, boxes to float rounding), and AP.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from micro_yolo.pipeline.show import cli
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.interpreter import BUILTIN, REFERENCE, XNNPACK, Interpreter

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.data.dataset import Split
    from micro_yolo.tflite.image import Fit

LEAST = 0.001
MICRO = "TFLM"
# What a file says of one photograph: its output tensors, as stored.
Stored = list[np.ndarray]


@dataclass(frozen=True)
class Config:
    """Compare TFLM and the C decoder with LiteRT and Python's."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """int8 .tflite files of ours with the raw head."""
    data: Path
    """Labelled images."""
    split: str = "val"
    """Which of them."""
    limit: int | None = None
    """Only so many, from the first."""
    json: Path | None = None
    """A file for all that was measured."""


def run(config: Config) -> None:
    """Measure file by file."""
    from micro_yolo.pipeline.data import load
    from micro_yolo.tflite.image import load_image

    dataset = load(config.data)
    split = dataset.splits[config.split]
    split = split.subset(np.arange(len(split))[: config.limit])
    photographs = [load_image(file) for file in split.files]
    found = [measured(model, photographs, split, dataset) for model in config.models]
    if config.json is not None:
        config.json.write_text(json.dumps({"models": found}, indent=1) + "\n", encoding="utf-8")


def measured(model: Path, photographs: Sequence[np.ndarray], split: Split, dataset: Dataset) -> dict[str, Any]:
    """What a file takes and finds, told line by line."""
    from micro_yolo.tflite import contract as contracts
    from micro_yolo.tflite import inspect, tflm
    from micro_yolo.tflite.image import resize
    from micro_yolo.tflite.slim import slim

    data, contract = model.read_bytes(), contracts.load(model)
    contracts.verify(contract, data, model)
    laid = [resize(photograph, contract.size, contract.input.resize) for photograph in photographs]
    pictures, fits = [pixels for pixels, _ in laid], [fit for _, fit in laid]
    small = slim(data)
    used = tflm.measure(small, model)
    told: dict[str, Any] = {
        "model": str(model),
        "arch": contract.arch,
        "size": list(contract.size),
        "bits": 4 if any(tensor.dtype == "int4" for tensor in inspect.read(data).tensors) else 8,
        "flash_bytes": len(small),
        "arena_bytes": used.arena_bytes,
        "photographs": len(pictures),
    }
    print(
        f"{model}: {contract.arch} at {contract.size[0]}x{contract.size[1]}: {len(small):,} bytes of flash, an "
        f"arena of {used.arena_bytes:,} ({used.activation_bytes:,} of activations); {len(pictures)} photographs",
        flush=True,
    )
    outputs = looked(data, small, pictures, len(contract.outputs))
    told["differing"] = differing(outputs)
    finds, told["same"] = found_alike(data, contract, outputs)
    told["scores"] = {name: scores(each, fits, split, dataset) for name, each in finds.items()}
    for name, score in told["scores"].items():
        print(f"{name:18} AP {score['AP']:.2f}, AP50 {score['AP50']:.2f}", flush=True)
    return told


def looked(data: bytes, small: bytes, pictures: Sequence[np.ndarray], n_outputs: int) -> dict[str, list[Stored]]:
    """Runtime -> what it says of each picture; those of LiteRT that refuse the file are left out, and said."""
    from micro_yolo.tflite import tflm

    def through(look: Callable[[np.ndarray], None], stored: Callable[[int], np.ndarray]) -> list[Stored]:
        found = []
        for pixels in pictures:
            look(pixels)
            found.append([stored(number).copy() for number in range(n_outputs)])
        return found

    micro = tflm.Micro(small)
    outputs = {MICRO: through(micro.look, micro.stored)}
    for backend in (REFERENCE, BUILTIN, XNNPACK):
        try:
            litert = Interpreter(data, backend=backend)
        except ValueError as error:
            print(f"LiteRT {backend} refuses it: {error}", flush=True)
            continue
        outputs[backend] = through(litert.look, partial(in_order, litert))
    return outputs


def differing(outputs: dict[str, list[Stored]]) -> dict[str, dict[str, float]]:
    """Backend -> integers of all outputs, how many differ from TFLM's, and by how much."""
    told = {}
    for backend in [name for name in outputs if name != MICRO]:
        apart = np.concatenate(
            [
                np.abs(a.astype(int) - b.astype(int)).ravel()
                for one, other in zip(outputs[MICRO], outputs[backend], strict=True)
                for a, b in zip(one, other, strict=True)
            ]
        )
        told[backend] = {
            "integers": apart.size,
            "differ": int(np.count_nonzero(apart)),
            "most": int(apart.max()),
            "mean": float(apart.mean()),
        }
        print(
            f"outputs of TFLM and LiteRT's {backend}: {told[backend]['differ']:,} of {apart.size:,} integers differ, "
            f"by {apart.max()} at most, {apart.mean():.4f} on average",
            flush=True,
        )
    return told


def found_alike(
    data: bytes, contract: Contract, outputs: dict[str, list[Stored]]
) -> tuple[dict[str, list[Detections]], dict[str, list[dict[str, Any]]]]:
    """What each finds above LEAST, and by backend of how many photographs TFLM and C find the same."""
    from c_decoder import CDecoder, write_contract

    nms = contract.nms
    places = [micro_place(data, output.index) for output in contract.outputs]
    backends = [name for name in outputs if name != MICRO]
    finds: dict[str, list[Detections]] = {}
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in backends}
    with tempfile.TemporaryDirectory() as folder:
        by_c = CDecoder(Path(folder), write_contract(Path(folder), contract, places))
        for least in (nms.score_threshold, LEAST):
            ours = by_c.find(outputs[MICRO], least, nms.iou_threshold, nms.pre_nms, nms.max_detections)
            finds["TFLM and C"] = ours
            for backend in backends:
                theirs = decoded(contract, places, outputs[backend], least)
                finds[f"LiteRT {backend}"] = theirs
                same = sum(alike(a, b) for a, b in zip(ours, theirs, strict=True))
                objects = sum(map(len, ours)), sum(map(len, theirs))
                told[backend].append({"above": least, "same": same, "objects": objects})
                print(
                    f"above {least:g}, TFLM and C beside {backend} and Python: {same} of {len(ours)} photographs "
                    f"the same, {objects[0]} objects beside {objects[1]}",
                    flush=True,
                )
    return finds, told


def decoded(contract: Contract, places: Sequence[int], images: list[Stored], least: float) -> list[Detections]:
    """What Python's decoder finds in the outputs of a runtime."""
    from micro_yolo.tflite.decode import decode

    nms, found = contract.nms, []
    for image in images:
        grids: dict[str, dict[str, np.ndarray]] = {}
        for output, place in zip(contract.outputs, places, strict=True):
            values = (image[place][0].astype(np.float32) - output.zero_point) * np.float32(output.scale)
            grids.setdefault(output.row, {})[output.kind] = values
        found.append(
            decode(
                grids,
                contract.grids,
                contract.size,
                coding=contract.coding,
                score_threshold=least,
                iou_threshold=nms.iou_threshold,
                max_detections=nms.max_detections,
                pre_nms=nms.pre_nms,
            )
        )
    return found


def scores(finds: list[Detections], fits: Sequence[Fit], split: Split, dataset: Dataset) -> dict[str, float]:
    """AP and AP50 by pycocotools, points."""
    from micro_yolo.pipeline.measure.metrics import coco_metrics, coco_results
    from micro_yolo.pipeline.measure.results import joined

    ids = dataset.category_ids
    results = joined(
        [
            coco_results(int(image_id), fit.boxes_to_image(each.boxes_xyxy), each.scores, each.classes, ids)
            for image_id, each, fit in zip(split.image_ids, finds, fits, strict=True)
        ]
    )
    scored = coco_metrics(split, ids, results)
    return {"AP": scored["AP"], "AP50": scored["AP50"]}


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
