"""One try of an attack in a fork of this process, and how it ended; what all attacks of benchmarks/ share."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a command may take of a machine for a small thing: of a processor; and until it is taken for one that waits.
PROCESSOR = 30
SECONDS = 600.0
MEMORY = 3 << 30
# Signs that act on a terminal.
_ACTS = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")


@dataclass(frozen=True)
class Ended:
    """How a try ended.

    Attributes:
        how: "answer", "error", or what a user should never see, after "lost: ".
        said: on stdout and stderr.
    """

    how: str
    said: str

    @property
    def lost(self) -> bool:
        """Whether it is what a user should never see."""
        return self.how.startswith("lost")


def tried(
    does: Callable[[], Any], *, seconds: float = SECONDS, processor: int = PROCESSOR, memory: int | None = MEMORY
) -> Ended:
    """Call in a fork; it holds if it returns, or exits with status 0, or with 2 and one line on stderr.

    Args:
        does: what is tried, such as a call of `cli.main`.
        seconds: after which it is lost.
        processor: seconds of a processor after which it is.
        memory: of its address space, beyond what this process has.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            _do(does, out.fileno(), err.fileno(), processor, memory)
        status = _wait(pid, seconds)
        out.seek(0)
        err.seek(0)
        told, complaint = out.read(), err.read()
    said = (told + complaint).decode(errors="backslashreplace")
    if status is None:
        return Ended(f"lost: no end after {seconds:g} s", said)
    if status < 0:
        return Ended(f"lost: {signal.Signals(-status).name}", said)
    if acting := _ACTS.search(told + complaint):
        return Ended(f"lost: prints {acting.group()!r}", said)
    if status == 0:
        return Ended("answer", said)
    lines = [line for line in complaint.splitlines() if line.strip()]
    if status == 2 and lines and b"Traceback" not in complaint:
        return Ended("error", said)
    return Ended(f"lost: status {status}, {len(lines)} lines", said)


def _do(does: Callable[[], Any], out: int, err: int, processor: int, memory: int | None) -> None:
    status = 70
    try:
        os.setpgid(0, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
        if memory is not None:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
        does()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, seconds: float) -> int | None:
    """Its exit status; None if it had to be ended."""
    handle = os.pidfd_open(pid)
    try:
        if not select.select([handle], [], [], seconds)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(handle)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Within it nothing is printed."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


class Tally:
    """Counts of tries, by what was attacked."""

    def __init__(self) -> None:
        """Nothing was tried."""
        self.counts: dict[str, list[int]] = {}
        self.lost: list[str] = []

    def add(self, what: str, ended: Ended, again: str) -> None:
        """Count a try of `what`; of a lost one say `again`, by which it can be had once more."""
        row = self.counts.setdefault(what, [0, 0, 0])
        row[0] += 1
        row[2 if ended.lost else 1] += 1
        if ended.lost:
            self.lost.append(f"{what} {again}: {ended.how}\n{ended.said[-1500:]}")
            print(self.lost[-1], file=sys.stderr, flush=True)

    def lines(self) -> Iterable[str]:
        """The table."""
        width = max([5, *map(len, self.counts)])
        yield f"{'':{width}}  tried   held   lost"
        for what, row in self.counts.items():
            yield f"{what:{width}} {row[0]:6} {row[1]:6} {row[2]:6}"
        whole = [sum(row[place] for row in self.counts.values()) for place in range(3)]
        yield f"{'all':{width}} {whole[0]:6} {whole[1]:6} {whole[2]:6}"


def until(seconds: float) -> Callable[[], bool]:
    """Whether there is still time."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


@dataclass(frozen=True)
class Numbered:
    """Attacks that are drawn by number."""

    minutes: float = 1.0
    """How long."""
    first: int = 0
    """Number of the first."""
    tries: int | None = None
    """How many; by default as many as there is time for."""


def tally_of(
    what: str, asked: Numbered, attack: Callable[[int], tuple[str, Ended]], tally: Tally | None = None
) -> Tally:
    """Try one number after the other and count; without a `tally` to add to, print too.

    Args:
        what: is attacked.
        asked: which numbers.
        attack: tries a number; what it was, and how it ended.
        tally: of other attacks.

    Raises:
        ValueError: one of those printed is lost.
    """
    counted = Tally() if tally is None else tally
    more, number = until(60 * asked.minutes), asked.first
    while more() if asked.tries is None else number < asked.first + asked.tries:
        done, ended = attack(number)
        counted.add(what, ended, f"--first {number} --tries 1 ({done})")
        number += 1
    if tally is None:
        print("\n".join(counted.lines()))
        if counted.lost:
            raise ValueError(f"{len(counted.lost)} lost")
    return counted
