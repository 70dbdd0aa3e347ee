"""The verb `tune`: find the settings with the most goodput within the objective, by restarting the service.

Optuna's TPE proposes settings, the service's defaults first. Each is served and driven at rising rates. A setting that
twice breaks the objective a little below the best rate so far is given up: successive halving with two rungs (Jamieson
and Talwalkar 2016). The best of many trials is partly luck, so at the end the winner and the defaults are measured in
turn, and the defaults stay unless the winner is surely better. A journal holds every finished trial, so a run that was
stopped can go on.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from loadtest.compare import compare
from loadtest.errors import NotStartedError, OptionError, UnreachableError
from loadtest.machine import Machine, machine
from loadtest.measuring.contender import Contender
from loadtest.measuring.search import Found
from loadtest.pages import pictures
from loadtest.pages.files import page, write_json, write_text
from loadtest.pages.live import console
from loadtest.traffic.plan import Plan
from loadtest.verdict.comparison import Comparison, interval, ratios
from loadtest.verdict.objective import Objective
from loadtest.verdict.trials import Trial

RUNG_SHARE = 0.85
"""The first rate of a trial, as a share of the best goodput so far."""
MIN_TRIALS = 2
"""The defaults and one other setting, however short the time."""
MIN_ROUNDS = 5
"""Of the final comparison. If the winner is no better, it wins all of five rounds in 1 of 32 searches."""
RUNS_A_TRIAL = 6
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Settings = Mapping[str, float]

# The service starts so many API processes by itself.
WORKERS = min(CORES, 4)

# The values to try, the service's default first. More threads than cores would only wait.
SPACE: dict[str, list[float]] = {
    "workers": [WORKERS, *(n for n in (1, 2, 3, 4, 8, 16) if n <= 2 * CORES and n != WORKERS)],
    "screen_threads": [1, *(n for n in (2, 4, 8) if n <= CORES)],
    "expert_threads": [1, *(n for n in (2, 4, 8) if n <= CORES)],
    "max_batch_size": [32, 16, 8, 4, 1],
    "batch_window_ms": [0.0, 1.0, 2.0, 5.0],
    "calls_in_flight": [1, 2, 3, 4],
    "max_in_flight": [256, 16, 32, 64, 128, 512, 1024],
}
DEFAULTS: Settings = {name: values[0] for name, values in SPACE.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A search as it was ordered.

    `command`: starts the service, with {port} and {settings} in it. `minutes`: length of the search in this call.
    `rounds`: of the final comparison. `folder`: of the results. `against`: more contenders of the final comparison.
    """

    command: tuple[str, ...]
    plan: Plan
    objective: Objective
    minutes: float
    rounds: int
    folder: Path
    against: Sequence[Contender] = ()

    def contender(self, name: str, settings: Settings, folder: Path) -> Contender:
        """The service with these settings; writes their file into `folder`."""
        path = folder.resolve() / f"{name.replace(' ', '-')}.toml"
        write_text(path, as_toml(settings))
        line = tuple(part.replace("{settings}", str(path)) for part in self.command)
        return Contender(name=name, line=line)

    @property
    def key(self) -> str:
        """A hash of everything that trials must share to be comparable; it names the journal's study."""
        objective = asdict(self.objective)
        said = json.dumps([self.command, self.plan.as_dict(), objective, SPACE, machine()], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:12]


class TuneResult(TypedDict):
    """tune.json."""

    settings: dict[str, float]
    defaults: dict[str, float]
    comparison: Comparison
    trials: list[Trial]
    machine: Machine


