"""What glibc is told about memory, and when it is not. In processes of their own: nothing is ever untold."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from micro_yolo.model import memory

GLIBC = platform.libc_ver()[0] == "glibc"
# A block far above glibc's threshold, taken and dropped again and again: each is new pages, or the same ones.
PROGRAM = """
import ctypes, resource
from micro_yolo.model import memory
print(memory.keep())
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size, before = 64 << 20, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def told(monkeypatch: pytest.MonkeyPatch, setting: str | None) -> tuple[str, int]:
    if setting is None:
        monkeypatch.delenv(memory.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(memory.VARIABLE, setting)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    keeps, faults = done.stdout.split()
    return keeps, int(faults)


@pytest.mark.skipif(not GLIBC, reason="without glibc nothing is told")
def test_the_pages_of_a_dropped_block_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keeps, kept = told(monkeypatch, None)
    gives, given = told(monkeypatch, "0")
    assert (keeps, gives) == ("True", "False")
    assert kept * 10 < given


def test_nothing_is_told_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("asked for"))
    assert memory.keep() is False
