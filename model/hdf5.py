"""Weights from a file that somebody else may have made: nothing outside of that file can become weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micro_yolo.model.keras import keras


def restore(model: keras.Model, path: Path) -> None:
    """Give `model` the weights in `path`, a ``.weights.h5``.

    Raises:
        ValueError: the file leads elsewhere, or says it holds more than it can.
        Exception: of many kinds, those of h5py and Keras for a file that does not fit.
    """
    check(path)
    model.load_weights(str(path))


def save(model: keras.Model, path: Path) -> None:
    """Write the weights of `model` to `path`, a ``.weights.h5``. OSError if there is no room for them."""
    from micro_yolo.model.keras import hdf5_of

    with open(path, "wb") as file:
        file.write(hdf5_of(model))


def check(path: Path) -> None:
    """Raise ValueError unless all that is in an HDF5 file is in that file; OSError if it is no HDF5.

    HDF5 can point into other files: by links, by external storage, and by virtual datasets
    (https://support.hdfgroup.org/documentation/hdf5/latest/_u_g.html). Keras writes none of these, and nothing packed.
    """
    import h5py

    left = path.stat().st_size
    with h5py.File(path, "r") as file:
        for name, kind in _links(file):
            if kind != h5py.h5l.TYPE_HARD:
                raise ValueError(f"{path}: must hold its weights itself, got a link at {name!r:.80}")
            found = file[name]
            if not isinstance(found, h5py.Dataset):
                continue
            if found.external or found.is_virtual:
                raise ValueError(f"{path}: must hold its weights itself, got some of another file at {name!r:.80}")
            left -= found.nbytes
            if left < 0:
                raise ValueError(f"{path}: must hold its weights itself, got {name!r:.80}, larger than the file")


def _links(file: Any) -> list[tuple[str, int]]:
    """Name and kind of each link in an open file; links that are not hard are not followed."""
    found: list[tuple[str, int]] = []
    file.id.links.visit(lambda name, info: found.append((name.decode(errors="surrogateescape"), info.type)), info=True)
    return found
