"""Weights that were saved stay readable: in a file they are known by the order of the layers, which so must not change.

tests/golden/weights was written by the code of commit 78067a4, whose models put out flat lists: all operations, two
detection rows, as a float network and as one of quantization-aware training.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from micro_yolo.model.build import Network, build
from micro_yolo.model.quantization import network as quantize
from micro_yolo.model.quantization.wrap import Quantization
from micro_yolo.model.sparsity import dooming, strip_pruning, two_of_four
from micro_yolo.model.spec import Arch

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "weights"


def fresh(kind: str) -> Network:
    arch = Arch.from_json(json.loads((GOLDEN / "arch.json").read_text()))
    return build(arch) if kind == "float" else quantize.wrapped(arch, Quantization(4))


@pytest.mark.parametrize("kind", ["float", "qat"])
def test_weights_saved_before_say_what_they_said(kind: str, tmp_path: Path) -> None:
    model, path = fresh(kind), tmp_path / "old.weights.h5"
    path.write_bytes(gzip.decompress((GOLDEN / f"{kind}.weights.h5.gz").read_bytes()))
    model.load_weights(str(path))
    with np.load(GOLDEN / "said.npz") as golden:
        said = model(golden["pixels"].astype(np.float32), training=False)
        for row in ("coarse", "fine"):
            for part in ("boxes", "objectness", "classes"):
                np.testing.assert_allclose(said[row][part], golden[f"{kind}/{row}/{part}"], rtol=0, atol=1e-5)


def test_no_other_file_becomes_weights(tmp_path: Path) -> None:
    import h5py

    from micro_yolo.model.hdf5 import restore

    path, other = tmp_path / "model.weights.h5", tmp_path / "private.bin"
    path.write_bytes(gzip.decompress((GOLDEN / "float.weights.h5.gz").read_bytes()))
    model = fresh("float")
    restore(model, path)
    with h5py.File(path, "a") as file:
        found = []
        file.visititems(lambda name, each: found.append(name) if isinstance(each, h5py.Dataset) else None)
        first = file[found[0]]
        other.write_bytes(b"\x07" * first.nbytes)
        shape, dtype = first.shape, first.dtype
        del file[found[0]]
        file.create_dataset(found[0], shape, dtype, external=[(str(other), 0, other.stat().st_size)])
    before = model.get_weights()
    with pytest.raises(ValueError, match="must hold its weights itself"):
        restore(model, path)
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))
    # What Keras alone does.
    model.load_weights(str(path))
    assert any((weight == np.frombuffer(b"\x07" * 4, np.float32)).all() for weight in model.get_weights())


@pytest.mark.parametrize("kind", ["float", "qat"])
def test_a_file_holds_what_it_held_in_the_same_places(kind: str, tmp_path: Path) -> None:
    import h5py

    def places(path: Path) -> dict[str, bytes]:
        found = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, each: found.update({name: each[()].tobytes()} if hasattr(each, "dtype") else {})
            )
        return found

    old, new = tmp_path / "old.weights.h5", tmp_path / "new.weights.h5"
    old.write_bytes(gzip.decompress((GOLDEN / f"{kind}.weights.h5.gz").read_bytes()))
    model = fresh(kind)
    model.load_weights(str(old))
    model.save_weights(str(new))
    assert places(new) == places(old)


def test_wrapping_and_stripping_keep_the_order_of_layers_and_outputs() -> None:
    model = fresh("float")
    order = [layer.name for layer in model.layers]
    doomed = dooming(model, Arch.from_json(json.loads((GOLDEN / "arch.json").read_text())), np.array([0, 1]), 8)
    for wrapped in (doomed, two_of_four(model)):
        stripped = strip_pruning(wrapped)
        assert [layer.name for layer in stripped.layers] == order
        assert stripped.layout == wrapped.layout == model.layout
        assert stripped.output_names == model.output_names
    assert [layer.name for layer in fresh("qat").layers] == order
