"""A recipe that fits what was found: its tables with their comments, as they are written."""

from __future__ import annotations

from optimize.models.device import training_device
from optimize.start import choosing
from optimize.start.cost import Trained, about, minutes
from optimize.start.promises import DELTA, bounds, least_items
from optimize.start.screen import screen, search, trainings_of
from optimize.start.subject import Subject
from optimize.start.toml import Table, written


def recipe_text(subject: Subject) -> str:
    """The recipe as TOML."""
    tables = [_top(subject), _checkpoint(subject), _data(subject)]
    tables += _inputs(subject)
    tables += _teacher(subject)
    tables += _expert(subject)
    tables += screen(subject)
    tables += _gates(subject)
    tables += [_point(subject)]
    return written(tables) + "\n" + "\n".join(search(subject)) + "\n"


def expected_minutes(subject: Subject) -> str | None:
    """About what the recipe takes, in words; None where no step was timed."""
    step = subject.step_time
    if step is None:
        return None
    epochs = 0 if subject.head.trained else subject.training("fine-tune", subject.checkpoint).epochs
    trainings = [Trained(epochs, step.learn_s), *trainings_of(subject)]
    return about(minutes(step, subject.sizes, trainings))


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
        most = subject.max_tokens
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


def _teacher(subject: Subject) -> list[Table]:
    if subject.head.trained:
        return []
    values = {"step": "fine-tune", **subject.trained("fine-tune", subject.checkpoint)}
    beside = {}
    if subject.facts.labels and not subject.source.several and choosing.balances([*subject.facts.labels.values()]):
        values["class_weights"] = "balanced"
        beside["class_weights"] = f"the most frequent label has {subject.facts.imbalance:.0f} times as many rows"
    return [Table("[[teacher]]", values, above=subject.head.reason, beside=beside)]


def _expert(subject: Subject) -> list[Table]:
    brought = subject.checkpoint.brought
    quantized = [Table("[[expert]]", subject.quantize())] if choosing.can(brought, "quantize") else []
    above = f"The expert is the {'graph as it was brought' if subject.checkpoint.graph else 'teacher as a graph'}"
    tables = [Table("[[expert]]", {"step": "export"}, above=f"{above}{', then in INT8' if quantized else ''}.")]
    if training_device().type == "cuda" and choosing.can(brought, "fuse", precision="fp16"):
        above = "Half precision for the GPU of this machine."
        tables.append(Table("[[expert]]", {"step": "fuse", "precision": "fp16"}, above=above))
    return [*tables, *quantized]


def _gates(subject: Subject) -> list[Table]:
    chosen = subject.gates
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


def _point(subject: Subject) -> Table:
    items, chosen = subject.sizes["certification"], subject.alpha
    least = bounds(items)[0][1] if items else 1.0
    above = (
        f"With confidence {1 - DELTA:.0%} at most {chosen:.0%} of all requests get another answer than the expert's "
        f"because the screen was trusted. About {items:,} certification items can promise {least:.2%} at best; 1 % "
        f"takes {least_items(0.01)} without a miss."
    )
    return Table("[operating_point]", {"alpha": chosen, "delta": DELTA}, above=above)