def tune(wanted: Tuning) -> TuneResult:
    """Search, then measure the winner and the defaults in turn. Writes settings.toml, tune.json and tune.html.

    Raises OptionError for fewer than MIN_ROUNDS rounds, and LoadTestError where the defaults do not start or do not
    answer.
    """
    if wanted.rounds < MIN_ROUNDS:
        raise OptionError(
            f"--rounds: must be at least {MIN_ROUNDS}, since luck wins fewer too often, got {wanted.rounds}; leave it "
            "out"
        )
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
    result: TuneResult = {
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


def better(found: Settings, comparison: Comparison) -> dict[str, float]:
    """The settings found if they surely beat the defaults: the lower end of their ratio's interval is above 1.

    The comparison's last two rows are the defaults and tuned. A median above 1 would be luck in half of all searches
    that found nothing.
    """
    defaults, tuned = (row["rounds"] for row in comparison["rows"][-2:])
    low, _ = interval(ratios(tuned, defaults))
    return dict(found if low > 1 else DEFAULTS)


def write_page(folder: Path, result: TuneResult) -> None:
    """Write tune.html: the comparison, the settings, the Pareto picture."""
    limit_ms = max(result["comparison"]["objective"]["limits_ms"].values())
    drawn = {"pareto": pictures.pareto(result["trials"], limit_ms)}
    drawn["ladder"] = pictures.ladder(result["comparison"]["rows"])
    write_text(folder / "tune.html", page("tune.html", result=result, pictures=drawn))


def as_toml(settings: Settings, why: Sequence[str] = ()) -> str:
    """A settings file for `service.py`."""
    lines = [f"# {line}" for line in why]
    return "\n".join([*lines, *(f"{name} = {value!r}" for name, value in settings.items())]) + "\n"


def _why(settings: Settings, comparison: Comparison) -> list[str]:
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
    # A new sampler with the same seed would repeat its proposals.
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
        study.tell(trial, known.value)  # not measured twice; the sampler moves on
        return
    try:
        with tempfile.TemporaryDirectory() as name:
            contender = wanted.contender("trial", settings, Path(name))
            with contender.served(wanted.plan, wanted.objective, wanted.folder / "trial.log") as subject:
                start = RUNG_SHARE * best or subject.start_per_s
                found = subject.highest(start, seed=trial.number, most=RUNS_A_TRIAL, or_give_up=bool(best))
    except (NotStartedError, UnreachableError) as error:
        if not done:  # the first trial has the defaults, so the settings are not to blame
            raise
        trial.set_user_attr("not_started", True)
        study.tell(trial, 0.0)
        console.print(f"trial {trial.number}: did not start ({str(error)[:200]}); {_listed(settings)}")
        return
    given_up = bool(best) and found.result is None
    _tell(study, trial, found, given_up=given_up)
    said = "given up" if given_up else f"{found.goodput_per_s:.0f}/s"
    console.print(f"trial {trial.number}: {said}; {_listed(settings)}")


def _tell(study: optuna.Study, trial: optuna.Trial, found: Found, *, given_up: bool) -> None:
    """Write a finished trial into the journal."""
    figures = (found.result or found.first)["figures"]
    trial.set_user_attr("p99_ms", figures["asked_ms"]["p99"]["ms"])
    trial.set_user_attr("reached_per_s", figures["goodput_per_s"])
    trial.set_user_attr("given_up", given_up)
    study.tell(trial, found.goodput_per_s)


def _listed(settings: Settings) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def _key(settings: Settings) -> tuple[float, ...]:
    return tuple(settings[name] for name in SPACE)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were measured, without repetitions."""
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    return [trial for trial in trials if "repeated" not in trial.user_attrs]


def _row(trial: FrozenTrial, chosen: Settings) -> Trial:
    kinds = {
        (True, True): "chosen: the default",
        (True, False): "chosen",
        (False, True): "default",
        (False, False): "trial",
    }
    return {
        "number": trial.number,
        "kind": kinds[trial.params == chosen, trial.params == dict(DEFAULTS)],
        "settings": trial.params,
        "goodput_per_s": trial.user_attrs.get("reached_per_s", 0.0),
        "kept_objective": bool(trial.value),
        "p99_ms": trial.user_attrs.get("p99_ms"),
        "given_up": trial.user_attrs.get("given_up", False),
        "not_started": trial.user_attrs.get("not_started", False),
    }


PRESETS: dict[str, float] = {"bert": 100.0, "cascade": 50.0}
"""The two usual objectives: a p99 in milliseconds, which is the budget too."""


def with_preset(name: str, plan: Plan) -> tuple[Plan, Objective]:
    """The plan and the objective of a preset. `bert` sends only what the screen escalates."""
    limit_ms = PRESETS[name]
    mix = replace(plan.mix, hard_share=1.0) if name == "bert" else plan.mix
    return replace(plan, budget_ms=limit_ms, mix=mix), Objective(limits_ms={"p99": limit_ms})
