"""What glibc is told about memory, and when it is not. In processes of their own: nothing is ever untold."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

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


# 128 MiB in blocks of 64 KiB, which no library asks to be large.
GATHERED = """
import ctypes, pathlib, re
from micro_yolo.model import memory
memory.keep()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
def large(): return int(re.search(r"AnonHugePages: +([0-9]+)", pathlib.Path("/proc/self/smaps_rollup").read_text())[1])
size = 1 << 16
blocks = [libc.malloc(size) for _ in range(1 << 11)]
for block in blocks: ctypes.memset(block, 7, size)
before = large()
memory.gather()
print((large() - before) >> 10)
print(all(ctypes.string_at(block, size) == b"\\7" * size for block in blocks))
"""


def gathered(setting: str | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.delenv(memory.VARIABLE, raising=False)
    if setting is not None:
        monkeypatch.setenv(memory.VARIABLE, setting)
    return subprocess.run([sys.executable, "-c", GATHERED], capture_output=True, text=True, check=True).stdout.split()


def has_call() -> bool:
    release = tuple(int(part) for part in platform.release().split(".")[:2] if part.isdigit())
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return sys.platform == "linux" and release >= (6, 1) and enabled.exists() and "[never]" not in enabled.read_text()


@pytest.mark.skipif(not (GLIBC and has_call()), reason="the system has no such call")
def test_what_is_held_comes_to_lie_in_large_pages_and_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    large_mib, is_same = gathered(None, monkeypatch)
    assert int(large_mib) >= 100
    assert is_same == "True"


def test_memory_that_is_not_to_be_kept_is_left_as_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert int(gathered("0", monkeypatch)[0]) <= 0


@pytest.mark.parametrize("enabled", ["always madvise [never]\n", None])
def test_no_large_pages_where_the_system_has_none(
    enabled: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if enabled is not None:
        (tmp_path / "enabled").write_text(enabled)
    monkeypatch.setattr(memory, "_LARGE_PAGES", tmp_path)
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("asked for"))
    memory.gather()


def test_only_whole_pages_of_what_is_the_processs_own() -> None:
    maps = (
        "00200000-00900000 rw-p 00000000 00:00 0    [heap]\n"
        "7f0000100000-7f0000700000 rw-p 00000000 00:00 0 \n"
        "7f0000800000-7f0000a00000 r--p 00000000 00:00 0 \n"
        "7f0000c00000-7f0001000000 rw-p 00000000 08:01 42   /usr/lib/some.so\n"
        "7f0001000000-7f00011ff000 rw-p 00000000 00:00 0 \n"
        "7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0    [stack]\n"
    )
    found = list(memory._whole_pages(maps, 2 << 20))
    assert found == [(0x200000, 0x800000), (0x7F0000200000, 0x7F0000600000)]


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
