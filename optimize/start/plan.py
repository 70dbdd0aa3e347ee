"""A recipe that fits what was found: its tables with their comments, as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimize.models.training import training_device
from optimize.start import choosing
from optimize.start.checkpoint import Found
from optimize.start.cost import StepTime, Trained, about, minutes
from optimize.start.facts import DataFacts
from optimize.start.promises import DELTA, alpha_for, bounds, least_items, split_sizes
from optimize.start.source import Source
from optimize.start.toml import Table, commented, toml_value, written


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What was found out about the checkpoint's head: whether it fits the labels, and how.

    `reason`: a sentence. `labels`: the order that the recipe must state; None where names tell it.
    """

    trained: bool
    reason: str
    labels: tuple[str, ...] | None = None
    trust_order: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """All that a recipe is written from."""

    name: str
    source: Source
    facts: DataFacts
    checkpoint: Found
    head: Head
    image: Mapping[str, Any] | None = None
    """The table [image] where the checkpoint brings none."""
    step_time: StepTime | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """About how many rows each split will have."""
        holdout = self.facts.holdout.rows if self.facts.holdout else None
        return split_sizes(self.facts.train.rows - self.facts.leaked, holdout, self.source.config)

    @property
    def width(self) -> int | None:
        """The width of a text encoder; None for a ResNet."""
        return int(self.checkpoint.config.hidden_size) if self.checkpoint.task == "text" else None


def recipe_text(subject: Subject) -> str:
    """The recipe as TOML."""
    tables = [_top(subject), _checkpoint(subject), _data(subject)]
    tables += _inputs(subject)
    tables += _teacher(subject)
    tables += _expert(subject)
    tables += _screen(subject)
    tables += _gates(subject)
    tables += [_point(subject)]
    return written(tables) + "\n" + "\n".join(_search(subject)) + "\n"


def expected_minutes(subject: Subject) -> str | None:
    """About what the recipe takes, in words; None where no step was timed."""
    if subject.step_time is None:
        return None
    trainings = [] if subject.head.trained else [Trained(_training(subject, "fine-tune").epochs, 1.0)]
    share = 1.0
    if _student(subject):
        share = _student_share(subject)
        trainings.append(Trained(_training(subject, "distill").epochs, share))
    if _shares(subject):
        trainings.append(Trained(_training(subject, "prune").epochs, share * 0.7))
    return about(minutes(subject.step_time, subject.sizes, trainings))


def _top(subject: Subject) -> Table:
    took = expected_minutes(subject)
    above = "Written by `python -m optimize new`. Every value may be changed; docs/optimize.md explains them.\n"
    above += f"A run takes {took} on the machine that wrote this (an estimate)." if took else ""
    values = {
        "name": subject.name,
        "task": subject.facts.kind,
        "description": f"{subject.checkpoint.title} on {subject.source.name}",
        "seed": 7,
    }
    return Table("", values, above=above.strip())


def _checkpoint(subject: Subject) -> Table:
    values = dict(subject.checkpoint.table)
    if subject.head.trust_order:
        values["trust_label_order"] = True
    above = f"{_capital(subject.checkpoint.title)}: {subject.checkpoint.parameters / 1e6:,.1f} million parameters."
    return Table("[checkpoint]", values, above=above)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _data(subject: Subject) -> Table:
    facts, table = subject.facts, dict(subject.source.table)
    beside = {}
    if subject.head.labels is not None:
        table["labels"] = list(subject.head.labels)
        beside["labels"] = "in the order of the checkpoint's head"
    if table.get("labels") == "teacher":
        beside["labels"] = "the rows have none: the teacher's own answers are learned, and quality is agreement with it"
    settings = {
        "bad_rows": "some rows cannot be used; `inspect` says which",
        "label_columns": "a column of 0 and 1 for each label",
        "label_variants": "some labels differ in case or spaces alone",
        "rare_labels": "some labels have too few rows to train on",
        "max_contradictory_share": "so many rows have the input of another row and not its label: look at them",
        "selection_from": "the checkpoint may know the train rows by heart, and be too sure of them to choose there",
    }
    beside |= {name: text for name, text in settings.items() if name in table}
    holdout = f", {facts.holdout.rows:,} in the holdout" if facts.holdout else ""
    labels = f", {len(facts.labels):,} labels" if facts.labelled else ""
    return Table("[data]", table, above=f"{facts.train.rows:,} rows{holdout}{labels}.", beside=beside)


def _inputs(subject: Subject) -> list[Table]:
    facts = subject.facts
    if facts.kind == "text":
        assert facts.lengths is not None, "texts have lengths"
        most = text_tokens(subject)
        cut = facts.lengths.longer_than(most)
        middle, long = (facts.lengths.quantile(share) for share in (0.5, 0.99))
        above = (
            f"Half of the texts have at most {middle} tokens, 99 % at most {long}. Of the {cut:.1%} that are longer "
            "than max_tokens the start is read."
        )
        if not facts.pairs:
            above += ' With long_texts = "windows" all of a text is.'
        return [Table("[text]", {"max_tokens": most}, above=above)]
    if subject.image is None:
        return []  # the checkpoint says how it wants its images
    above = "The checkpoint does not say how it wants its images: set here what it was trained with."
    return [Table("[image]", subject.image, above=above)]


def text_tokens(subject: Subject) -> int:
    """`max_tokens` of the recipe."""
    assert subject.facts.lengths is not None, "texts have lengths"
    return choosing.max_tokens(subject.facts.lengths, subject.checkpoint.positions)


def _training(subject: Subject, step: str) -> choosing.Training:
    return choosing.training(step, subject.sizes["train"], width=subject.width)


