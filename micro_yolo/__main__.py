"""``micro-yolo COMMAND ...``, and the same as ``python -m micro_yolo``."""

from __future__ import annotations

from micro_yolo.pipeline import __main__ as commands


def main() -> None:
    """The console command."""
    commands.main("micro-yolo")


if __name__ == "__main__":
    commands.main("python -m micro_yolo")
