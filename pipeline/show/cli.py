"""From a frozen dataclass to a command line: parsing, help, and what a user sees when something is wrong.

A field's docstring is its help. Positional fields are ``tyro.conf.Positional[...]``. A field that is a dataclass of its
own groups options in the help; they are typed without its name. Exit statuses: 2 for anything the
user can mend (one line on stderr), 130 for Ctrl-C. ``MICRO_YOLO_TRACEBACK=1`` shows where an error was raised.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import logging
import os
import re
import shlex
import sys
import traceback
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from micro_yolo.model.nearest import nearest
from micro_yolo.model.printable import harmless
from micro_yolo.pipeline.show.last_word import last_word
from micro_yolo.pipeline.show.terminal import say_anything

ConfigT = TypeVar("ConfigT")
_MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff, tyro.conf.OmitArgPrefixes)
# What only some users need, and the extra of the package that brings it.
_EXTRAS = {
    "ethosu": "edge",
    "optuna": "search",
    "tflite_micro": "mcu",
    **dict.fromkeys(("cv2", "supervision", "trackers"), "video"),
    **dict.fromkeys(("pycocotools", "defusedxml", "yaml"), "evaluate"),
    **dict.fromkeys(
        ("tensorflow", "tf_keras", "keras_cv", "tensorflow_model_optimization", "matplotlib", "jinja2"), "train"
    ),
}
# Options by which the memory goes, most first.
_SIZES = ("--batch", "--size", "--cache-gib", "--samples", "--images")
_REGISTRY = ConstructorRegistry()
# How Python says it, and how a user who never saw Python would.
_PLAIN = (
    (r"invalid literal for int\(\) with base 10: (.*)", r"must be a whole number, got \1"),
    (r"could not convert string to float: (.*)", r"must be a number, got \1"),
    (r"^Error parsing \w+: ", ""),
    (r"^Error parsing (\S+): ", r"\1: "),
    (r"^Missing from [^:]*: (\S+).*", r"\1 is required"),
    (r"^Missing value for argument '(\S+)'.*", r"\1 needs a value"),
)


def main(
    config_type: type[ConfigT],
    run: Callable[[ConfigT], Any],
    *,
    prog: str,
    description: str | None = None,
    args: Sequence[str] | None = None,
) -> None:
    """Parse `args` (default: the command line) into `config_type` and call `run` with it.

    `prog` is how the user starts it, such as ``python -m pipeline.train``. ValueError and OSError become one line on
    stderr and exit status 2, Ctrl-C a line that says how to go on and status 130.
    """
    args = list(sys.argv[1:] if args is None else args)
    silence_libraries()
    say_anything()
    try:
        config = parse(config_type, prog=prog, description=description, args=args)
        with last_word(lambda reason: harmless(f"{prog}: {reason}; {_smaller(config_type)}")):
            run(config)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has enough; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)
    except KeyboardInterrupt as stop:
        _leave(prog, str(stop) or _go_on(config_type, prog, args), 130)
    except ModuleNotFoundError as error:
        told = lacking(error)
        if told is None:
            raise
        _leave(prog, told, 2)
    except Exception as error:
        told = _no_memory(config_type, error) or (message(error) if isinstance(error, (ValueError, OSError)) else None)
        if told is None:
            raise
        if os.environ.get("MICRO_YOLO_TRACEBACK"):
            traceback.print_exc()
        _leave(prog, told, 2)


def parse(
    config_type: type[ConfigT], *, prog: str, description: str | None = None, args: Sequence[str] = ()
) -> ConfigT:
    """Parse `args` into `config_type`. Raises ValueError in one line; ``--help`` prints and raises SystemExit(0)."""
    complaint = io.StringIO()
    known = options(config_type)
    asks_help = "-h" in args or "--help" in args
    with contextlib.nullcontext() if asks_help else _captured(complaint):
        try:
            config, unknown = tyro.cli(
                config_type,
                prog=prog,
                description=description or config_type.__doc__,
                args=list(args),
                config=_MARKERS,
                registry=_REGISTRY,
                return_unknown_args=True,
            )
        except SystemExit as stop:
            if asks_help or not stop.code:
                raise
            # A misspelt option is also a missing one: the spelling is what to tell.
            unknown = [arg for arg in args if arg.startswith("--") and arg.split("=")[0].replace("_", "-") not in known]
            told = _unknown(known, unknown) if unknown else _complaint(complaint.getvalue())
            raise ValueError(f"{told}; see `{prog} --help`") from stop
    if unknown:
        raise ValueError(f"{_unknown(known, unknown)}; see `{prog} --help`")
    return config


def options(config_type: type) -> list[str]:
    """Every option of a command as it is typed: ``--val-fraction`` or, for a flag that is on, ``--no-mosaic``."""
    return [f"--{name}" for name in _names(config_type)] + ["--help"]


def message(error: BaseException) -> str:
    """What went wrong in one line, with the file's name for an error of the operating system."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text += "; nothing was left half-written, free some space and run it again"
    return " ".join(text.split()) or type(error).__name__


