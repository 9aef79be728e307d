"""A target in one file: the model as a text of hexadecimal digits, with its labels, for int8 files only."""

from __future__ import annotations

from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.targets.base import Target


class Hexadecimal(Target):
    """RUN.hex and RUN.labels in a folder of the run's export."""

    name = "hexadecimal"
    help = "the model as hexadecimal digits"

    def names(self, name: str, variant: str, head: str) -> tuple[str, ...]:
        """The digits, then the labels."""
        return f"{name}.hex", f"{name}.labels"

    def refuses(self, contract: Contract) -> str | None:
        """What is not int8."""
        return None if contract.variant == "int8" else f"takes int8 files, got {contract.variant}"

    def files(self, name: str, data: bytes, contract: Contract) -> dict[str, bytes]:
        """Two digits a byte, and a line a label."""
        digits, labels = self.names(name, contract.variant, contract.head)
        return {digits: data.hex().encode(), labels: "\n".join(contract.labels).encode()}
