"""What a training begins with: random weights, the start weights of a network, or what an earlier run learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from micro_yolo.model.start.record import STARTS, Start
from micro_yolo.pipeline.learn.options import NONE
from micro_yolo.pipeline.store import finished, runs
from micro_yolo.pipeline.store.finished import Trained

if TYPE_CHECKING:
    from micro_yolo.model.keras import keras
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.learn.session import Session

AUTO = "auto"
# Enough for the statistics of a batch norm: each picture has hundreds of cells.
PICTURES = 128


@dataclass(frozen=True)
class Initial:
    """What a training begins with: a start, an earlier stage, or neither.

    Attributes:
      start: weights for some rows.
      trained: an earlier stage.
      facts: of the start that the network descends from, for config.json; None if from none.
    """

    start: Start | None = None
    trained: Trained | None = None
    facts: dict[str, str] | None = None

    def frozen(self, asked: str | None, arch: Arch) -> str | None:
        """The row down to which nothing is trained, or `NONE`: as asked for, else the start's, else None.

        Raises ValueError as `Arch.check_freeze` does.
        """
        if asked is None:
            rows = {row.name for row in arch.rows}
            return self.start.freeze if self.start is not None and self.start.freeze in rows else None
        if asked != NONE:
            arch.check_freeze(asked)
        return asked

    def share(self, asked: float | None) -> float:
        """Share of the learning rate for rows that begin with what is known: as asked for, else the start's."""
        if asked is not None:
            return asked
        return 1.0 if self.start is None else self.start.share

    @property
    def rate(self) -> float:
        """Learning rate in shares of the optimizer's usual one."""
        return 1.0 if self.start is None else self.start.rate

    def begin(self, model: keras.Model, session: Session) -> tuple[str, ...]:
        """Give `model`, of the session's table, what it begins with, and say so; the rows that know something now."""
        from micro_yolo.model.build import weights_of
        from micro_yolo.model.start.begin import with_rows, with_start

        if self.start is not None:
            begun = with_start(model, session.arch, self.start.layers(), session.pictures(PICTURES))
            source = f"{self.start.name} ({self.start.trained_on}; {self.start.licence})"
        elif self.trained is not None:
            theirs = self.trained
            begun = with_rows(model, session.arch, theirs.arch, weights_of(theirs.plain()), theirs.learned)
            source = str(self.trained.stage)
        else:
            return ()
        fresh = f"; begin fresh: {', '.join(begun.fresh)}" if begun.fresh else ""
        session.show.say(
            f"begins with {source}: {len(begun.known)} of {len(begun.known) + len(begun.fresh)} rows{fresh}"
        )
        return begun.known


def find_initial(init: str, arch: Arch) -> Initial:
    """What `--init` says.

    Args:
      init: "auto", "none", or a path.
      arch: the network's table.

    Raises:
      ValueError: the table names an unknown start, or the path holds no weights of ours.
      FileNotFoundError: there is no such path.
    """
    if init == NONE or (init == AUTO and not arch.start):
        return Initial()
    if init == AUTO:
        if arch.start not in STARTS:
            raise ValueError(f"{arch.name}: unknown start, got {arch.start!r}; allowed: {', '.join(STARTS)}")
        start = STARTS[arch.start]
        return Initial(start=start, facts=start.facts())
    trained = _trained(Path(init))
    return Initial(trained=trained, facts=trained.start)


def _trained(path: Path) -> Trained:
    """The stage that a run, a stage or its weights file stand for."""
    stage = path.parent if path.is_file() else path
    if (stage / runs.ARCH).is_file() and stage.name in runs.WEIGHTED:
        return finished.find(stage.parent, cast(finished.From, stage.name))
    if path.is_file():
        raise ValueError(f"init: a weights file must lie beside its {runs.ARCH} in a stage of a run, got {path}")
    is_only_taught = (path / runs.DISTILL).is_dir() and not any((path / stage).is_dir() for stage in runs.STAGES)
    return finished.find(path, runs.DISTILL if is_only_taught else None)
