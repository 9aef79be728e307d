"""Golden vectors for the app: what tflite/ gives for inputs that Kotlin can make too.

python tests/golden/write.py

writes the JSON files beside it. tests/unit/test_golden.py makes them anew and compares; the app's :core reads them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import heads, suppression
from micro_yolo.tflite.contract import DETECTION_KINDS, Contract, Input, Nms, Output
from micro_yolo.tflite.decode import decode
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import RULES, resize
from micro_yolo.tflite.suppression import OUTPUTS
from micro_yolo.tflite.thresholds import Cut, Thresholds

HERE = Path(__file__).parent
SIZES = (
    (1, 1),
    (1, 3000),
    (5, 3),
    (97, 61),
    (320, 320),
    (480, 640),
    (641, 1279),
    (720, 1280),
    (3000, 4000),
    (6000, 8000),
)
DTYPES = (("uint8", 1.0, 0), ("int8", 1.0, -128), ("int8", 0.0078125, -1), ("int16", 0.0078, 0), ("float32", 0.0, 0))


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """uint8 (height, width, 3), the same as `picture` in the Kotlin tests."""
    x = np.arange(width, dtype=np.uint32)
    y = np.arange(height, dtype=np.uint32)[:, None]
    pixels = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        pixels[..., channel] = (x * x * 3 + y * y * 5 + x * y * 7 + channel * 101 + seed * 17) >> 2 & 255
    return pixels


def stored(pixels: np.ndarray, dtype: str, scale: float, zero_point: int) -> np.ndarray:
    """Pixels as an input of that kind stores them, by the formula of tflite.contract.Input."""
    if dtype == "float32":
        return pixels.astype(np.float32)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(pixels.astype(np.float32) / np.float32(scale)) + zero_point, limits.min, limits.max).astype(
        dtype
    )


def resized() -> list[dict[str, Any]]:
    """Pictures at a model's size: SHA-256 of the bytes that go into the input, and a pixel to look at first."""
    cases = []
    for seed, (height, width) in enumerate(SIZES):
        image = picture(height, width, seed)
        for rule in RULES:
            pixels, fit = resize(image, (192, 320), rule)
            boxes = np.array([[0, 0, 192, 320], [10.25, 20.5, 100, 300]], np.float32)
            for dtype, scale, zero_point in DTYPES if max(height, width) < 1000 else DTYPES[:1]:
                values = stored(pixels, dtype, scale, zero_point)
                cases.append(
                    {
                        "width": width,
                        "height": height,
                        "seed": seed,
                        "to_width": 320,
                        "to_height": 192,
                        "rule": rule,
                        "dtype": dtype,
                        "scale": scale,
                        "zero_point": zero_point,
                        "middle": pixels[96, 160].tolist(),
                        "sha256": hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest(),
                        "boxes": boxes.tolist(),
                        "boxes_in_image": fit.boxes_to_image(boxes).tolist(),
                    }
                )
    return cases