def lacking(error: ModuleNotFoundError) -> str | None:
    """What brings the library that an optional part needs; None if it is none of those."""
    extra = _EXTRAS.get((error.name or "").split(".")[0])
    return extra and f"needs {error.name}, which is not installed; `pip install 'micro-yolo[{extra}]'` brings it"


def silence_libraries() -> None:
    """Keep the libraries' notices to programmers off a user's screen; ``python -W`` and set variables still win."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


@_REGISTRY.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> Any:
    """Show ``X | None`` as X: no user types the None, leaving the option out is how to say it."""
    given = typing.get_args(info.type)
    inner = [kind for kind in given if kind is not type(None)]
    if len(given) != 2 or len(inner) != 1:
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(inner[0], info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec):
        return spec
    return dataclasses.replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["none"] if value is None else spec.str_from_instance(value),
    )


def _leave(prog: str, text: str, status: int) -> None:
    print(harmless(f"{prog}: {' '.join(text.split())}"), file=sys.stderr, flush=True)
    sys.exit(status)


def _go_on(config_type: type, prog: str, args: Sequence[str]) -> str:
    fields = {field.name for field in dataclasses.fields(config_type)}
    more = ["--resume"] if "resume" in fields and "--resume" not in args else []
    kept = [arg for arg in args if not (more and arg == "--overwrite")]
    return f"stopped; `{shlex.join([*prog.split(), *kept, *more])}` goes on"


def _no_memory(config_type: type, error: Exception) -> str | None:
    """What to do when the memory was not enough; None for another error."""
    # TensorFlow's, which is not imported here, has a name of its own.
    if not isinstance(error, MemoryError) and "ResourceExhaustedError" not in map(_name, type(error).__mro__):
        return None
    return f"the memory of this process is not enough; {_smaller(config_type)}"


def _smaller(config_type: type) -> str:
    known = set(options(config_type))
    smaller = [option for option in _SIZES if option in known]
    told = f"a smaller {' or '.join(smaller)} needs less" if smaller else "it needs a machine with more"
    return told + ("; what was saved is kept, and --resume goes on with it" if "--resume" in known else "")


def _name(kind: type) -> str:
    return kind.__name__


def _names(config_type: type) -> Iterator[str]:
    kinds = typing.get_type_hints(config_type, include_extras=True)
    for field in dataclasses.fields(config_type):
        if dataclasses.is_dataclass(kinds[field.name]):
            yield from _names(kinds[field.name])
        elif "Positional" not in repr(kinds[field.name]):
            given = [getattr(note, "name", None) for note in getattr(kinds[field.name], "__metadata__", ())]
            name = next(filter(None, given), field.name)
            yield ("no-" if field.default is True else "") + name.replace("_", "-")


def _unknown(known: Sequence[str], unknown: Sequence[str]) -> str:
    option = next((token for token in unknown if token.startswith("-")), None)
    if option is None:
        return f"unexpected argument {unknown[0]!r}"
    option = option.split("=")[0]
    near = nearest(option.strip("-").replace("_", "-"), [name[2:] for name in known], form="nearest: --{}")
    return f"unknown option {option}; " + (near or f"allowed: {', '.join(known)}")


@contextlib.contextmanager
def _captured(complaint: io.StringIO) -> Iterator[None]:
    """Have tyro tell `complaint`, in a box of plain characters wide enough that no word is broken at an edge."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "1000000"
    try:
        # Its box is of plain characters where stdout says nothing of an encoding.
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _complaint(box: str) -> str:
    """The text between the first two rules of tyro's box: what is wrong, without the title and the help around it."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    rules = [n for n, line in enumerate(lines) if line and not line.strip("-")]
    told = " ".join(" ".join(lines[rules[0] + 1 : rules[1]] if len(rules) > 1 else lines).split())
    for python, plain in _PLAIN:
        told = re.sub(python, plain, told)
    return told.rstrip(". ")
