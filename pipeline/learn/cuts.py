"""The record of a progressive pruning: what was tried, what it cost, and which cut is next. No TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from micro_yolo.pipeline.show.listing import listing
from micro_yolo.pipeline.show.plots import save
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite.typed import read as read_typed

if TYPE_CHECKING:
    from rich.table import Table

STEPS = "steps.json"
CHANNELS = "channels.json"
PICTURE = "steps.png"
# Of parameters and MACs; what is larger is drawn nowhere.
_MOST = 1 << 63


@dataclass(frozen=True)
class Measured:
    """A network and how well it does on the validation images; APs in points, None if it could not be trained."""

    params: int
    macs: int
    AP: float | None
    AP50: float | None


@dataclass(frozen=True)
class Step:
    """One cut that was tried.

    Attributes:
      number: from 1.
      unit: what was cut; see model.channels.
      before: its channels before the cut.
      after: its channels after it.
      keep: indices, within the unit as it was before the cut, of the channels that stay.
      network: the network after the cut and the training.
      AP_before: of the network before the cut, points.
      AP50_before: likewise.
      accepted: whether the cut stands.
      reason: why it does not.
    """

    number: int
    unit: str
    before: int
    after: int
    keep: tuple[int, ...]
    network: Measured
    AP_before: float
    AP50_before: float
    accepted: bool
    reason: str = ""


@dataclass
class Cuts:
    """The unpruned network and every step since."""

    unpruned: Measured
    widths: dict[str, int]
    steps: list[Step] = dataclasses.field(default_factory=list)

    @property
    def last(self) -> Step | None:
        """The last cut that stands."""
        return next((step for step in reversed(self.steps) if step.accepted), None)

    @property
    def network(self) -> Measured:
        """The network as it is now."""
        return self.last.network if self.last else self.unpruned

    def next_cut(self, units: Sequence[str], share: float, most: float) -> tuple[str, int] | None:
        """The unit to cut next and how many of its channels stay; None when each was refused or is cut far enough.

        Args:
          units: in the order they are tried.
          share: of a unit's original channels that goes with each step.
          most: largest share of them that may go in all.
        """
        for unit in units:
            tried = [step for step in self.steps if step.unit == unit]
            if not all(step.accepted for step in tried):
                continue
            width = self.widths[unit]
            left = tried[-1].after if tried else width
            # A narrow unit loses at least one channel a step.
            after = min(width - round(width * share * (len(tried) + 1)), left - 1)
            if after >= max(1, math.ceil(width * (1 - most) - 1e-9)):
                return unit, after
        return None

    def kept(self) -> dict[str, list[int]]:
        """Unit -> the channels of the unpruned network that are left, for every unit that was cut."""
        found: dict[str, list[int]] = {}
        for step in self.steps:
            if step.accepted:
                whole = found.get(step.unit, list(range(step.before)))
                found[step.unit] = [whole[i] for i in step.keep]
        return found

    def save(self, stage: Path) -> None:
        """Write `STEPS`."""
        runs.write_json(stage / STEPS, self)

    @classmethod
    def load(cls, stage: Path) -> Cuts | None:
        """What `save` wrote; None where nothing was. ValueError if it is something else."""
        file = stage / STEPS
        if not file.is_file():
            return None
        value = runs.read_json(file)
        try:
            said = read_typed(_Record, value)
            _check(said)
        except ValueError as error:
            raise ValueError(f"{file}: must be the steps of a pruning, got another record ({error})") from None
        return cls(said.unpruned, said.widths, list(said.steps))


@dataclass(frozen=True)
class _Record:
    unpruned: Measured
    widths: dict[str, int]
    steps: tuple[Step, ...]


def _check(said: _Record) -> None:
    """Raise ValueError for steps that cannot have followed each other."""
    left = dict(said.widths)
    for step in said.steps:
        if step.before != left.get(step.unit) or len(step.keep) != step.after:
            raise ValueError(f"steps: must each cut what is left, got another width of {step.unit!r:.80}")
        if not all(0 <= channel < step.before for channel in step.keep):
            raise ValueError(f"steps: must keep channels that there were, got others of {step.unit!r:.80}")
        if step.accepted:
            left[step.unit] = step.after
    for network in (said.unpruned, *(step.network for step in said.steps)):
        if not (0 <= network.params < _MOST and 0 <= network.macs < _MOST):
            raise ValueError("network: must have a size from 0 to 2^63, got another")


def goal(given: float | None, whole: int, name: str) -> float:
    """The number of parameters or MACs to stop at: up to 1 a share of the unpruned network's, else a count.

    Raises ValueError unless it is above 0 and below what the unpruned network has.
    """
    if given is None:
        return math.inf
    count = given * whole if given <= 1 else given
    if not 0 < count < whole:
        raise ValueError(
            f"{name}: must be above 0 and less than the unpruned {whole:,}, got {given:g}; allowed: a count, or a "
            "share such as 0.75"
        )
    return count


def one_box_points(boxes: Mapping[str, int]) -> tuple[str, float]:
    """The class whose boxes weigh most in AP50, and the points one of them is worth.

    AP50 is the mean over the classes, and in a class of n boxes each is 1/n of the recall.
    """
    present = {name: count for name, count in boxes.items() if count}
    rarest = min(present, key=present.__getitem__)
    return rarest, 100 / (len(present) * present[rarest])


def table(cuts: Cuts) -> Table:
    """The steps as a rich table."""
    found = listing("step", "cut", "channels", "params", "MMAC", "AP", "AP50", "", words=(1, -1))
    found.add_row("", "unpruned", "", *_numbers(cuts.unpruned), "")
    for step in cuts.steps:
        verdict = "kept" if step.accepted else f"refused: {step.reason}"
        widths = f"{step.before} -> {step.after}"
        found.add_row(str(step.number), step.unit, widths, *_numbers(step.network), verdict)
    return found


def draw(cuts: Cuts, tolerance: float, path: Path, title: str) -> Path:
    """AP50 against parameters and against MACs, step by step, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5))
    figure.subplots_adjust(left=0.06, bottom=0.11, right=0.99, top=0.9, wspace=0.05)
    stands = [cuts.unpruned, *(step.network for step in cuts.steps if step.accepted)]
    refused = [step for step in cuts.steps if not step.accepted and step.network.AP50 is not None]
    floor = (cuts.unpruned.AP50 or 0.0) - tolerance
    figure.suptitle(title)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name, label in zip(axes, ("params", "macs"), ("million parameters", "MMAC"), strict=True):
        axis.plot([getattr(n, name) / 1e6 for n in stands], [n.AP50 for n in stands], marker="o", label="cut kept")
        if refused:
            points = [(getattr(step.network, name) / 1e6, step.network.AP50) for step in refused]
            axis.plot(*zip(*points, strict=True), "x", color="tab:red", label="cut refused")
        for step in [step for step in cuts.steps if step.network.AP50 is not None]:
            where = (getattr(step.network, name) / 1e6, step.network.AP50)
            axis.annotate(step.unit, where, fontsize=7, xytext=(4, 4), textcoords="offset points")
        axis.axhline(floor, color="grey", linestyle="--", label=f"unpruned less {tolerance:g}")
        axis.invert_xaxis()
        axis.set(xlabel=label)
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="AP50 on validation")
    axes[0].legend()
    return save(figure, path)


def _numbers(network: Measured) -> tuple[str, ...]:
    points = ("-" if value is None else f"{value:.1f}" for value in (network.AP, network.AP50))
    return (f"{network.params:,}", f"{network.macs / 1e6:,.1f}", *points)
