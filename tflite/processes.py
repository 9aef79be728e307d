"""Processes for `tflite.child`, each a fork of one that has loaded what all of them need.

The first takes some tenths of a second, others a few milliseconds. Where there is no such thing, as on Windows and
macOS, each is started by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

# macOS has fork, and libraries that do not outlive it.
FORKS = sys.platform == "linux"
_START = "import sys; sys.path[:] = {path!r}; from micro_yolo.tflite import child, processes; {call}"
_MOST = 1 << 16


class Process:
    """A process that `tflite.child` serves in.

    Attributes:
        pid: its number.
        requests: file descriptor that it reads from.
        answers: file descriptor that it writes to.
    """

    def __init__(self) -> None:
        """Start it. Raises OSError if the system has no room for another."""
        asks, self.requests = os.pipe()
        self.answers, says = os.pipe()
        self._code: int | None = None
        try:
            if FORKS:
                self._told, tells = os.pipe()
                try:
                    self.pid = _fork((asks, says, tells))
                finally:
                    os.close(tells)
            else:
                self._started = _start("child.serve()", stdin=asks, stdout=says)
                self.pid = self._started.pid
        except BaseException:
            self.close()
            raise
        finally:
            os.close(asks)
            os.close(says)

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self._code is None and FORKS and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self._code if FORKS else self._started.poll()

    def wait(self) -> int:
        """Its exit status, once it has one."""
        if not FORKS:
            return self._started.wait()
        if self._code is None:
            # Of one whose parent was killed with it nobody says how it ended.
            self._code = int(os.read(self._told, _MOST) or -signal.SIGKILL)
            os.close(self._told)
        return self._code

    def kill(self) -> None:
        """End it, whatever it does."""
        if not FORKS:
            self._started.kill()
        elif self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close both descriptors."""
        for handle in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                os.close(handle)


def warm() -> None:
    """Have it begin to load, for those who will soon want a process and have something else to do until then."""
    if FORKS:
        with contextlib.suppress(OSError), _LOCK:
            _parent()


# By the process that it belongs to, the parent of all processes and the socket by which it is asked.
_PARENT: dict[int, tuple[subprocess.Popen[bytes], socket.socket]] = {}
_LOCK = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_LOCK=threading.Lock()))


def _parent() -> socket.socket:
    if os.getpid() not in _PARENT:
        # What a fork has of the process it was forked from is not its own.
        _PARENT.clear()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Nothing here computes with matrices, for which numpy would start a thread per processor.
            env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            parent = _start(
                f"processes.serve({theirs.fileno()}, child.serve)",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=env,
            )
        _PARENT[os.getpid()] = parent, ours
    return _PARENT[os.getpid()][1]


def _fork(handles: tuple[int, int, int]) -> int:
    asked = json.dumps({"path": _path(), "folder": os.getcwd()}).encode()
    with _LOCK:
        for is_last in (False, True):
            parent = _parent()
            try:
                socket.send_fds(parent, [asked], list(handles))
                answer = parent.recv(_MOST)
            except OSError:
                answer = b""
            if answer:
                break
            # Somebody ended it; another is started once.
            dead, _ = _PARENT.pop(os.getpid())
            dead.kill()
            dead.wait()
            if is_last:
                raise OSError("no process could be started to run the model in")
    return int(answer)


def _start(call: str, **how: Any) -> subprocess.Popen[bytes]:
    code = _START.format(path=_path(), call=call)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, **how)


def _path() -> list[str]:
    return [os.path.abspath(entry) for entry in sys.path]


def serve(number: int, each: Callable[[], None]) -> None:
    """The parent of all: forks for who asks at a socket, and says by a pipe of each how it ended.

    Args:
        number: descriptor of the socket.
        each: what a fork does; it does not return.
    """
    import importlib

    from micro_yolo.tflite.interpreter import load_library

    # Ctrl-C reaches all: what becomes of it is the asking one's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("apart", "foreign"):
        importlib.import_module(f"micro_yolo.tflite.{name}")
    load_library()
    asking = socket.socket(fileno=number)
    ended, ends = os.pipe()
    os.set_blocking(ends, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ends)
    waiting: dict[int, int] = {}
    heard: list[Any] = [asking, ended]
    while True:
        ready, _, _ = select.select(heard, [], [])
        if ended in ready:
            os.read(ended, _MOST)
            _tell_ends(waiting)
        if asking in ready:
            asked, handles, _, _ = socket.recv_fds(asking, _MOST, 3)
            if not asked:
                os._exit(0)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for place, handle in enumerate(handles[:2]):
                    os.dup2(handle, place)
                for handle in (*handles, *waiting.values(), asking.fileno(), ended, ends):
                    os.close(handle)
                said = json.loads(asked)
                sys.path[:] = said["path"]
                os.chdir(said["folder"])
                each()
            os.close(handles[0])
            os.close(handles[1])
            waiting[pid] = handles[2]
            asking.send(str(pid).encode())


def _tell_ends(waiting: dict[int, int]) -> None:
    while waiting:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(OSError):
            os.write(waiting[pid], str(os.waitstatus_to_exitcode(status)).encode())
        os.close(waiting.pop(pid))
