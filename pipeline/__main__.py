"""All commands, one line each: ``python -m pipeline``, or ``micro-yolo`` where the package is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

# What each is for, as its own help says it; here too, so that the list costs no import.
COMMANDS = {
    "data": "Print what a data set holds and what is wrong with it; draw a contact sheet; write it in another form.",
    "train": "Train a detector from labelled images.",
    "distill": "Teach a network, from photographs without boxes, what another knows.",
    "prune": "Make a trained network narrower, a few channels at a time, as long as its accuracy holds.",
    "qat": "Train a network on as the integers it will be, so that rounding costs little.",
    "convert": "Convert a trained run to .tflite; without a variant, to float32.",
    "evaluate": "Measure average precision on labelled images.",
    "predict": "Find objects in pictures and videos; write them with boxes, labels and scores, and detections.json.",
    "browser": "Serve a page on this computer that finds objects with a model, in the browser.",
    "inspect": "Show what is in a .tflite.",
    "benchmark": "Compare the speed of .tflite files.",
    "edge": "What edge accelerators make of .tflite files.",
    "stages": "Convert every stage of a run, and measure and time the files.",
    "debug": "Compare the int8 file of a run with its float32 file, layer by layer.",
    "curve": "Train on ever more of a run's images, and show what more images bring.",
    "report": "Write one self-contained HTML page about a run.",
    "search": "Train every combination of kernel sizes briefly and rank them by AP50 on validation.",
    "summary": "Show each network's layers with output shape, parameters and multiply-accumulates (MACs).",
    "demo": "Train on photographs, prune, quantize, convert, and measure the files of each stage.",
}


def main(prog: str, args: Sequence[str] | None = None) -> None:
    """Carry out ``COMMAND ...``, or list the commands. `prog` is how the user started it.

    An unknown command is one line on stderr and exit status 2; the rest is as `pipeline.show.cli.main` says.
    """
    name, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    if name in ("-h", "--help"):
        print(listed(prog))
    elif name in COMMANDS:
        from micro_yolo.pipeline.show import cli

        module = importlib.import_module(f"micro_yolo.pipeline.{name}")
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"{module.__name__}.__main__")
        cli.main(module.Config, module.command, prog=f"{prog} {name}", description=module.__doc__, args=rest)
    else:
        print(f"{prog}: {_unknown(name)}; see `{prog} --help`", file=sys.stderr)
        sys.exit(2)


def listed(prog: str) -> str:
    """The usage and the list of commands."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{told}" for name, told in COMMANDS.items()]
    return "\n".join([f"usage: {prog} COMMAND ...", "", *lines, "", f"`{prog} COMMAND --help` lists its options."])


def _unknown(name: str) -> str:
    from micro_yolo.model.nearest import nearest

    kind, known = ("option", ["--help"]) if name.startswith("-") else ("command", list(COMMANDS))
    near = nearest(name, known)
    told = f"unknown {kind} {name}{near}"
    return told if kind == "option" and near else f"{told}; allowed: {', '.join(known)}"


if __name__ == "__main__":
    main("python -m pipeline")
