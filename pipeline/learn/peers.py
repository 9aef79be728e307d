"""What machines that train together tell each other: that they are there, what they want, what the chief has.

All of it goes over the sum that gradients take too (`strategy.reduce`), so that nothing else must
run beside a training. On a machine that trains alone every function here does nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.data.files import Files
from micro_yolo.pipeline.learn.devices import addresses, cluster, is_together
from micro_yolo.pipeline.show.screen import QUIET, Show
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from micro_yolo.model.keras import keras, tf
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.data import Dataset, Split
    from micro_yolo.pipeline.learn.options import Options

# Seconds that machines wait for each other before they train; the first may have to read its data from afar.
WAIT = float(os.environ.get("MICRO_YOLO_WAIT", 600))
# Bytes told at a time. Each is a float32 then, the one type that every device adds up, and exactly so.
_PIECE = 1 << 22
# Pictures of a split that are compared byte for byte.
_PICTURES = 64
# Settings that each machine has for itself.
_OWN = ("run", "data", "arch", "resume", "overwrite", "cache_gib", "cache")


def meet(show: Show = QUIET) -> None:
    """Return when every machine of TF_CONFIG can be reached, or raise OSError after `WAIT` seconds.

    TensorFlow waits for those that are missing too, but for an hour and without a word. Until its server takes the port
    over this process listens there itself, so that machines which do the same see each other.

    Raises:
      OSError: a machine did not come, or this one's port is taken.
    """
    worker, workers = cluster()
    if workers == 1 or is_together():
        return
    places = addresses()
    with ExitStack() as stack:
        stack.enter_context(_listening(worker, places[worker]))
        until, told = time.monotonic() + WAIT, time.monotonic() + 5
        missing = [n for n in range(workers) if n != worker]
        while missing := [n for n in missing if not _answers(places[n])]:
            named = ", ".join(f"machine {n} ({places[n][0]}:{places[n][1]})" for n in missing[:3])
            if time.monotonic() > until:
                raise OSError(
                    f"TF_CONFIG: all {workers} machines must come within {WAIT:g} s, {named} did not; see what it said"
                )
            if time.monotonic() > told:
                show.say(f"waiting for {named}")
                told = until
            time.sleep(0.2)


def check_alike(strategy: tf.distribute.Strategy, facts: Callable[[], Mapping[str, Any]]) -> None:
    """Raise the same ValueError on all machines unless `facts`, called for JSON by name, gives all the same."""
    if cluster()[1] == 1:
        return
    everyones = [json.loads(told) for told in _told(strategy, json.dumps(runs.plain(facts())).encode())]
    first = everyones[0]
    names = dict.fromkeys(name for each in everyones for name in each)
    wrong = []
    for name in names:
        other = next((n for n, each in enumerate(everyones) if each.get(name) != first.get(name)), None)
        if other is not None:
            mine, theirs = first.get(name), everyones[other].get(name)
            wrong.append(f"{name}: must be the same on all machines, got {mine} on machine 0, {theirs} on {other}")
    if wrong:
        raise ValueError("; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""))


def wanted(options: Options, arch: Arch, dataset: Dataset) -> dict[str, Any]:
    """What must be the same on all machines that train together, for `check_alike`.

    Of a data set that is names, sizes and boxes of all images, and the bytes of a few: reading all would take as long
    as an epoch.
    """
    versions = {name: made for name, made in runs.provenance().items() if name not in ("python", "machine")}
    settings = {f"--{name.replace('_', '-')}": value for name, value in _flat(runs.plain(options)) if name not in _OWN}
    splits = {f"images and boxes of {name}": _digest(split, dataset.root) for name, split in dataset.splits.items()}
    return {**versions, **settings, "table": _sha(json.dumps(arch.to_json())), "classes": list(dataset.names), **splits}


def of_chief(strategy: tf.distribute.Strategy, compute: Callable[[], Any]) -> Any:
    """What `compute` gives on the chief, in the types JSON has, on every machine; it is called there alone."""
    worker, workers = cluster()
    if workers == 1:
        return compute()
    found = json.dumps(runs.plain(compute())).encode() if worker == 0 else b""
    return json.loads(_told(strategy, found)[0])


def share(strategy: tf.distribute.Strategy, directory: Path, *names: str) -> None:
    """Make files and folders of files of `directory` what the chief has of them; what it has not is removed."""
    worker, workers = cluster()
    if workers == 1:
        return
    found = of_chief(strategy, lambda: _files(directory, names))
    if worker:
        for name in names:
            path = directory / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in found:
        (told, *_) = _told(strategy, b"" if worker else (directory / name).read_bytes())
        if worker:
            runs.write_atomic(directory / name, told)


def level(strategy: tf.distribute.Strategy, model: keras.Model) -> None:
    """Give the weights of `model` the chief's values everywhere: another processor may have rounded otherwise."""
    worker, workers = cluster()
    if workers == 1:
        return
    for weight in model.weights:
        if weight.dtype.is_floating:
            value = np.asarray(weight.numpy(), np.float32)
            weight.assign(_sum(strategy, value if worker == 0 else np.zeros_like(value)))


