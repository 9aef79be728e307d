"""Commands in processes of their own, for tests that kill, continue and count them.

Each is a fork of one process that has imported TensorFlow, which takes longer than what they then do. How a user starts
them, by `python -m`, is what the fixture `command` does.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADED = (
    "micro_yolo.model.keras_cv",
    "micro_yolo.model.tfmot",
    "micro_yolo.pipeline.learn.loop",
    "micro_yolo.pipeline.measure.metrics",
    "matplotlib.figure",
)


class Started:
    """A process as `subprocess.Popen` has it, as far as tests need it.

    Args:
        words: a module, or the path of a program, and its options.
        env: added to this process's environment.
    """

    def __init__(self, *words: object, env: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LOADED))
        before = os.environ.get("PYTHONPATH")
        # Where the process that is forked finds what it loads.
        os.environ["PYTHONPATH"] = str(ROOT)
        try:
            forkserver.ensure_running()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
        self._told = tempfile.TemporaryDirectory()
        self._files = [Path(self._told.name, name) for name in ("out", "err")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self._process = context.Process(target=_run, args=([*map(str, words)], environment, *map(str, self._files)))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said on stdout and stderr, once it has ended. Raises TimeoutError."""
        self._process.join(timeout)
        if self.poll() is None:
            raise TimeoutError(f"{timeout} s: {self._process.pid} has not ended")
        out, err = (path.read_text() if path.exists() else "" for path in self._files)
        return out, err


def _run(words: list[str], environment: dict[str, str], *files: str) -> None:
    for descriptor, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(ROOT))
    sys.argv = words
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
