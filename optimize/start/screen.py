"""The screen of a recipe that is written: a student of the checkpoint or of one of its own, narrowed, in INT8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optimize.start import choosing
from optimize.start.cost import Trained
from optimize.start.subject import Subject
from optimize.start.toml import Table, commented, toml_value

STUDENT = "The screen answers most requests: a student of fewer layers, narrowed, in INT8."
OWN_STUDENT = "The screen answers most requests: a student that starts from a checkpoint of its own, in INT8."
TOO_SMALL = "This checkpoint is so small that a student would win nothing: the screen is its graph in INT8."
READY = (
    "Nothing in an ONNX file can be trained, so the screen is the graph itself. `new --student PATH` writes a recipe "
    "with a student from a checkpoint in PyTorch, which learns from the graph's outputs."
)
PRUNED = 0.7
"""About what a pruned model costs, of the same model before."""


def screen(subject: Subject) -> list[Table]:
    """The tables [[screen]]."""
    origin, tables = subject.origin, []
    # Embeddings of a checkpoint of its own were not trained on these texts, as those of the teacher were.
    frozen = {"train_embeddings": False} if origin is not None and origin.width else {}
    if origin is not None and (student := student_of(subject)):
        own = subject.student is not None
        trained = {**subject.trained("distill", origin), **({} if own else frozen)}
        beside = {"control": "true also trains the student on labels alone, to show what distilling gains"}
        beside |= {"layers": "the teacher's layers that the student starts from"} if origin.width else {}
        values = {"step": "distill", **student, **trained, "control": False}
        tables.append(Table("[[screen]]", values, above=OWN_STUDENT if own else STUDENT, beside=beside))
    if origin is not None and (shares := shares_of(subject)):
        pruned = {"step": "prune", **shares, **subject.trained("prune", origin), **frozen}
        tables.append(Table("[[screen]]", pruned))
    last = subject.checkpoint if origin is None else origin
    above = "" if tables else TOO_SMALL if origin is not None else READY
    tables.append(Table("[[screen]]", {"step": "export"}, above=above))
    if choosing.can(last.brought, "quantize"):
        tables.append(Table("[[screen]]", subject.quantize()))
    return tables


def student_of(subject: Subject) -> dict[str, Any]:
    """What a student starts from, as keys of `distill`; empty where there is none."""
    if subject.student is not None:
        return {"student": dict(subject.student.table)}
    if subject.origin is None:
        return {}
    config = subject.origin.config
    if subject.origin.width is None:
        depths = choosing.student_depths(config.depths)
        return {"depths": list(depths)} if depths else {}
    layers = choosing.student_layers(config)
    return {"layers": list(layers)} if layers else {}


def shares_of(subject: Subject) -> dict[str, float]:
    """What to prune, as keys of `prune`; empty where it is not worth its training."""
    return choosing.pruning(subject.origin.config) if subject.origin is not None else {}


def trainings_of(subject: Subject) -> list[Trained]:
    """The trainings of the screen."""
    origin = subject.origin
    time = subject.step_time if subject.student is None else subject.student_time
    if origin is None or time is None:
        return []
    trainings, learn_s = [], time.learn_s
    if student := student_of(subject):
        learn_s *= _share(student, origin.config)
        trainings.append(Trained(subject.training("distill", origin).epochs, learn_s))
    if shares_of(subject):
        trainings.append(Trained(subject.training("prune", origin).epochs, learn_s * PRUNED))
    return trainings


def _share(student: dict[str, Any], config: Any) -> float:
    """The share of its origin's cost that a student has."""
    if "depths" in student:
        return float(sum(student["depths"]) / sum(config.depths))
    return len(student["layers"]) / int(config.num_hidden_layers) if "layers" in student else 1.0


def search(subject: Subject) -> Sequence[str]:
    """A search as comments: it multiplies the time of a run."""
    student = student_of(subject)
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
