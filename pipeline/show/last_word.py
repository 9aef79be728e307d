"""A line for a command that could say none: killed by the system for its memory, or crashed in a library."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Counters of the machine and of the container, whose line "oom_kill N" says how many processes went for memory.
_COUNTS = ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


@contextmanager
def last_word(say: Callable[[str], str]) -> Iterator[None]:
    """Have a small process wait beside the block, which tells on stderr if this one does not live to its end.

    This process keeps its number, its signals and its exit status. Where it cannot be, as on Windows, nobody waits.

    Args:
      say: the line, from what is known of the end.
    """
    # Forked before there is much in memory, of which it would be said to hold a part.
    if sys.platform != "linux" or "tensorflow" in sys.modules:
        yield
        return
    ends, lives = os.pipe()
    before = _killed()
    try:
        watcher = os.fork()
    except OSError:
        os.close(ends)
        os.close(lives)
        yield
        return
    if not watcher:
        os.close(lives)
        _wait(ends, before, say)
    os.close(ends)
    try:
        yield
    finally:
        with suppress(OSError):
            os.write(lives, b".")
        os.close(lives)
        with suppress(ChildProcessError):
            os.waitpid(watcher, 0)


def _wait(ends: int, before: int, say: Callable[[str], str]) -> None:
    """Wait until the other process is done, or gone; never returns."""
    try:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(each, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1):
            os.dup2(nowhere, handle)
        if not os.read(ends, 1):
            os.write(2, (say(_reason(before)) + "\n").encode(errors="backslashreplace"))
    finally:
        os._exit(0)


def _reason(before: int) -> str:
    if _killed() > before:
        return "the system ended it, as the memory of this machine or container was used up"
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        return f"it was killed or crashed, as libraries do at a limit of memory (ulimit -v), here {limit >> 20} MiB"
    return "it was killed or crashed; if nobody did that, the memory was not enough"


def _killed() -> int:
    """How many processes the system has ended for their memory."""
    count = 0
    for place in _COUNTS:
        with suppress(OSError, ValueError):
            lines = Path(place).read_text().splitlines()
            count += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return count
