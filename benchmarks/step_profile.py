"""What a training step is made of: the share that each kind of operation has, by TensorFlow's profiler.

    python benchmarks/step_profile.py --data PATH --arch micro_yolo

Trains a few steps with one thread, so that no operation waits for another, and prints each kind's share of the time
that all operations took together and how many of it a step has. What else a machine does disturbs shares little.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs

# Before it the first batches are read, memory is gathered and caches are filled.
FIRST = 12


@dataclass(frozen=True)
class Config:
    """The share of each kind of operation in a training step."""

    data: Path
    """Folder of labelled images."""
    arch: str = "micro_yolo_mobile"
    """Network, with what it begins with and has frozen by default."""
    size: str = "320"
    """Input size, pixels."""
    batch: int = 8
    """Images a step."""
    steps: int = 4
    """Steps that are looked at."""
    least: float = 0.01
    """Kinds with a smaller share are added up."""
    json: Path | None = None
    """A file for the shares."""


class _Enough(Exception):
    pass


class _Profiled(Show):
    """Has the profiler look at some steps, and ends the training."""

    def __init__(self, steps: int, folder: str) -> None:
        self._steps, self._folder, self._done = steps, folder, 0

    def step(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        from micro_yolo.model.keras import tf

        self._done += 1
        if self._done == FIRST:
            tf.profiler.experimental.start(self._folder)
        if self._done == FIRST + self._steps:
            tf.profiler.experimental.stop()
            raise _Enough


def run(config: Config) -> None:
    """Measure and print. Raises ValueError or OSError for what the training refuses."""
    os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    from micro_yolo.pipeline import train

    with tempfile.TemporaryDirectory() as folder:
        trained = train.Config(
            run=Path(folder, "run"), data=config.data, arch=config.arch, size=config.size, batch=config.batch
        )
        with contextlib.suppress(_Enough):
            train.run(trained, _Profiled(config.steps, folder))
        seconds, counts = _by_kind(folder)
    total = sum(seconds.values())
    told = {
        kind: {"share": spent / total, "a_step": counts[kind] / config.steps} for kind, spent in seconds.most_common()
    }
    shown = {kind: each for kind, each in told.items() if each["share"] >= config.least}
    others = [each for kind, each in told.items() if kind not in shown]
    shown["others"] = {name: sum(each[name] for each in others) for name in ("share", "a_step")}
    for kind, each in shown.items():
        print(f"{kind:48} {100 * each['share']:5.1f} % {each['a_step']:7.1f} a step")
    if config.json is not None:
        values = {"arch": config.arch, "size": config.size, "batch": config.batch, "kinds": shown}
        runs.write_json(config.json, values)


def _by_kind(folder: str) -> tuple[Counter[str], Counter[str]]:
    """Picoseconds and number of the operations of each kind."""
    # The profiler's own file; what turns it into tables comes with TensorBoard.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    (file,) = Path(folder).rglob("*.xplane.pb")
    space.ParseFromString(file.read_bytes())
    spent: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for plane in space.planes:
        names = {number: found.name for number, found in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                # An operation is told as its name, a colon and its kind; all else has two colons or none.
                name, colon, kind = names[event.metadata_id].partition(":")
                if name and colon and kind.isidentifier():
                    kind = kind.removeprefix("_MklNative").removeprefix("_Mkl")
                    spent[kind] += event.duration_ps
                    counts[kind] += 1
    return spent, counts


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/step_profile.py", description=__doc__)