@contextmanager
def holding_on() -> Iterator[None]:
    """Within it an error of TensorFlow that means a lost machine is an OSError that says so in one line."""
    if cluster()[1] == 1:
        yield
        return
    from micro_yolo.model.keras import tf

    try:
        yield
    except tf.errors.OpError as error:
        who = lost(error)
        if who is None:
            raise
        raise OSError(f"TF_CONFIG: {who} was lost, and what all had done of this epoch; --resume goes on") from None


def lost(error: Exception) -> str | None:
    """Which machine an error of TensorFlow says is gone; None if it says something else."""
    (worker, workers), told = cluster(), str(error)
    if workers == 1 or not re.search(r"Collective ops|Coordination|heartbeat|grpc", told):
        return None
    named = {int(n) for n in re.findall(r"/job:worker(?:/replica:\d+)?/task:(\d+)", told)} - {worker}
    # A task that lost its leader is told by the call that failed, not by a name.
    numbers = sorted(named) or ([0] if worker else [])
    return "machine " + ", ".join(map(str, numbers)) if numbers else "another machine"


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        yield from _flat(value) if isinstance(value, dict) else [(name, value)]


def _digest(split: Split, root: Path) -> str:
    digest = hashlib.sha256()
    for text in Files.of(split.files).texts:
        digest.update(f"{text.removeprefix(str(root))}\n".encode())
    for array in (split.sizes, split.starts, split.boxes_xyxy, split.classes, split.crowd):
        digest.update(array.tobytes())
    for index in np.linspace(0, len(split) - 1, min(len(split), _PICTURES)).astype(int).tolist():
        with suppress(OSError):
            digest.update(split.files[index].read_bytes())
    return digest.hexdigest()[:16]


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _files(directory: Path, names: Sequence[str]) -> list[str]:
    """Those of `names` that are files, and the files in those that are folders, as `directory` knows them."""
    found = [path for name in names for path in (directory / name, *sorted((directory / name).glob("*")))]
    return [str(path.relative_to(directory)) for path in found if path.is_file()]


def _told(strategy: tf.distribute.Strategy, mine: bytes) -> list[bytes]:
    """The bytes that each machine gave, on every machine."""
    worker, workers = cluster()
    # Two numbers each, as a float32 counts to 16 million only.
    sizes = np.zeros((workers, 2), np.float32)
    sizes[worker] = divmod(len(mine), _PIECE)
    counts = [int(high) * _PIECE + int(low) for high, low in _sum(strategy, sizes).tolist()]
    ends = np.cumsum(counts)
    whole = np.zeros(int(ends[-1]), np.uint8)
    whole[ends[worker] - counts[worker] : ends[worker]] = np.frombuffer(mine, np.uint8)
    for start in range(0, len(whole), _PIECE):
        piece = slice(start, start + _PIECE)
        whole[piece] = _sum(strategy, whole[piece].astype(np.float32)).astype(np.uint8)
    return [whole[end - count : end].tobytes() for end, count in zip(ends, counts, strict=True)]


def _sum(strategy: tf.distribute.Strategy, value: np.ndarray) -> np.ndarray:
    """The sum of the machines' float32 arrays of one shape."""
    from micro_yolo.model.keras import tf

    devices = strategy.num_replicas_in_sync // cluster()[1]

    def speak() -> tf.Tensor:
        # Of the devices of a machine the first alone, or its value would count as often as it has devices.
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.cast(tf.equal(number % devices, 0), tf.float32) * value

    return strategy.reduce("SUM", strategy.run(speak), axis=None).numpy()


@contextmanager
def _listening(worker: int, place: tuple[str, int]) -> Iterator[None]:
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", place[1]), family=socket.AF_INET6 if both else socket.AF_INET, backlog=1024, dualstack_ipv6=both
        )
    except OSError as error:
        raise OSError(f"TF_CONFIG: port {place[1]} must be free for machine {worker}, got {error.strerror}") from None
    with server:
        yield


def _answers(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, timeout=2).close()
    except OSError:
        return False
    return True
