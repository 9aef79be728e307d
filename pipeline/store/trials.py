"""Things to do that many processes share, each done by one of them: a study of Optuna in a storage they all reach.

The only place that imports Optuna. The storage is a file on a file system they share (Optuna's journal), or a database
by its URL. No service runs between the processes: each may come and go, on any machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

# Seconds between two signs of life of what is under way, and after which its process is taken for dead.
BEAT, GRACE = 60, 300
# Seconds between two looks at what others do, and how often one that kills its process is tried.
LOOK, TRIES = 2.0, 3
# How often a storage is tried that cannot be opened, and the seconds that SQLite waits for other processes.
OPENINGS, PATIENCE = 3, 60

Outcome = dict[str, Any]
# What a study holds of a trial: what it does, which attempt at it that is, a sign of life that changes, an outcome's
# own failure, and the outcome.
_KEY, _ATTEMPT, _ALIVE, _ERROR, _OUTCOME = "key", "attempt", "alive", "error", "outcome"
_UNDER_WAY = (TrialState.WAITING, TrialState.RUNNING)


class Journal(optuna.storages.journal.JournalFileBackend):
    """Optuna's journal, in which a full disk or a killed process leaves no half line that nobody could read past."""

    def __init__(self, path: str) -> None:
        """At `path`."""
        self.path, self.lock = path, optuna.storages.journal.JournalFileSymlinkLock(path)
        super().__init__(path, lock_obj=self.lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write all of `logs`, or nothing and raise OSError."""
        left = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in logs).encode()
        self.lock.acquire()
        try:
            with open(self.path, "a+b", buffering=0) as file:
                if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
        finally:
            # Others took it from a process that was stopped for long in these lines.
            with suppress(RuntimeError):
                self.lock.release()


class Trials:
    """The state of each thing to do, by its key."""

    def __init__(self, storage: str, name: str, choices: Mapping[str, Mapping[str, Any]]) -> None:
        """Open the study, making it if it is not there.

        Args:
          storage: a file of its own, or the URL of a database.
          name: of the study.
          choices: what is to do, by key; the values are what Optuna's tools show and compare it by.

        Raises:
          OSError: the storage cannot be opened.
        """
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        self.choices, self.storage = choices, storage
        # The last sign of each trial under way, and since when this process has seen no other.
        self.signs: dict[int, tuple[str | None, float]] = {}
        for left in reversed(range(OPENINGS)):
            try:
                with _quiet():
                    self.study = _study(storage, name)
                return
            # A database has errors of its driver, of SQLAlchemy and of Optuna, many kinds.
            except Exception as error:
                if not left:
                    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                    raise OSError(f"storage: {storage} cannot be opened ({reason})") from None
            # Two that make the tables of a new database at one moment are in each other's way.
            time.sleep(LOOK)

    def outcomes(self) -> dict[str, Outcome]:
        """What is known of each that is done or has failed by itself, by key. OSError: the storage is not there."""
        found = {}
        with _reached(self.storage):
            known = self._by_key()
        for key, trials in known.items():
            for each in trials:
                if each.state == TrialState.COMPLETE:
                    found[key] = each.user_attrs[_OUTCOME]
            if key not in found and not _is_open(trials) and (error := _error(trials)):
                found[key] = {_ERROR: error}
        return found

    def work(self, do: Callable[[str], Outcome], seen: Callable[[], None], *, again: bool = False) -> None:
        """Do what nobody does, until all is done, by this process or others.

        Args:
          do: does what a key names and returns its outcome in JSON; one that has an `error` failed by itself.
          seen: called whenever something was done.
          again: try once more what has failed by itself before.

        Raises:
          OSError: the storage is no longer there; whatever `do` raises.
        """
        with _reached(self.storage), _quiet():
            self._offer(again)
            while left := [each for trials in self._by_key().values() if _is_open(trials) for each in trials]:
                if any(each.state == TrialState.WAITING for each in left):
                    self._one(do)
                    seen()
                else:
                    time.sleep(LOOK)
                self._give_up()
                self._offer(False)

    def _offer(self, again: bool) -> None:
        """Enqueue whatever was never begun, or was left by a process that is gone."""
        known = self._by_key()
        for key in self.choices:
            trials = known.get(key, [])
            failed = [each for each in trials if each.state == TrialState.FAIL]
            if _is_open(trials) or any(each.state == TrialState.COMPLETE for each in trials):
                continue
            if again or not _error(failed):
                self.study.enqueue_trial(dict(self.choices[key]), user_attrs={_KEY: key, _ATTEMPT: len(failed)})

    def _one(self, do: Callable[[str], Outcome]) -> None:
        """Take what waits, one of it by one process only, and do it."""
        trial = self.study.ask()
        state, value = TrialState.FAIL, None
        # Where others took this process for dead, as one that was stopped for long, what they do counts.
        try:
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                state, value = self._done(trial, do)
        finally:
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                self.study.tell(trial, value, state, skip_if_finished=True)

    def _done(self, trial: optuna.Trial, do: Callable[[str], Outcome]) -> tuple[TrialState, float | None]:
        key = trial.user_attrs.get(_KEY)
        if key not in self.choices or self._is_taken(key, trial):
            return TrialState.PRUNED, None
        for name in self.choices[key]:
            trial.suggest_categorical(name, sorted({each[name] for each in self.choices.values()}))
        with _alive(trial):
            outcome = do(key)
        if outcome.get(_ERROR):
            trial.set_user_attr(_ERROR, outcome[_ERROR])
            return TrialState.FAIL, None
        trial.set_user_attr(_OUTCOME, outcome)
        return TrialState.COMPLETE, float(outcome["AP50"])

    def _is_taken(self, key: str, own: optuna.Trial) -> bool:
        """Whether another trial is the same attempt, which two processes may have offered at one moment.

        Of those that are, the one with the lowest number counts. All lower numbers were there before this trial had
        its own, and so before it was taken: whoever takes it sees them.
        """
        attempt = own.user_attrs.get(_ATTEMPT, 0)
        return any(
            each.number < own.number
            and each.state != TrialState.PRUNED
            and (each.state == TrialState.COMPLETE or each.user_attrs.get(_ATTEMPT, 0) >= attempt)
            for each in self._by_key()[key]
        )

    def _give_up(self) -> None:
        """Fail what a process has begun that gave no new sign of life for `GRACE` seconds.

        Signs are compared with each other only, and the time between by the clock of this process that never jumps:
        no two machines need the same time.
        """
        before = time.monotonic()
        running = [each for each in self.study.get_trials(deepcopy=False) if each.state == TrialState.RUNNING]
        after = time.monotonic()
        signs = {each.number: each.user_attrs.get(_ALIVE) for each in running}
        self.signs = {
            number: self.signs[number] if number in self.signs and self.signs[number][0] == sign else (sign, after)
            for number, sign in signs.items()
        }
        for number, (_, since) in self.signs.items():
            if before - since > GRACE:
                with suppress(optuna.exceptions.UpdateFinishedTrialError):
                    self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _by_key(self) -> dict[str, list[FrozenTrial]]:
        found: dict[str, list[FrozenTrial]] = {}
        for each in self.study.get_trials(deepcopy=False):
            if each.user_attrs.get(_KEY) in self.choices:
                found.setdefault(each.user_attrs[_KEY], []).append(each)
        return found


def _is_open(trials: Sequence[FrozenTrial]) -> bool:
    return any(each.state in _UNDER_WAY for each in trials)


def _error(trials: Sequence[FrozenTrial]) -> str | None:
    """Why the last that failed did; None if its process was stopped, unless that happened too often."""
    failed = [each for each in trials if each.state == TrialState.FAIL]
    own = next((each.user_attrs[_ERROR] for each in reversed(failed) if _ERROR in each.user_attrs), None)
    return own or (f"its process was lost {TRIES} times" if len(failed) >= TRIES else None)


@contextmanager
def _alive(trial: optuna.Trial) -> Iterator[None]:
    """While the block runs, a sign of life that is another each time."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            # A storage that is away for a moment is asked at the next beat; who was given up learns it in the end.
            with suppress(Exception):
                trial.set_user_attr(_ALIVE, uuid.uuid4().hex)

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()


@contextmanager
def _reached(storage: str) -> Iterator[None]:
    """Raise OSError where a database can no longer be reached."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:160]
        raise OSError(f"storage: {storage} cannot be reached ({reason}); --resume goes on when it can") from None


def _study(storage: str, name: str) -> optuna.Study:
    opened: optuna.storages.BaseStorage
    if "://" not in storage:
        opened = optuna.storages.JournalStorage(Journal(storage))
    elif storage.startswith("sqlite"):
        opened = optuna.storages.RDBStorage(storage, engine_kwargs={"connect_args": {"timeout": PATIENCE}})
        # SQLite knows no SELECT FOR UPDATE, by which Optuna lets one process take a trial: two could see it waiting
        # and both take it. With the file locked from the first statement on, the second looks when the first is done.
        sqlalchemy.event.listen(opened.engine, "begin", lambda used: used.exec_driver_sql("BEGIN IMMEDIATE"))
    else:
        opened = optuna.storages.RDBStorage(storage)
    sampler = optuna.samplers.RandomSampler()
    return optuna.create_study(
        storage=opened, study_name=name, direction="maximize", load_if_exists=True, sampler=sampler
    )


class _quiet(warnings.catch_warnings):
    """Without Optuna's notices of what is experimental."""

    def __enter__(self) -> Any:
        found = super().__enter__()
        warnings.simplefilter("ignore")
        return found
