"""Things to do that processes share: each once, those of a lost process again, failures kept. Optuna, no TensorFlow."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from micro_yolo.pipeline.store import trials
from micro_yolo.pipeline.store.trials import Trials

CHOICES = {"33": {"l1": 3, "l2": 3}, "35": {"l1": 3, "l2": 5}, "53": {"l1": 5, "l2": 3}}


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "journal") if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "LOOK", 0.01)


def opened(storage: str) -> Trials:
    return Trials(storage, "study", CHOICES)


def outcome(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "AP50": float(key), "error": None, **more}


def nothing() -> None:
    pass


def test_each_is_done_once_by_processes_that_come_together(storage: str) -> None:
    """Threads with a storage of their own each, as processes have."""
    done: list[str] = []
    both = threading.Barrier(2)
    errors: list[BaseException] = []

    def do(key: str) -> dict[str, Any]:
        done.append(key)
        time.sleep(0.2)
        return outcome(key)

    def work(own: Trials) -> None:
        try:
            both.wait()
            own.work(do, nothing)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(opened(storage),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    assert sorted(done) == sorted(CHOICES)
    found = opened(storage)
    assert found.outcomes() == {key: outcome(key) for key in CHOICES}
    kept = {each.user_attrs["key"]: each for each in found.study.trials if each.value is not None}
    assert {key: each.params for key, each in kept.items()} == CHOICES
    assert {key: each.value for key, each in kept.items()} == {key: float(key) for key in CHOICES}


def test_what_a_lost_process_had_begun_is_done_again(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = opened(storage)
    lost._offer(again=False)
    under_way = lost.study.ask()
    lost.study._storage.record_heartbeat(under_way._trial_id)  # type: ignore[attr-defined]
    done: list[str] = []

    def do(key: str) -> dict[str, Any]:
        done.append(key)
        return outcome(key)

    class Waits(Exception):
        pass

    def wait(_: float) -> None:
        raise Waits

    # Before its time is over nobody touches it.
    with monkeypatch.context() as patch:
        patch.setattr(trials.time, "sleep", wait)
        with pytest.raises(Waits):
            opened(storage).work(do, nothing)
    assert sorted([*done, under_way.user_attrs["key"]]) == sorted(CHOICES)
    monkeypatch.setattr(trials, "GRACE", 1)
    time.sleep(2)
    opened(storage).work(do, nothing)
    assert done[-1] == under_way.user_attrs["key"] and sorted(done) == sorted(CHOICES)


def test_its_own_failure_stands_until_it_is_asked_for_again(storage: str) -> None:
    told: list[str] = []

    def do(key: str) -> dict[str, Any]:
        told.append(key)
        return outcome(key, error="not a number", AP50=None) if key == "35" else outcome(key)

    own = opened(storage)
    own.work(do, nothing)
    assert own.outcomes()["35"] == {"error": "not a number"}
    opened(storage).work(do, nothing)
    assert sorted(told) == sorted(CHOICES)
    own.work(outcome, nothing, again=True)
    assert own.outcomes()["35"] == outcome("35")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_what_is_no_ones_fault_ends_this_process_and_is_left_to_the_next(stop: type, tmp_path: Path) -> None:
    def do(_: str) -> dict[str, Any]:
        raise stop

    own = opened(str(tmp_path / "journal"))
    with pytest.raises(stop):
        own.work(do, nothing)
    assert own.outcomes() == {}
    opened(str(tmp_path / "journal")).work(outcome, nothing)
    assert sorted(own.outcomes()) == sorted(CHOICES)


def test_one_that_always_kills_its_process_is_given_up(tmp_path: Path) -> None:
    own = opened(str(tmp_path / "journal"))
    for _ in range(trials.TRIES):
        own.study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs={"key": "33"}))
    own.work(outcome, nothing)
    assert own.outcomes()["33"] == {"error": "its process was lost 3 times"}


def test_two_offers_of_one_moment_are_done_once(tmp_path: Path) -> None:
    own = opened(str(tmp_path / "journal"))
    own._offer(again=False)
    for key, choice in CHOICES.items():
        own.study.enqueue_trial(dict(choice), user_attrs={"key": key})
    done: list[str] = []
    own.work(lambda key: done.append(key) or outcome(key), nothing)  # type: ignore[func-returns-value]
    assert sorted(done) == sorted(CHOICES)


@pytest.mark.parametrize("storage", ["/dev/null/journal", "sqlite:////dev/null/study.db", "nosuch://host/name"])
def test_a_storage_that_cannot_be_opened(storage: str) -> None:
    with pytest.raises(OSError, match=r"^storage: .*cannot be opened") as refused:
        opened(storage)
    assert storage in str(refused.value) and "\n" not in str(refused.value)
