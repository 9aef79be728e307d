"""How many processors there are to work on."""

import os

import pytest

from micro_yolo.tflite.cores import usable_cores


def test_those_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("told", "count"), [(6, 6), (None, 1)])
def test_where_the_system_does_not_say_which_all_do(told, count, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert usable_cores() == count
