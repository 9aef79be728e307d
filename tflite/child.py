"""A function run in a process of its own: what a damaged model does to the runtime, it does to that process alone."""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from micro_yolo.tflite.processes import Process

PATIENCE = 120.0
# What asks for the last request again, and says that nothing came of it.
_AGAIN = b"\n"


def call(
    function: str,
    *,
    name: object = "model",
    patience: float = PATIENCE,
    advance: Callable[[], object] | None = None,
    limit_memory: bool = True,
    **arguments: Any,
) -> Any:
    """Call a function in a fresh process and return what it returns.

    Args:
        function: ``module:name``. It is called with `arguments` and `advance`, which it must call often enough.
        name: of the model, for messages.
        patience: seconds without a sign of life after which the process is ended.
        advance: called each time the function calls its own.
        limit_memory: let the process have half of the machine's memory, not all of it.
        arguments: in types that JSON has.

    Raises:
        ValueError: the function raised one, or an OSError; or its process crashed or was ended.
    """
    process = Child(name, patience=patience, limit_memory=limit_memory)
    try:
        return process.ask(function, advance=advance, **arguments)
    finally:
        process.end()


class Child:
    """A process of its own that functions are called in, one after the other. Not for several threads at once.

    It ends by `end`, and by itself when this process is gone.
    """

    def __init__(self, name: object = "model", *, patience: float = PATIENCE, limit_memory: bool = True) -> None:
        """Arguments as those of `call`."""
        self._name, self._patience, self._limit_memory = name, patience, limit_memory
        self._death: str | None = None
        self._rest = b""
        self._process = Process()
        # Somebody else looks at the clock, so that whoever asks wakes as soon as there is an answer.
        self._until, self._is_late, self._over = math.inf, False, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def ask(self, function: str, *, advance: Callable[[], object] | None = None, **arguments: Any) -> Any:
        """Call a function there and return what it returns. Arguments and errors as those of `call`."""
        request = {"function": function, "arguments": arguments, "limit_memory": self._limit_memory}
        self._send(json.dumps(request).encode() + b"\n")
        return self._answer(self._line(), advance)

    def again(self) -> Any:
        """`ask` what was asked last, with the same arguments. Raises likewise."""
        self._send(_AGAIN)
        return self._answer(self._line(), None)

    def process_time(self) -> float:
        """Seconds of processor time that it has used; Linux only."""
        # The clock of another process, as clock_getcpuclockid(3) gives it.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def end(self) -> None:
        """End it, whatever it does."""
        self._over.set()
        self._process.kill()
        self._process.wait()
        self._process.close()

    def _send(self, request: bytes) -> None:
        if self._death:
            raise ValueError(self._death)
        while request:
            try:
                request = request[os.write(self._process.requests, request) :]
            except BrokenPipeError:
                return

    def _line(self) -> bytes:
        """The next line that it says. Raises ValueError if it is gone, or says nothing."""
        self._until = time.monotonic() + self._patience
        said = [self._rest]
        while b"\n" not in said[-1]:
            more = os.read(self._process.answers, 1 << 16)
            if not more:
                late = f"no sign of life for {self._patience:g} s; damaged, or too slow for it"
                self._death = f"{self._name}: {late if self._is_late else _death(self._process.wait())}"
                raise ValueError(self._death)
            said.append(more)
        self._until = math.inf
        line, end, self._rest = b"".join(said).partition(b"\n")
        return line + end

    def _answer(self, line: bytes, advance: Callable[[], object] | None) -> Any:
        while line != _AGAIN:
            kind, value = json.loads(line)
            if kind == "error":
                raise ValueError(value)
            if kind == "result":
                return value
            if advance:
                advance()
            line = self._line()
        return None

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._patience / 4)):
            if time.monotonic() > self._until:
                self._is_late = True
                self._process.kill()
                return


def serve() -> None:
    """The other end of `Child`: requests from stdin; signs of life and results, as lines of JSON, to stdout.

    An empty line asks for the last request again, and says that nothing came of it.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    # Ctrl-C reaches both: what becomes of it is the other's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(kind: str, value: Any = None) -> None:
        line = json.dumps([kind, value]).encode() + b"\n"
        while line:
            line = line[os.write(answers, line) :]

    limited = False
    again: Callable[[], Any] | None = None
    for line in sys.stdin.buffer:
        try:
            if line != _AGAIN:
                request = json.loads(line)
                if request["limit_memory"] and not limited:
                    _limit_memory()
                    limited = True
                module, function = request["function"].split(":")
                again = partial(
                    getattr(importlib.import_module(module), function),
                    **request["arguments"],
                    advance=lambda: say("advance"),
                )
            result = again() if again else None
            if line == _AGAIN and result is None:
                os.write(answers, _AGAIN)
            else:
                say("result", result)
        except (ValueError, OSError) as error:
            say("error", str(error))
        except Exception as error:
            say("error", f"{type(error).__name__}: {error}")
    # What a damaged model left behind may crash when it is taken down.
    os._exit(0)


def _death(code: int) -> str:
    if code >= 0:
        return f"the runtime ended its process (status {code}); damaged, or not for this runtime"
    try:
        reason = f"{signal.Signals(-code).name}, {signal.strsignal(-code)}"
    except ValueError:
        reason = f"signal {-code}"
    return f"the runtime crashed on it ({reason}); damaged, or not for this runtime"


def _limit_memory() -> None:
    try:
        import resource

        half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        resource.setrlimit(resource.RLIMIT_AS, (half, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        return
