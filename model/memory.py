"""Memory that TensorFlow is done with stays in the process, and lies in large pages.

A training step takes and drops hundreds of large tensors. glibc asks the system for each large one anew, and the
system hands over zeroed pages one fault at a time: on some machines half of a step (`benchmarks/training.py`). And a
step goes through a gigabyte, which in pages of 4 KiB is more than a processor can remember where it lies.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "MICRO_YOLO_KEEP_MEMORY"
# From glibc's malloc.h: how many blocks may be mapped apart from the heap, and how much may lie free at its end.
_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1
# From Linux' mman.h, since 6.1: pages that are there become large ones at once.
_MADV_COLLAPSE = 25
_LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
# Address, end and rights of a range, and what it shows of: nothing, or the heap.
_RANGE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0\s*(?:\[heap\])?$", re.MULTILINE)


def keep() -> bool:
    """Tell glibc to keep what is freed, for the next tensor; whether it was told.

    It is not where there is no glibc, and where the environment says ``MICRO_YOLO_KEEP_MEMORY=0``. Only what is
    allocated later is kept, so it is called before TensorFlow is imported.
    """
    if os.environ.get(VARIABLE) == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def gather() -> None:
    """Have what this process holds lie in large pages.

    Nothing is done where the system has no such call (Linux before 6.1, others), where whoever runs it wants no large
    pages (``never``), and where the environment says ``MICRO_YOLO_KEEP_MEMORY=0``. Memory that is not yet there is not
    asked for, so it is called when a few steps have been done.
    """
    if os.environ.get(VARIABLE) == "0":
        return
    try:
        if "[never]" in (_LARGE_PAGES / "enabled").read_text():
            return
        page = int((_LARGE_PAGES / "hpage_pmd_size").read_text())
        ranges = list(_whole_pages(Path("/proc/self/maps").read_text(), page))
    except OSError:
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for begin, end in ranges:
        # What it answers says nothing: a part that cannot is passed over, and one such part is told for all.
        madvise(begin, end - begin, _MADV_COLLAPSE)


def _whole_pages(maps: str, page: int) -> Iterator[tuple[int, int]]:
    """Of ranges that are this process's own, the part in whole pages, as `begin` and `end`."""
    for begin, end in _RANGE.findall(maps):
        first, last = -(-int(begin, 16) // page) * page, int(end, 16) // page * page
        if first < last:
            yield first, last