def _trained(subject: Subject, step: str) -> dict[str, Any]:
    chosen = _training(subject, step)
    values: dict[str, Any] = {"epochs": chosen.epochs, "learning_rate": chosen.learning_rate}
    return values if subject.width else values | {"optimizer": "sgd"}


def _teacher(subject: Subject) -> list[Table]:
    if subject.head.trained:
        return []
    values = {"step": "fine-tune", **_trained(subject, "fine-tune")}
    beside = {}
    if subject.facts.labels and not subject.source.several and choosing.balances([*subject.facts.labels.values()]):
        values["class_weights"] = "balanced"
        beside["class_weights"] = f"the most frequent label has {subject.facts.imbalance:.0f} times as many rows"
    return [Table("[[teacher]]", values, above=subject.head.reason, beside=beside)]


def _expert(subject: Subject) -> list[Table]:
    tables = [Table("[[expert]]", {"step": "export"}, above="The expert is the teacher as a graph, then in INT8.")]
    if training_device().type == "cuda":
        above = "Half precision for the GPU of this machine."
        tables.append(Table("[[expert]]", {"step": "fuse", "precision": "fp16"}, above=above))
    return [*tables, Table("[[expert]]", _quantize(subject))]


def _quantize(subject: Subject) -> dict[str, Any]:
    tolerable = _chosen_gates(subject).tolerable_loss
    return {"step": "quantize"} | ({"tolerable_loss": tolerable} if tolerable is not None else {})


def _student(subject: Subject) -> dict[str, Any]:
    config = subject.checkpoint.config
    if subject.width is None:
        depths = choosing.student_depths(config.depths)
        return {"depths": list(depths)} if depths else {}
    layers = choosing.student_layers(config)
    return {"layers": list(layers)} if layers else {}


def _student_share(subject: Subject) -> float:
    student, config = _student(subject), subject.checkpoint.config
    if "depths" in student:
        return float(sum(student["depths"]) / sum(config.depths))
    return len(student["layers"]) / int(config.num_hidden_layers)


def _shares(subject: Subject) -> dict[str, float]:
    return choosing.pruning(subject.checkpoint.config)


def _screen(subject: Subject) -> list[Table]:
    frozen = {"train_embeddings": False} if subject.width else {}
    tables = []
    if student := _student(subject):
        values = {"step": "distill", **student, **_trained(subject, "distill"), **frozen, "control": False}
        beside = {"control": "true also trains the student on labels alone, to show what distilling gains"}
        beside |= {"layers": "the teacher's layers that the student starts from"} if subject.width else {}
        above = "The screen answers most requests: a student of fewer layers, narrowed, in INT8."
        tables.append(Table("[[screen]]", values, above=above, beside=beside))
    if shares := _shares(subject):
        tables.append(Table("[[screen]]", {"step": "prune", **shares, **_trained(subject, "prune"), **frozen}))
    if not tables:
        above = "This checkpoint is so small that a student would win nothing: the screen is its graph in INT8."
        return [Table("[[screen]]", {"step": "export"}, above=above), Table("[[screen]]", _quantize(subject))]
    return [*tables, Table("[[screen]]", {"step": "export"}), Table("[[screen]]", _quantize(subject))]


def _chosen_gates(subject: Subject) -> choosing.Gates:
    sizes, counts = subject.sizes, subject.facts.labels
    rarest = round(min(counts.values()) / subject.facts.train.rows * sizes["holdout"]) if counts else 1
    return choosing.gates(sizes, rarest, max(len(counts), 2), alpha(subject), agreement=not subject.facts.labelled)


def _gates(subject: Subject) -> list[Table]:
    chosen = _chosen_gates(subject)
    tables = []
    if chosen.of_variants is not None:
        above = f"One item of the selection set is {1 / subject.sizes['selection']:.2%}."
        tables.append(Table("[gates]", {"max_accuracy_drop": chosen.of_variants}, above=above))
    above = f"One item of the holdout is {1 / subject.sizes['holdout']:.2%}."
    for stage, values in (("expert", chosen.expert), ("cascade", chosen.cascade)):
        if values:
            tables.append(Table(f"[quality.{stage}]", values, above=above))
            above = "A cascade may differ from its expert where its promise allows it."
    return tables


def alpha(subject: Subject) -> float:
    """The share that the operating point promises, which the rows can certify."""
    return alpha_for(subject.sizes["certification"])


def _point(subject: Subject) -> Table:
    items, chosen = subject.sizes["certification"], alpha(subject)
    least = bounds(items)[0][1] if items else 1.0
    above = (
        f"With confidence {1 - DELTA:.0%} at most {chosen:.0%} of all requests get another answer than the expert's "
        f"because the screen was trusted. About {items:,} certification items can promise {least:.2%} at best; 1 % "
        f"takes {least_items(0.01)} without a miss."
    )
    return Table("[operating_point]", {"alpha": chosen, "delta": DELTA}, above=above)


def _search(subject: Subject) -> Sequence[str]:
    """A search as comments: it multiplies the time of a run."""
    student = _student(subject)
    if layers := student.get("layers"):
        name, values = "distill.layers", [layers, [layers[0], layers[-1]], [0]]
    elif depths := student.get("depths"):
        name, values = "distill.depths", [depths, [1] * len(depths)]
    else:
        return ["# There is nothing to search: the screen has no student of fewer layers."]
    values = [value for place, value in enumerate(values) if value not in values[:place]]
    text = ["Without the leading # this tries several screens, and takes the fastest one that holds:"]
    text += ["[search]", f"trials = {len(values)}", "max_accuracy_drop = 0.01", "", "[search.space]"]
    text += [f"{toml_value(name)} = {toml_value(values)}"]
    return [line.rstrip() for part in text for line in (commented(part) if part else ["#"])]
