"""Things to do that processes share: each once, those of a lost process again, failures kept. Optuna, no TensorFlow."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
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


def test_two_that_see_the_same_one_waiting_take_it_once(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked before either has written, if nothing keeps them from it."""
    workers = [opened(storage) for _ in range(2)]
    workers[0]._offer(again=False)
    both = threading.Barrier(2)

    def between(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*args: Any) -> Any:
            with suppress(threading.BrokenBarrierError):
                both.wait(0.5)
            return wrapped(*args)

        return waits

    kind, name = (trials.Journal, "append_logs")
    if "://" in storage:
        kind, name = (optuna.storages.RDBStorage, "check_trial_is_updatable")
    monkeypatch.setattr(kind, name, between(getattr(kind, name)))
    taken: list[str] = []

    def take(own: Trials) -> None:
        taken.append(own.study.ask().user_attrs["key"])

    threads = [threading.Thread(target=take, args=(own,)) for own in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 2


def test_what_a_lost_process_had_begun_is_done_again(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = opened(storage)
    lost._offer(again=False)
    under_way = lost.study.ask()
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


def test_what_failed_by_itself_is_not_done_again_because_two_had_offered_it(storage: str) -> None:
    own = opened(storage)
    for _ in range(2):
        for key, choice in CHOICES.items():
            own.study.enqueue_trial(dict(choice), user_attrs={"key": key})
    done: list[str] = []

    def do(key: str) -> dict[str, Any]:
        done.append(key)
        return outcome(key, error="not a number", AP50=None)

    own.work(do, nothing)
    assert sorted(done) == sorted(CHOICES)
    own.work(do, nothing, again=True)
    assert sorted(done) == sorted([*CHOICES, *CHOICES])


@pytest.mark.parametrize("ahead", [600.0, -600.0])
def test_a_clock_that_is_ahead_or_jumps_back_takes_nobody_for_dead(
    ahead: float, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, judge = opened(storage), opened(storage)
    busy._offer(again=False)
    number = busy.study.ask().number
    clock = time.time
    for jump in (0.0, ahead, 0.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: clock() + jump)
        judge._give_up()
    assert busy.study.trials[number].state == optuna.trial.TrialState.RUNNING


def test_who_gives_no_new_sign_is_given_up(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, judge = opened(storage), opened(storage)
    busy._offer(again=False)
    trial = busy.study.ask()
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def is_running_at(seconds: float) -> bool:
        nonlocal now
        now = seconds
        judge._give_up()
        return judge.study.trials[trial.number].state == optuna.trial.TrialState.RUNNING

    assert is_running_at(0) and is_running_at(trials.GRACE)
    trial.set_user_attr("alive", "again")
    assert is_running_at(trials.GRACE + 1) and is_running_at(2 * trials.GRACE + 1)
    assert not is_running_at(2 * trials.GRACE + 2)


def test_signs_of_life_are_given(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "BEAT", 0.01)
    own, signs = opened(storage), set()

    def do(key: str) -> dict[str, Any]:
        until = time.monotonic() + 30
        while len(signs) < 3 and time.monotonic() < until:
            signs.update(each.user_attrs.get("alive") for each in own.study.trials)
        return outcome(key)

    own.work(do, nothing)
    assert len(signs) >= 3


def test_who_was_given_up_while_at_it_goes_on(storage: str) -> None:
    """Such as one that was stopped for long: what it did then is done again, which is what counts."""
    own, others, done = opened(storage), opened(storage), []

    def do(key: str) -> dict[str, Any]:
        done.append(key)
        if len(done) == 1:
            (running,) = others.study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
            others.study.tell(running.number, state=optuna.trial.TrialState.FAIL)
        return outcome(key)

    own.work(do, nothing)
    assert sorted(done) == sorted([*CHOICES, done[0]])
    assert own.outcomes() == {key: outcome(key) for key in CHOICES}


def test_a_half_line_of_a_full_disk_or_a_dead_process_is_no_end_of_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    own, pieces = opened(str(path)), iter(range(20))

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if next(pieces, None) is None:
                raise OSError(28, "No space left on device", str(path))
            return super().write(data[:7])

    for half in (b'{"op_code":', b"x" * 100_000):
        with open(path, "ab") as file:
            file.write(half)
        assert own.outcomes() == {}
        own._offer(again=False)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(trials, "open", lambda *_, **__: Full(path, "a+"), raising=False)
        own.work(outcome, nothing)
    assert not path.read_bytes().endswith(b"\n")
    monkeypatch.setattr(trials, "GRACE", 0.1)
    opened(str(path)).work(outcome, nothing)
    assert sorted(own.outcomes()) == sorted(CHOICES)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_database_that_is_gone_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "study.db"

    def do(_: str) -> dict[str, Any]:
        file.write_bytes(b"no database" * 1000)
        return outcome("33")

    with pytest.raises(OSError, match=r"^storage: sqlite:.*cannot be reached \(.*\); --resume goes on") as lost:
        opened(f"sqlite:///{file}").work(do, nothing)
    assert "\n" not in str(lost.value)


@pytest.mark.parametrize("storage", ["/dev/null/journal", "sqlite:////dev/null/study.db", "nosuch://host/name"])
def test_a_storage_that_cannot_be_opened(storage: str) -> None:
    with pytest.raises(OSError, match=r"^storage: .*cannot be opened") as refused:
        opened(storage)
    assert storage in str(refused.value) and "\n" not in str(refused.value)
