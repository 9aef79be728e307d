"""A function run in a process of its own: what a damaged model does to the runtime, it does to that process alone."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
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
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOT.format(path=[os.path.abspath(entry) for entry in sys.path])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    try:
        request = {"function": function, "arguments": arguments, "limit_memory": limit_memory}
        with contextlib.suppress(BrokenPipeError):
            _pipe(process.stdin).write(json.dumps(request).encode() + b"\n")
            _pipe(process.stdin).flush()
        while True:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                raise ValueError(f"{name}: no sign of life for {patience:g} s; damaged, or too slow for it") from None
            if not line:
                raise ValueError(f"{name}: {_death(process.wait())}")
            kind, value = json.loads(line)
            if kind == "error":
                raise ValueError(value)
            if kind == "result":
                return value
            if advance:
                advance()
    finally:
        process.kill()
        process.wait()
        _pipe(process.stdin).close()


def _pipe(pipe: Any) -> Any:
    """The pipe that Popen was asked for."""
    if pipe is None:
        raise OSError("no pipe to the process")
    return pipe


def serve() -> None:
    """The other end of `call`: one request from stdin; signs of life and the result, as lines of JSON, to stdout."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def say(kind: str, value: Any = None) -> None:
        answers.write(json.dumps([kind, value]).encode() + b"\n")

    request = json.loads(sys.stdin.buffer.readline())
    if request["limit_memory"]:
        _limit_memory()
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


def _read(pipe: Any, lines: queue.SimpleQueue[bytes]) -> None:
    with pipe:
        for line in pipe:
            lines.put(line)
    lines.put(b"")


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
