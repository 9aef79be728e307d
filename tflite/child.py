"""A function run in a process of its own: what a damaged model does to the runtime, it does to that process alone."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 120.0
_BOOT = "import sys; sys.path[:] = {path!r}; from micro_yolo.tflite.child import serve; serve()"


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
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT.format(path=[os.path.abspath(entry) for entry in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        # Somebody else looks at the clock, so that whoever asks wakes as soon as there is an answer.
        self._until, self._is_late, self._over = math.inf, False, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def ask(self, function: str, *, advance: Callable[[], object] | None = None, **arguments: Any) -> Any:
        """Call a function there and return what it returns. Arguments and errors as those of `call`."""
        if self._death:
            raise ValueError(self._death)
        request = {"function": function, "arguments": arguments, "limit_memory": self._limit_memory}
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(json.dumps(request).encode() + b"\n")
            _pipe(self._process.stdin).flush()
        while True:
            self._until = time.monotonic() + self._patience
            line = _pipe(self._process.stdout).readline()
            self._until = math.inf
            if not line:
                late = f"no sign of life for {self._patience:g} s; damaged, or too slow for it"
                self._death = f"{self._name}: {late if self._is_late else _death(self._process.wait())}"
                raise ValueError(self._death)
            kind, value = json.loads(line)
            if kind == "error":
                raise ValueError(value)
            if kind == "result":
                return value
            if advance:
                advance()

    def end(self) -> None:
        """End it, whatever it does."""
        self._over.set()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _pipe(pipe).close()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._patience / 4)):
            if time.monotonic() > self._until:
                self._is_late = True
                self._process.kill()
                return


def _pipe(pipe: Any) -> Any:
    """The pipe that Popen was asked for."""
    if pipe is None:
        raise OSError("no pipe to the process")
    return pipe


def serve() -> None:
    """The other end of `Child`: requests from stdin; signs of life and results, as lines of JSON, to stdout."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    # Ctrl-C reaches both: what becomes of it is the other's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(kind: str, value: Any = None) -> None:
        answers.write(json.dumps([kind, value]).encode() + b"\n")

    limited = False
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["limit_memory"] and not limited:
            _limit_memory()
            limited = True
        module, function = request["function"].split(":")
        try:
            result = getattr(importlib.import_module(module), function)(
                **request["arguments"], advance=lambda: say("advance")
            )
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
