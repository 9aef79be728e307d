"""What a target is: what it takes, what it makes of a model, and where that goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

from micro_yolo.tflite.contract import Contract


class Target(ABC):
    """Somewhere a converted model can be put. It makes bytes; who writes them is none of its business.

    Attributes:
        name: what users call it.
        help: what it makes, in a line.
        head: "raw" if it wants the file with grids, whichever the conversion was asked for; None: that one.
    """

    name: str
    help: str
    head: Literal["raw"] | None = None

    def folder(self, export: Path) -> Path:
        """Where its files go by default, `export` being where the .tflite goes.

        Raises:
            ValueError: there is no such place.
        """
        return export / self.name

    @abstractmethod
    def names(self, name: str, variant: str, head: str) -> tuple[str, ...]:
        """Relative paths of its files for a run's name, variant and head, known before any work.

        Raises:
            ValueError: it cannot take this variant or head.
        """

    def refuses(self, contract: Contract) -> str | None:
        """Why it cannot take a converted file, None if it can."""
        return None

    @abstractmethod
    def files(self, name: str, data: bytes, contract: Contract) -> dict[str, bytes]:
        """Relative path -> content, for each of `names`.

        Args:
            name: of the run.
            data: bytes of the .tflite.
            contract: of these bytes.
        """

    def placed(self, export: Path, name: str, data: bytes, contract: Contract) -> dict[Path, bytes]:
        """Where each of `files` goes -> its content.

        Raises:
            ValueError: it cannot take the file.
        """
        reason = self.refuses(contract)
        if reason:
            raise ValueError(f"target {self.name}: cannot take this file: {reason}")
        return {self.folder(export) / path: content for path, content in self.files(name, data, contract).items()}
