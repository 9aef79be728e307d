"""What a process does to the files below a folder, from below: watched.c, preloaded into this process. Linux, with cc.

HDF5's and TensorFlow's own writes are seen too, of which Python knows nothing.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_PRELOADED = "MICRO_YOLO_WATCHED"


def preload() -> None:
    """Begin this program anew with the library in it, unless it is; or end it where there is no C compiler."""
    if os.environ.pop(_PRELOADED, None):
        # For this process alone, not for those that it starts.
        os.environ.pop("LD_PRELOAD", None)
        return
    if sys.platform != "linux" or not shutil.which("cc"):
        sys.exit(f"{sys.argv[0]}: needs Linux and a C compiler called cc")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "watched.so")
        source = Path(__file__).with_suffix(".c")
        flags = ("-shared", "-fPIC", "-O1", "-o")
        subprocess.run(["cc", *flags, library, source, "-ldl", "-lpthread"], check=True)
        # A descriptor of it outlives the folder.
        handle = os.open(library, os.O_RDONLY)
    os.set_inheritable(handle, True)
    env = {**os.environ, "LD_PRELOAD": f"/proc/self/fd/{handle}", _PRELOADED: "1"}
    os.execve(sys.executable, sys.orig_argv, env)


def watch(folder: Path, *, told: int = -1, answered: int = -1, fails_from: int = 0, error: int = 0) -> None:
    """Look at what this process does below a folder from now on.

    Args:
        folder: its real path.
        told: descriptor to which a line goes for each event, before it is done.
        answered: descriptor from which a byte is waited for then.
        fails_from: number, from 1, of the event with which those that want room begin to fail; 0: none fails.
        error: with this errno.
    """
    ctypes.CDLL(None).watch(os.fsencode(folder), told, answered, ctypes.c_long(fails_from), error)


def seen() -> int:
    """How many events there were."""
    count = ctypes.CDLL(None).seen
    count.restype = ctypes.c_long
    return int(count())
