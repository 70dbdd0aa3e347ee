"""The settings with the most goodput within the objective, on the machine at hand, by restarting the real service.

Optuna's TPE proposes settings, beginning with the service's defaults; each is served and driven at rising rates. One
that twice cannot keep the objective a little below the best rate so far is given up, which is successive halving with
two rungs (Jamieson and Talwalkar 2016). At last the winner and the defaults take turns: the best of many trials has had
some luck too, and where that was all of it, the defaults stay.
Every trial is in a journal as soon as it is over, so a run that was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from loadtest.compare import compare
from loadtest.pages.live import console
from loadtest.pages.report import machine, page, write_json, write_text
from loadtest.run import Plan, UnreachableError
from loadtest.traffic.process import NotStartedError
from loadtest.verdict.contender import Contender
from loadtest.verdict.objective import Objective

RUNG_SHARE = 0.85
MIN_TRIALS = 2
"""The defaults, and something to hold against them, however short the time."""
RUNS_A_TRIAL = 6
CORES = os.cpu_count() or 1
Settings = Mapping[str, float]

# What may be tried, the service's own default first. Threads and processes beyond the cores would only wait.
SPACE: dict[str, list[float]] = {
    "workers": sorted({1, *(n for n in (2, 3, 4, 8, 16) if n <= 2 * CORES)}),
    "screen_threads": sorted({1, *(n for n in (2, 4, 8) if n <= CORES)}),
    "expert_threads": sorted({1, *(n for n in (2, 4, 8) if n <= CORES)}),
    "max_batch_size": [32, 16, 8, 4, 1],
    "batch_window_ms": [0.0, 1.0, 2.0, 5.0],
    "calls_in_flight": [2, 1, 3, 4],
    "max_in_flight": [256, 16, 32, 64, 128, 512, 1024],
}
DEFAULTS: Settings = {name: values[0] for name, values in SPACE.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """`command`: starts the service, with {port} and {settings} in it. `minutes`: for the search in this call.
    `homes`: BENTOML_HOME for each of trial, defaults and tuned, since two servers with one would empty each other's
    metrics; without one the command's own serves them all.
    """

    command: tuple[str, ...]
    homes: Mapping[str, str] = field(default_factory=dict)
    plan: Plan
    objective: Objective
    minutes: float
    rounds: int
    folder: Path
    against: Sequence[Contender] = ()

    def contender(self, name: str, settings: Settings, folder: Path) -> Contender:
        """The service with these settings, whose file is written into `folder`."""
        path = folder.resolve() / f"{name.replace(' ', '-')}.toml"
        write_text(path, as_toml(settings))
        line = tuple(part.replace("{settings}", str(path)) for part in self.command)
        home = {"BENTOML_HOME": self.homes[name]} if name in self.homes else {}
        return Contender(name=name, line=line, variables=home)

    @property
    def key(self) -> str:
        """What a journal's trials must have in common to be compared."""
        objective = [dict(self.objective.limits_ms), self.objective.max_degraded_share]
        said = json.dumps([self.command, self.plan.as_dict(), objective, SPACE, machine()], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def tune(wanted: Tuning) -> dict[str, Any]:
    """Search, then hold the winner against the defaults. Writes settings.toml, tune.json and tune.html."""
    wanted.folder.mkdir(parents=True, exist_ok=True)
    study = _study(wanted)
    limit = time.monotonic() + 60 * wanted.minutes
    every = math.prod(map(len, SPACE.values()))
    while (done := len(_finished(study))) < every and (time.monotonic() < limit or done < MIN_TRIALS):
        _one_trial(study, wanted)
    trials = _finished(study)
    best = max(trials, key=lambda trial: trial.value or 0.0)
    with tempfile.TemporaryDirectory() as name:
        contenders = [
            *wanted.against,
            wanted.contender("defaults", DEFAULTS, Path(name)),
            wanted.contender("tuned", best.params, Path(name)),
        ]
        console.print("the winner and the defaults, in turn")
        comparison = compare(contenders, wanted.plan, wanted.objective, rounds=wanted.rounds, folder=wanted.folder)
    settings = better(best.params, comparison)
    result = {
        "settings": settings,
        "defaults": dict(DEFAULTS),
        "comparison": comparison,
        "trials": [_row(trial, settings) for trial in trials],
        "machine": machine(),
    }
    write_text(wanted.folder / "settings.toml", as_toml(settings, _why(settings, comparison)))
    write_json(wanted.folder / "tune.json", result)
    write_page(wanted.folder, result)
    return result


def better(found: Settings, comparison: Mapping[str, Any]) -> dict[str, float]:
    """What was found, or the defaults where it had no more goodput in the rounds than they: the last row against the
    one before.
    """
    tuned = comparison["rows"][-1]
    # None where the defaults never kept the objective.
    times = tuned["times_the_one_before"] or {"median": math.inf if any(tuned["rounds"]) else 0.0}
    return dict(found if times["median"] > 1 else DEFAULTS)


def write_page(folder: Path, result: Mapping[str, Any]) -> None:
    """tune.html: the Pareto picture, the comparison, the settings."""
    from loadtest.pages import pictures

    limit_ms = max(result["comparison"]["objective"]["limits_ms"].values())
    drawn = {"pareto": pictures.pareto(result["trials"], limit_ms)}
    drawn["ladder"] = pictures.ladder(result["comparison"]["rows"])
    write_text(folder / "tune.html", page("tune.html", result=result, pictures=drawn))


def as_toml(settings: Settings, why: Sequence[str] = ()) -> str:
    """A settings file for `service.py`."""
    lines = [f"# {line}" for line in why]
    return "\n".join([*lines, *(f"{name} = {value!r}" for name, value in settings.items())]) + "\n"


def _why(settings: Settings, comparison: Mapping[str, Any]) -> list[str]:
    times = comparison["rows"][-1].get("times_the_one_before")
    on = f"{comparison['machine']['cores']} cores of {comparison['machine']['processor']}"
    said = f"{times['median']} times the goodput of the defaults ({times['low']} to {times['high']})" if times else "?"
    at = f"at {dict(comparison['objective']['limits_ms'])}."
    if settings == DEFAULTS:
        return [f"The defaults: the best that `python -m loadtest tune` found on {on} had {said}", at]
    return [f"Found by `python -m loadtest tune` on {on}: {said}", at]


def _study(wanted: Tuning) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = JournalFileBackend(str(wanted.folder / "trials.journal"))
    study = optuna.create_study(
        storage=JournalStorage(journal), study_name=wanted.key, direction="maximize", load_if_exists=True
    )
    # A sampler that starts anew with the same seed would propose again what it has proposed.
    study.sampler = TPESampler(seed=wanted.plan.seed + len(study.trials), n_startup_trials=6, multivariate=True)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    if not study.trials:
        study.enqueue_trial(dict(DEFAULTS))
    return study


def _one_trial(study: optuna.Study, wanted: Tuning) -> None:
    done = {_key(trial.params): trial for trial in _finished(study)}
    best = max((trial.value or 0.0 for trial in done.values()), default=0.0)
    trial = study.ask()
    settings = {name: trial.suggest_categorical(name, values) for name, values in SPACE.items()}
    if (known := done.get(_key(settings))) is not None:
        trial.set_user_attr("repeated", True)
        study.tell(trial, known.value)  # what was measured is not measured again, and the sampler goes elsewhere
        return
    try:
        with tempfile.TemporaryDirectory() as name:
            contender = wanted.contender("trial", settings, Path(name))
            with contender.served(wanted.plan, wanted.objective, wanted.folder / "trial.log") as subject:
                start = RUNG_SHARE * best or subject.start_per_s
                found = subject.highest(start, seed=trial.number, most=RUNS_A_TRIAL, or_give_up=bool(best))
    except (NotStartedError, UnreachableError) as error:
        if not done:  # the defaults: then it is not the settings' fault
            raise
        trial.set_user_attr("not_started", True)
        study.tell(trial, 0.0)
        console.print(f"trial {trial.number}: did not start ({str(error)[:200]}); {_listed(settings)}")
        return
    given_up = bool(best) and found.result is None
    result = found.result or found.first
    trial.set_user_attr("p99_ms", result["figures"]["asked_ms"]["p99"]["ms"])
    trial.set_user_attr("reached_per_s", result["figures"]["goodput_per_s"])
    trial.set_user_attr("given_up", given_up)
    study.tell(trial, found.goodput_per_s)
    said = "given up" if given_up else f"{found.goodput_per_s:.0f}/s"
    console.print(f"trial {trial.number}: {said}; {_listed(settings)}")


def _listed(settings: Settings) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def _key(settings: Settings) -> tuple[float, ...]:
    return tuple(settings[name] for name in SPACE)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were measured."""
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    return [trial for trial in trials if "repeated" not in trial.user_attrs]


def _row(trial: FrozenTrial, chosen: Settings) -> dict[str, Any]:
    is_default = trial.params == dict(DEFAULTS)
    kind = (
        ("chosen: the default" if is_default else "chosen")
        if trial.params == chosen
        else ("default" if is_default else "trial")
    )
    return {
        "number": trial.number,
        "kind": kind,
        "settings": trial.params,
        "goodput_per_s": trial.user_attrs.get("reached_per_s", 0.0),
        "kept_objective": bool(trial.value),
        "p99_ms": trial.user_attrs.get("p99_ms"),
        "given_up": trial.user_attrs.get("given_up", False),
        "not_started": trial.user_attrs.get("not_started", False),
    }


PRESETS: dict[str, dict[str, Any]] = {
    # BERT with batches up to 32: everything goes to the expert, and may take 100 ms.
    "bert": {"objective": Objective(limits_ms={"p99": 100.0}), "plan": {"budget_ms": 100.0}},
    "cascade": {"objective": Objective(limits_ms={"p99": 50.0}), "plan": {"budget_ms": 50.0}},
}
"""The two classical objectives."""


def with_preset(name: str, plan: Plan) -> tuple[Plan, Objective]:
    """The plan and the objective of a preset; for `bert`, only what the screen escalates is asked."""
    preset = PRESETS[name]
    hard = {"mix": replace(plan.mix, hard_share=1.0)} if name == "bert" else {}
    return replace(plan, **preset["plan"], **hard), preset["objective"]