def small_contract(dtype: str) -> Contract:
    """A contract of two detection rows and three labels, outputs with scales of their own."""
    outputs = []
    anchors = {"coarse": ((30.0, 20.0), (50.0, 60.5)), "fine": ((8.25, 12.0),)}
    scales = {"float32": (0.0, 0), "int8": (1 / 256, -128), "uint8": (1 / 250, 3), "int16": (1 / 32768, 0)}
    scale, zero_point = scales[dtype]
    for row, stride in (("coarse", 16), ("fine", 8)):
        for part, each in {"boxes": 4, "objectness": 1, "classes": 3}.items():
            shape = (1, 64 // stride, 96 // stride, each * len(anchors[row]))
            outputs.append(
                Output(f"{row}_{part}", part, row, stride, shape, dtype, scale, zero_point, len(outputs) + 1)
            )
    return Contract(
        name="small",
        arch="none",
        variant=dtype,
        input=Input("image", (1, 64, 96, 3), "uint8", 1.0, 0, 0, "letterbox"),
        outputs=tuple(outputs),
        anchors=anchors,
        labels=("a", "b", "ü"),
        model_sha256="0" * 64,
        nms=Nms(max_detections=20, pre_nms=100),
        coding=heads.IMPLIED,
    )


def random_raw(contract: Contract, rng: np.random.Generator, ties: bool) -> list[np.ndarray]:
    """Stored outputs in the contract's order. `ties`: few different values, so that many scores are equal."""
    arrays = []
    for output in contract.outputs:
        uniform = rng.random(output.shape)
        if ties:
            uniform = np.floor(uniform * 4) / 4
        if output.dtype == "float32":
            arrays.append(uniform.astype(np.float32))
        else:
            limits = np.iinfo(output.dtype)
            arrays.append(
                (uniform * (limits.max - max(limits.min, output.zero_point)) + output.zero_point).astype(output.dtype)
            )
    return arrays


def decoded(contract: Contract, arrays: list[np.ndarray], score: float, iou: float) -> dict[str, Any]:
    """What tflite.decode finds in stored outputs."""
    values: dict[str, dict[str, np.ndarray]] = {}
    for output, array in zip(contract.outputs, arrays, strict=True):
        value = array[0].astype(np.float32)
        if output.dtype != "float32":
            value = (value - output.zero_point) * np.float32(output.scale)
        values.setdefault(output.row, {})[output.kind] = value
    found = decode(
        values,
        contract.grids,
        contract.size,
        coding=contract.coding,
        score_threshold=score,
        iou_threshold=iou,
        max_detections=contract.nms.max_detections,
        pre_nms=contract.nms.pre_nms,
    )
    return {
        "score_threshold": score,
        "iou_threshold": iou,
        "boxes": found.boxes_xyxy.tolist(),
        "scores": found.scores.tolist(),
        "classes": found.classes.tolist(),
    }


def raw_outputs() -> list[dict[str, Any]]:
    """Random outputs of several types."""
    rng = np.random.default_rng(0)
    cases = []
    for dtype in ("int8", "uint8", "int16", "float32"):
        contract = small_contract(dtype)
        for ties, score, iou in ((False, 0.25, 0.6), (False, 0.0, 0.3), (True, 0.3, 0.6), (False, 0.999, 0.6)):
            arrays = random_raw(contract, rng, ties)
            cases.append(
                {
                    "contract": json.loads(contract.to_json()),
                    "outputs": [
                        base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
                        for array in arrays
                    ],
                    "found": decoded(contract, arrays, score, iou),
                }
            )
    return cases


def detections_contract() -> Contract:
    """A contract of the detections head, with three labels and at most 20 objects."""
    most = 20
    shapes = ((1, most, 4), (1, most), (1, most), (1,))
    return Contract(
        name="small",
        arch="none",
        variant="int8",
        input=Input("image", (1, 64, 96, 3), "uint8", 1.0, 0, 0),
        outputs=tuple(
            Output(name, kind, "", 0, shape, "float32", 0.0, 0, index)
            for index, (name, kind, shape) in enumerate(zip(OUTPUTS, DETECTION_KINDS, shapes, strict=True), 1)
        ),
        anchors={},
        labels=("a", "b", "ü"),
        model_sha256="0" * 64,
        nms=Nms(max_detections=most),
        head="detections",
        coding=suppression.CODING,
    ).measured(Thresholds(Cut(0.31, 0.8, 0.75, 0.8571, 14), (Cut(0.3, 1.0, 1.0, 1.0, 9), None, None), 5))


def without_coding(contract: Contract) -> str:
    """As contracts were before they had a coding, which still means the same."""
    value = json.loads(contract.to_json())
    del value["coding"]
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class Kept:
    """Stands in for an interpreter: gives the outputs it was made with."""

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self.value = values.__getitem__

    def look(self, pixels: np.ndarray) -> None:
        """Unused."""


def suppressed_outputs() -> list[dict[str, Any]]:
    """Outputs of the detections head, and what tflite.detector reads from them for a picture twice the input's size."""
    rng = np.random.default_rng(2)
    contract = detections_contract()
    most = contract.nms.max_detections
    cases = []
    for number, score, damage in (
        (most, 0.25, None),
        (7, 0.001, None),
        (0, 0.001, None),
        (most, 0.25, "scores"),
        (most, 0.25, "boxes"),
        (np.nan, 0.25, "count"),
    ):
        centre, half = rng.random((most, 2)), rng.random((most, 2)) * 0.4
        # Beyond the picture's edges too, and some without area.
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        boxes[::6, 2] = boxes[::6, 0]
        scores = np.sort(rng.random(most))[::-1].copy()
        if damage == "scores":
            scores[::3] = np.nan
        if damage == "boxes":
            boxes[[1, 4], [0, 3]] = np.nan
        values = {
            name: value.astype(np.float32)
            for name, value in zip(
                OUTPUTS, (boxes[None], rng.integers(0, 3, (1, most)), scores[None], np.array([number])), strict=True
            )
        }
        detector = Detector.__new__(Detector)
        detector.contract, detector.size = contract, contract.size
        detector._interpreter = Kept(values)  # type: ignore[assignment]
        found = detector.detect(np.zeros((128, 192, 3), np.uint8), score)
        cases.append(
            {
                "outputs": [base64.b64encode(values[name].astype("<f4").tobytes()).decode() for name in OUTPUTS],
                "found": {
                    "score_threshold": score,
                    "boxes": found.boxes_xyxy.tolist(),
                    "scores": found.scores.tolist(),
                    "classes": found.classes.tolist(),
                },
            }
        )
    return cases


def turned() -> list[dict[str, Any]]:
    """Where a pixel of a camera's frame is seen, found by turning, mirroring and placing an array."""
    frame, pixel = (8, 6), (5, 1)  # width, height; x, y
    cases = []
    for sensor in (0, 90, 180, 270):
        for display in (0, 90, 180, 270):
            for front in (False, True):
                upright = (sensor + display if front else sensor - display) % 360
                array = np.zeros(frame[::-1], int)
                array[pixel[1], pixel[0]] = 1
                array = np.rot90(array, -upright // 90)
                unmirrored = [int(i) for i in np.argwhere(array)[0][::-1]]
                if front:
                    array = array[:, ::-1]
                height, width = array.shape
                ((y, x),) = np.argwhere(array).tolist()
                for mode in ("FIT", "CROP"):
                    scale = (min if mode == "FIT" else max)(90 / width, 200 / height)
                    left, top = (90 - width * scale) / 2, (200 - height * scale) / 2
                    cases.append(
                        {
                            "sensor": sensor,
                            "display": display,
                            "front": front,
                            "mode": mode,
                            "frame": frame,
                            "pixel": pixel,
                            "view": [90, 200],
                            "degrees": upright,
                            "upright": unmirrored,
                            "seen": [left + x * scale, top + y * scale, left + (x + 1) * scale, top + (y + 1) * scale],
                        }
                    )
    return cases


def yuv() -> dict[str, Any]:
    """A camera frame and its RGB by JFIF's formula in floats."""
    rng = np.random.default_rng(1)
    luma, blue, red = rng.integers(0, 256, (6, 8)), rng.integers(0, 256, (3, 4)), rng.integers(0, 256, (3, 4))
    cb, cr = (np.kron(plane, np.ones((2, 2))) - 128 for plane in (blue, red))
    rgb = np.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], axis=-1)
    exact = np.clip(rgb, 0, 255)
    return {
        "width": 8,
        "height": 6,
        "luma": luma.ravel().tolist(),
        "blue": blue.ravel().tolist(),
        "red": red.ravel().tolist(),
        "rgb": {
            str(degrees): np.round(np.rot90(exact, -degrees // 90), 3).ravel().tolist() for degrees in (0, 90, 180, 270)
        },
    }


FILES = {
    "resize.json": resized,
    "decode.json": raw_outputs,
    "suppressed.json": suppressed_outputs,
    "contract_raw.json": lambda: small_contract("int8").to_json(),
    "contract_detections.json": lambda: detections_contract().to_json(),
    "contract_raw_absent.json": lambda: without_coding(small_contract("int8")),
    "contract_detections_absent.json": lambda: without_coding(detections_contract()),
    "orientation.json": turned,
    "yuv.json": yuv,
}


def text(made: Any) -> str:
    """One case a line, so that a difference shows which; text as it is."""
    if isinstance(made, str):
        return made
    if isinstance(made, dict):
        return json.dumps(made) + "\n"
    return "[\n" + ",\n".join(json.dumps(case) for case in made) + "\n]\n"


def main() -> None:
    """Write all files."""
    for name, make in FILES.items():
        (HERE / name).write_text(text(make()))


if __name__ == "__main__":
    main()
