"""Weights that strangers send: what leads out of the file, into any other of this machine, is refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import micro_yolo
from micro_yolo.model.hdf5 import check

ROOT = Path(micro_yolo.__file__).resolve().parents[1]


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.bin"
    path.write_bytes(bytes(range(64)))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["kept"] = np.zeros(16, np.float32)
    return path


def external_storage(file, folder):
    file["layers"].create_dataset("0", (16,), "f4", external=[(str(folder / "secret.bin"), 0, 64)])


def external_link(file, folder):
    file["layers/0"] = h5py.ExternalLink(str(folder / "other.h5"), "/kept")


def link_of_a_group(file, folder):
    file["layers/conv"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def soft_link(file, folder):
    file["layers/0"] = h5py.SoftLink("/layers/vars")


def virtual(file, folder):
    layout = h5py.VirtualLayout((16,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "kept", (16,))
    file["layers"].create_virtual_dataset("0", layout)


def nothing_packed(file, folder):
    file["layers"].create_dataset("0", (1 << 34,), "f4", chunks=True, compression="gzip")


def behind_a_name_of_its_own(file, folder):
    file["layers/deep/er/still"] = np.zeros(1)
    file["again"] = file["layers/deep"]
    file["again/er/0"] = h5py.ExternalLink(str(folder / "other.h5"), "/kept")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (external_storage, "some of another file at 'layers/0'"),
        (external_link, "a link at 'layers/0'"),
        (link_of_a_group, "a link at 'layers/conv'"),
        (soft_link, "a link at 'layers/0'"),
        (virtual, "some of another file at 'layers/0'"),
        (nothing_packed, "'layers/0', larger than the file"),
        (behind_a_name_of_its_own, "a link at '(again|layers/deep)/er/0'"),
    ],
)
def test_a_file_that_leads_elsewhere_is_refused(secret, tmp_path, harm, message):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/vars/0"] = np.zeros((3, 3), np.float32)
    check(path)
    with h5py.File(path, "a") as file:
        harm(file, tmp_path)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: must hold its weights itself, got {message}"):
        check(path)


def test_weights_are_loaded_in_one_place():
    folders = [ROOT / name for name in ("model", "pipeline", "tflite", "micro_yolo", "benchmarks")]
    files = {path.resolve() for folder in folders for path in folder.rglob("*.py")}
    found = [path for path in files if re.search(r"load_weights\(|h5py\.File\(|load_model\(", path.read_text())]
    assert found == [ROOT / "model" / "hdf5.py"]


def test_no_room_for_weights_is_what_the_system_said(tmp_path):
    """HDF5, which ends some processes by SIGSEGV after a write that failed, never writes to a disk itself.

    A limit on file sizes acts as a quota does; /dev/full as a full disk.
    """
    code = f"""
import pathlib, resource
from micro_yolo.model.hdf5 import save
from micro_yolo.model.keras import keras
model = keras.Sequential([keras.layers.Dense(600, input_shape=(600,))])
folder = pathlib.Path({str(tmp_path)!r})
(folder / "full.weights.h5").symlink_to("/dev/full")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for name in ("full.weights.h5", "large.weights.h5"):
    for _ in range(3):
        try:
            save(model, folder / name)
        except OSError as error:
            print(error.errno, end=" ")
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert ended.stdout == "28 28 28 27 27 27 "


def test_weights_are_written_in_one_place():
    sources = [path for name in ("model", "pipeline", "tflite") for path in (ROOT / name).rglob("*.py")]
    found = [path for path in sources if re.search(r"[^\"`.]save_weights\(|H5IOStore\(", path.read_text())]
    assert found == [ROOT / "model" / "keras.py"]
