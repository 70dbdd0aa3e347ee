"""Search for the fastest screen that keeps the accuracy which the recipe asks for.

A trial carries out the screen's steps with other choices, picks the fastest of its graphs, so that precision is
searched too, and is judged on the selection set. Optuna (Akiba et al. 2019, arXiv:1907.10902) samples the choices by
TPE with constraints, seeded by the recipe. A journal in the build folder keeps the trials: an interrupted search goes
on, and a finished one is not repeated.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from optimize.build import Build
from optimize.errors import GateError, SearchError, StepError
from optimize.judge.gates import chosen_variants, default_cpu_variant, judge
from optimize.judge.measure import logits_of, measure
from optimize.judge.quality import accuracy
from optimize.judge.quality_name import name_of
from optimize.models.decisions import head_for
from optimize.progress import console
from optimize.recipe import Search, with_choices
from optimize.results import digest_below, digest_of
from serving.cpu import processor

ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Trial:
    """A screen that was tried: its figures on the selection set, drop and speed-up against the teacher in PyTorch.

    For label sets the accuracy is micro F1.
    """

    number: int
    choices: dict[str, Any]
    graph: str
    precision: str
    accuracy: float
    accuracy_drop: float
    speedup: float
    latency_ms: float
    size_bytes: int
    seconds: float

    def is_good(self, search: Search, items: int) -> bool:
        """Whether the accuracy lost, with the caution asked for, is within bounds on a selection set of `items`."""
        error = math.sqrt(self.accuracy * (1 - self.accuracy) / items)
        return self.accuracy_drop + search.caution * error <= search.max_accuracy_drop + 1e-9

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def search(build: Build) -> tuple[Build, list[Trial], Trial | None]:
    """Try screens until trials or time are used up: the build with the chosen one, all trials, and the chosen trial.

    A recipe without [search] has no trials and keeps its own steps. When no screen is good and fast enough, the run
    says so and goes on with the one that loses least. Raises SearchError when no trial made a screen.
    """
    wanted = build.recipe.search
    if wanted is None:
        return build, [], None
    study = _study(build, wanted)
    every = list(itertools.product(*(range(len(values)) for values in wanted.space.values())))
    begin = time.monotonic()
    spent = sum(trial.seconds for trial in _trials(study))
    while len(done := _done(study)) < min(wanted.trials, len(every)):
        if spent + time.monotonic() - begin >= wanted.time_budget_s:
            break
        trial = study.ask()
        picked = tuple(trial.suggest_categorical(key, range(len(values))) for key, values in wanted.space.items())
        if picked in done:  # the sampler repeats itself, so try something new instead
            study.tell(trial, state=TrialState.FAIL)
            untried = [places for places in every if places not in done]
            again = np.random.default_rng([build.recipe.seed, trial.number]).choice(len(untried))
            study.enqueue_trial(dict(zip(wanted.space, untried[again], strict=True)))
            continue
        try:
            study.tell(trial, _run(build, wanted, trial, picked))
        except (GateError, StepError) as error:
            console.print(f"trial {trial.number} came to nothing: {error}")
            trial.set_user_attr("came_to_nothing", str(error))
            study.tell(trial, state=TrialState.FAIL)
    trials = _trials(study)
    if not trials:
        raise SearchError(
            f"search: no trial came to a screen within search.time_budget_s = {wanted.time_budget_s:g}; allow more "
            "time, or mend what the trials' lines above say"
        )
    items = len(build.splits.selection)
    chosen = choose(trials, wanted, items)
    if not (chosen.is_good(wanted, items) and chosen.speedup >= wanted.min_speedup):
        console.print(
            f"no screen surely loses at most {wanted.max_accuracy_drop:.2%} and is at least {wanted.min_speedup:g} "
            f"times as fast as the teacher; trial {chosen.number} comes closest"
        )
    return build.with_screen(with_choices(build.recipe.screen, chosen.choices)), trials, chosen


def choose(trials: list[Trial], wanted: Search, items: int) -> Trial:
    """The fastest good trial, else the one that loses least. `items`: the size of the selection set."""
    good = [trial for trial in trials if trial.is_good(wanted, items)]
    if good:
        return max(good, key=lambda trial: trial.speedup)
    return min(trials, key=lambda trial: (trial.accuracy_drop, -trial.speedup))


def _study(build: Build, wanted: Search) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Another teacher, student, space, gate, machine or way to read long texts starts another search. More trials or
    # time go on with this one.
    steps = [(step.model_dump(mode="json"), step.revision) for step in build.recipe.screen]
    judged = build.recipe.gates.model_dump() | build.recipe.text.model_dump(include={"long_texts", "watch"})
    read = sorted({digest_below(file) for step in build.recipe.possible_steps for file in step.files(build.root)})
    key = digest_of([build.teacher.key, wanted.space, steps, judged, processor(), *read])
    sampler = TPESampler(
        seed=build.recipe.seed,
        n_startup_trials=5,
        multivariate=True,
    )
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(build.folder / "trials.journal"))),
        study_name=key[:12],
        sampler=sampler,
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):  # interrupted; its steps are reused
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    if not study.trials:
        study.enqueue_trial(dict.fromkeys(wanted.space, 0))  # start with the first value of each field
    return study


def _run(build: Build, wanted: Search, trial: optuna.Trial, picked: tuple[int, ...]) -> float:
    """Carry out one trial: its value is the latency, its constraint the accuracy lost beyond the bound."""
    choices = {key: values[place] for (key, values), place in zip(wanted.space.items(), picked, strict=True)}
    console.print(f"trial {trial.number}: " + ", ".join(f"{name} = {value}" for name, value in choices.items()))
    result = _measured(build, trial.number, choices)
    for name, value in result.as_dict().items():
        trial.set_user_attr(name, _plain(value))
    trial.set_constraint("accuracy lost beyond what may be", result.accuracy_drop - wanted.max_accuracy_drop)
    console.print(
        f"trial {trial.number}: {result.precision}, {result.speedup:.1f} times as fast as the teacher, "
        f"{result.accuracy_drop:+.2%} of {name_of(build.splits).words} lost"
    )
    return result.latency_ms


def _measured(build: Build, number: int, choices: dict[str, Any]) -> Trial:
    begin = time.monotonic()
    # Companions are made for the chosen screen only, at the end.
    steps = (step.without_companions() for step in with_choices(build.recipe.screen, choices))
    candidate = build.with_screen(tuple(steps))
    results = candidate.carry_out()
    selection, targets = partial(candidate.prepared, "selection"), build.splits.selection.targets
    checkpoint, graphs = candidate.checkpoint_of("screen"), candidate.graphs("screen")
    measured = (results[0], checkpoint, *graphs)
    logits = {result.name: logits_of(candidate, result, selection(result)) for result in measured}
    latency = measure(candidate, measured, selection, ROUNDS)
    verdicts = judge(candidate, "screen", logits, targets, latency)
    variants = chosen_variants(graphs, verdicts, latency)
    graph = variants[default_cpu_variant(variants, latency)]
    reached, teacher = (
        accuracy(logits[result.name], targets, head_for(logits[of.name], targets))
        for result, of in ((graph, checkpoint), (results[0], results[0]))
    )
    return Trial(
        number=number,
        choices=_plain(choices),
        graph=graph.name,
        precision=graph.precision,
        accuracy=reached,
        accuracy_drop=teacher - reached,
        speedup=latency[results[0].name].median_ms / latency[graph.name].median_ms,
        latency_ms=latency[graph.name].median_ms,
        size_bytes=graph.size_bytes,
        seconds=time.monotonic() - begin,
    )


def _trials(study: optuna.Study) -> list[Trial]:
    """The finished trials."""
    fields = Trial.__dataclass_fields__
    finished: list[FrozenTrial] = study.get_trials(states=(TrialState.COMPLETE,))
    return [Trial(**{name: trial.user_attrs[name] for name in fields}) for trial in finished]


def _done(study: optuna.Study) -> set[tuple[int, ...]]:
    """The picks of the trials that ended, as places in the lists of the search space."""
    over = (t for t in study.trials if t.state == TrialState.COMPLETE or "came_to_nothing" in t.user_attrs)
    return {tuple(trial.params.values()) for trial in over}


def _plain(value: Any) -> Any:
    """Tuples as lists and numpy's numbers as Python's: the values that the journal gives back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
