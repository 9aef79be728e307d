"""Things to do that many processes share, each done by one of them: a study of Optuna in a storage they all reach.

The only place that imports Optuna. The storage is a file on a file system they share (Optuna's journal), or a database
by its URL. No service runs between the processes: each may come and go, on any machine.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

# Seconds between two signs of life of what is under way, and after which its process is taken for dead.
BEAT, GRACE = 60, 300
# Seconds between two looks at what others do, and how often one that kills its process is tried.
LOOK, TRIES = 2.0, 3
# How often a storage is tried that cannot be opened.
OPENINGS = 3

Outcome = dict[str, Any]
# What is left as it is written in a study: an outcome's own failure, and the outcome.
_KEY, _ERROR, _OUTCOME, _ALIVE = "key", "error", "outcome", "alive"
_UNDER_WAY = (TrialState.WAITING, TrialState.RUNNING)


class Refused(Exception):
    """Ends a trial whose outcome says why it failed."""


class Journal(optuna.storages.JournalStorage, BaseHeartbeat):
    """Optuna's journal with the signs of life that its databases have."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Note that the process of a trial is alive."""
        self.set_trial_system_attr(trial_id, _ALIVE, time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        before = time.time() - GRACE
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [each._trial_id for each in running if _last_sign(each) < before]

    def get_heartbeat_interval(self) -> int:
        """Seconds between two signs."""
        return BEAT

    def get_heartbeat_stale_trial_callback(self) -> None:
        """None: `Trials` itself sees what nobody does."""


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
        self.choices = choices
        for left in reversed(range(OPENINGS)):
            try:
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
        """What is known of each that is done or has failed by itself, by key."""
        found = {}
        for key, trials in self._by_key().items():
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
        """
        self._offer(again)
        while left := [key for key, trials in self._by_key().items() if _is_open(trials)]:
            if any(each.state == TrialState.WAITING for key in left for each in self._by_key()[key]):
                with _quiet():
                    self.study.optimize(lambda trial: self._one(trial, do), n_trials=1, catch=(Refused,))
                seen()
            else:
                time.sleep(LOOK)
            with _quiet():
                optuna.storages.fail_stale_trials(self.study)
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
                self.study.enqueue_trial(dict(self.choices[key]), user_attrs={_KEY: key})

    def _one(self, trial: optuna.Trial, do: Callable[[str], Outcome]) -> float:
        key = trial.user_attrs.get(_KEY)
        if key not in self.choices or self._is_taken(key, trial.number):
            # Two processes may have offered it at one moment, or one came too late for the last.
            raise optuna.TrialPruned
        for name in self.choices[key]:
            trial.suggest_categorical(name, sorted({each[name] for each in self.choices.values()}))
        outcome = do(key)
        if outcome.get(_ERROR):
            trial.set_user_attr(_ERROR, outcome[_ERROR])
            raise Refused
        trial.set_user_attr(_OUTCOME, outcome)
        return float(outcome["AP50"])

    def _is_taken(self, key: str, number: int) -> bool:
        return any(
            each.number < number and each.state in (*_UNDER_WAY, TrialState.COMPLETE) for each in self._by_key()[key]
        )

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


def _last_sign(trial: FrozenTrial) -> float:
    begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return float(trial.system_attrs.get(_ALIVE, begun))


def _study(storage: str, name: str) -> optuna.Study:
    with _quiet():
        if "://" in storage:
            opened = optuna.storages.RDBStorage(storage, heartbeat_interval=BEAT, grace_period=GRACE)
        else:
            opened = Journal(optuna.storages.journal.JournalFileBackend(storage))
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
