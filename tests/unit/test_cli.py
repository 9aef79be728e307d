from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tyro

import micro_yolo
from micro_yolo.pipeline.show import cli

ROOT = Path(micro_yolo.__file__).resolve().parents[1]
PROG = "python -m pipeline.something"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How it is cooked."""

    warmup_epochs: float = 2.0
    """Epochs to warm up."""

    def __post_init__(self) -> None:
        if self.warmup_epochs < 0:
            raise ValueError(f"warmup_epochs: must not be negative, got {self.warmup_epochs}")


@dataclasses.dataclass(frozen=True)
class Config:
    """Do something to photographs."""

    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Photographs or folders."""
    run: Path | None = None
    """Where the run is."""
    size: int = 416
    """Side of the input in pixels."""
    rate: float = 0.01
    """Learning rate."""
    val_fraction: float = 0.2
    """Share kept for validation."""
    arch: Literal["small", "large"] = "small"
    """Which network."""
    int8: bool = False
    """Whole numbers only."""
    mosaic: bool = True
    """Mix four photographs."""
    resume: bool = False
    """Go on with a killed run."""

    from_stage: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Where to start."""
    recipe: Recipe = dataclasses.field(default_factory=Recipe)

    def __post_init__(self) -> None:
        # A long message must survive on one line and in one piece.
        if self.size % 32:
            raise ValueError(f"size: must be a multiple of 32, got {self.size};\n allowed: {'/long' * 60}")


@dataclasses.dataclass(frozen=True)
class Needs:
    """Needs an option."""

    model: Path
    """The model file."""
    threads: int = 1
    """Threads."""


def parse(*args: str) -> Config:
    return cli.parse(Config, prog=PROG, args=args)


def fails(capsys: pytest.CaptureFixture[str], config: Any, *args: str, run: Any = print) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(config, run, prog=PROG, args=args)
    error = capsys.readouterr().err
    assert error.startswith(f"{PROG}: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1
    return int(str(stop.value.code)), error.removeprefix(f"{PROG}: ").strip()


def test_defaults_are_the_dataclass_defaults() -> None:
    assert parse() == Config()


def test_every_kind_of_field() -> None:
    args = "a.jpg b/ --run runs/x --size 320 --rate 1e-3 --val-fraction 0.5 --arch large --int8 --no-mosaic"
    assert parse("--warmup-epochs", "1", *args.split()) == Config(
        (Path("a.jpg"), Path("b")), Path("runs/x"), 320, 1e-3, 0.5, "large", int8=True, mosaic=False, recipe=Recipe(1)
    )


@pytest.mark.parametrize("flag", ["--no-int8", "--mosaic"])
def test_a_flag_exists_only_where_it_changes_something(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, Config, flag)[0] == 2


def test_help_shows_docstrings_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(Config, print, prog=PROG, args=["--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    for text in (
        "Do something to photographs.",
        "--run PATH",
        "Where the run is.",
        "--warmup-epochs",
        "416",
        "{small,large}",
    ):
        assert text in shown
    assert "{None}" not in shown
    assert "kept on one line" not in shown


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--siz", "3"], "unknown option --siz; nearest: --size"),
        (["--valfraction=3"], "unknown option --valfraction; nearest: --val-fraction"),
        (["--mosaik"], "unknown option --mosaik; nearest: --no-mosaic"),
        (["--size", "big"], "--size: must be a whole number, got 'big'"),
        (["--rate", "fast"], "--rate: must be a number, got 'fast'"),
        (["--size"], "--size needs a value"),
        (["--arch", "huge"], "invalid choice 'huge' for argument '--arch'. Expected one of ('small', 'large')"),
        (["--form", "x"], "unknown option --form; nearest: --from"),
        (["--warmup", "3"], "unknown option --warmup; nearest: --warmup-epochs"),
        (["--warmup-epochs=-1"], "warmup_epochs: must not be negative, got -1.0"),
        (["--size", "33"], f"size: must be a multiple of 32, got 33; allowed: {'/long' * 60}"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(capsys, Config, *args) == (2, f"{told}; see `{PROG} --help`")


def test_an_unknown_option_unlike_any_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    status, told = fails(capsys, Config, "--qqqqqq")
    assert status == 2
    assert "allowed: --run, --size" in told
    assert "--images" not in told


def test_a_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, Needs) == (2, f"--model is required; see `{PROG} --help`")


def test_a_misspelt_required_option_is_called_misspelt_not_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, Needs, "--modle", "x")[1].startswith("unknown option --modle; nearest: --model")


def test_a_value_may_begin_with_a_dash() -> None:
    assert parse("--rate", "-1").rate == -1


def test_an_unexpected_argument_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, Needs, "--model", "x", "stray")[1].startswith("unexpected argument 'stray'")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a: rule,\n  got 3;\tallowed: 4"), "a: rule, got 3; allowed: 4"),
        (FileNotFoundError("x.jpg: no such file"), "x.jpg: no such file"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.jpg"), "x.jpg: No such file or directory"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_users_mistake_while_running(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Config) -> None:
        raise error

    assert fails(capsys, Config, run=run) == (2, told)


def test_a_full_disk_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Config) -> None:
        with open("/dev/full", "w") as file:
            file.write("x")

    status, told = fails(capsys, Config, run=run)
    assert status == 2
    assert "No space left on device" in told
    assert "free some space" in told


def test_a_quota_that_is_used_up_is_told_as_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Config) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "runs/a")

    status, told = fails(capsys, Config, run=run)
    assert status == 2 and "runs/a: Disk quota exceeded" in told and "free some space" in told


def test_a_missing_extra_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(config: Config) -> None:
        import tensorflow.lite  # noqa: F401

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    status, told = fails(capsys, Config, run=run)
    assert status == 2
    assert "pip install 'micro-yolo[train]'" in told


@pytest.mark.parametrize("bug", [KeyError("bug"), ModuleNotFoundError("bug", name="pipelime")])
def test_a_bug_is_not_hidden(bug: Exception) -> None:
    def run(config: Config) -> None:
        raise bug

    with pytest.raises(type(bug)):
        cli.main(Config, run, prog=PROG, args=[])


def test_traceback_on_demand(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(config: Config) -> None:
        raise ValueError("deep")

    monkeypatch.setenv("MICRO_YOLO_TRACEBACK", "1")
    with pytest.raises(SystemExit):
        cli.main(Config, run, prog=PROG, args=[])
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith(f"{PROG}: deep\n")


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Config) -> None:
        raise KeyboardInterrupt

    told = fails(capsys, Config, "--run", "my run", "--overwrite-not", run=run)
    assert told[0] == 2
    assert fails(capsys, Config, "--run", "my run", run=run) == (
        130,
        f"stopped; `{PROG} --run 'my run' --resume` goes on",
    )
    assert fails(capsys, Config, "--resume", run=run) == (130, f"stopped; `{PROG} --resume` goes on")


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    code = (
        "import dataclasses\nfrom micro_yolo.pipeline.show import cli\n"
        "@dataclasses.dataclass(frozen=True)\nclass Config:\n    'Doc.'\n"
        "def run(config):\n    for n in range(100000): print(n)\n"
        "cli.main(Config, run, prog='x', args=[])\n"
    )
    script = tmp_path / "many.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(Path(micro_yolo.__file__).parent.parent)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as it:
        assert it.stdout is not None
        assert it.stderr is not None
        it.stdout.readline()
        it.stdout.close()
        assert it.stderr.read() == b""


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@dataclasses.dataclass(frozen=True)
class Hungry:
    """Take memory."""

    batch: int = 16
    """Images at once."""
    cache_gib: float = 1.0
    """GiB of images."""
    resume: bool = False
    """Go on."""


@pytest.mark.parametrize("error", [MemoryError(), ResourceExhaustedError("OOM when allocating\n" * 50)])
@pytest.mark.parametrize("config_type", [Hungry, Recipe])
def test_memory_that_is_not_enough_is_one_line(
    error: Exception, config_type: type, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(config: Any) -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        cli.main(config_type, run, prog=PROG, args=[])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    more = "a smaller --batch or --cache-gib needs less; what was saved is kept, and --resume goes on with it"
    assert line.endswith(f"is not enough; {more if config_type is Hungry else 'it needs a machine with more'}")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed or crashed; if nobody did that, the memory was not enough"),
        ("os.abort()", "killed or crashed; if nobody did that, the memory was not enough"),
        (
            "resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33)); os.kill(os.getpid(), signal.SIGSEGV)",
            "killed or crashed",
        ),
        ("last_word._killed", "the system ended it, as the memory of this machine or container was used up"),
        ("", "at a limit of memory (ulimit -v), here 8192 MiB"),
    ],
)
def test_a_command_that_can_say_nothing_any_more_has_a_line(tmp_path: Path, end: str, reason: str) -> None:
    """As the system's killing for memory, and std::bad_alloc in a library, leave no Python to say it."""
    counted = end.startswith("last_word")
    (tmp_path / "vmstat").write_text("nr_free 1\noom_kill 3\n")
    code = f"""
import dataclasses, os, pathlib, resource, signal
from micro_yolo.pipeline.show import cli, last_word
@dataclasses.dataclass(frozen=True)
class Config:
    "Take memory."
    batch: int = 16
    "Images at once."
    resume: bool = False
    "Go on."
counts = pathlib.Path({str(tmp_path / "vmstat")!r})
last_word._COUNTS = (str(counts),)
def run(config):
    if {counted}:
        counts.write_text("oom_kill 4")
    {"pass" if counted or not end else end}
    os.kill(os.getpid(), signal.SIGKILL)
if {not end}:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))
cli.main(Config, run, prog="micro-yolo train", args=[])
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode < 0
    (line,) = ended.stderr.splitlines()
    assert line.startswith("micro-yolo train: ") and reason in line
    assert line.endswith("; a smaller --batch needs less; what was saved is kept, and --resume goes on with it")


@pytest.mark.parametrize("end", ["", "raise ValueError('no')", "raise KeyboardInterrupt", "raise SystemExit(3)"])
def test_who_can_speak_has_no_other_line(end: str) -> None:
    code = f"""
import dataclasses
from micro_yolo.pipeline.show import cli
@dataclasses.dataclass(frozen=True)
class Config:
    "Nothing."
def run(config):
    {end or "pass"}
cli.main(Config, run, prog="p", args=[])
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == {"": 0, "raise ValueError('no')": 2, "raise KeyboardInterrupt": 130}.get(end, 3)
    assert "killed" not in ended.stderr and len(ended.stderr.splitlines()) == (0 if ended.returncode in (0, 3) else 1)
