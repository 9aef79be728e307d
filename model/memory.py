"""Memory that TensorFlow is done with stays in the process, where glibc would give it back to the system.

A training step takes and drops hundreds of large tensors. glibc asks the system for each large one anew, and the
system hands over zeroed pages one fault at a time: on some machines half of a step (`benchmarks/training.py`).
"""

from __future__ import annotations

import ctypes
import os
import platform

VARIABLE = "MICRO_YOLO_KEEP_MEMORY"
# From glibc's malloc.h: how many blocks may be mapped apart from the heap, and how much may lie free at its end.
_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1


def keep() -> bool:
    """Tell glibc to keep what is freed, for the next tensor; whether it was told.

    It is not where there is no glibc, and where the environment says ``MICRO_YOLO_KEEP_MEMORY=0``. Only what is
    allocated later is kept, so it is called before TensorFlow is imported.
    """
    if os.environ.get(VARIABLE) == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
