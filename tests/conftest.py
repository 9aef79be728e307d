import contextlib
import gc
import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# One thread adds up in one order, so that two equal trainings are equal bit for bit; and two workers that each take
# every core only get in each other's way.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
# A job in the background of a script has Ctrl-C ignored, and so would have what the tests start and stop by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# MediaPipe imports TensorFlow if it is there, perhaps before model.keras could say which Keras.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

# The same examples every time; of `make test-long` others every time, which its seed brings back.
settings.register_profile("project", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=1000, print_blob=True)
PROFILE = os.environ.get("MICRO_YOLO_EXAMPLES", "project")
settings.load_profile(PROFILE)


def pytest_collection_finish() -> None:
    # Of what is imported by now nothing goes away; else it is looked through again for each training's garbage, which
    # is looked for more seldom as well.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 5, 5)


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.getoption("hypothesis_seed", None)
    again = "" if seed is None else f", seed {seed}; again: make test-long SEED={seed}"
    return f"examples: {PROFILE}{again}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail("shared/data must lie beside the project")
        pytest.skip("no shared/data beside the project")
    return path


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of inputs that failed once, each with its right outcome in CASES.md, beside the project."""
    path = ROOT.parent / "shared" / "cases"
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail("shared/cases must lie beside the project")
        pytest.skip("no shared/cases beside the project")
    return path


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``command("pipeline.train", "--epochs", 1, cwd=tmp_path)``: runs it as a user would; never raises."""

    def run(
        module: str, *args: object, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, args)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def called() -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `command`, but in this process, which has TensorFlow already: for what is said and left by slow commands."""

    def run(module: str, *args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        words, out, err = [module, *map(str, args)], io.StringIO(), io.StringIO()
        main = importlib.import_module(f"micro_yolo.{module}").main
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, "argv", words)
            if cwd is not None:
                patch.chdir(cwd)
            try:
                main()
                status = 0
            except SystemExit as stopped:
                status = stopped.code if isinstance(stopped.code, int) else 1
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

    return run
