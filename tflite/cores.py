"""How many processors there are to work on."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many this process may use, where the system says so; else how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
