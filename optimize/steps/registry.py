"""The steps that a recipe may name. To add one, write its file in this folder and its line in STEPS.

The command line takes its verbs from STEPS, so this module imports nothing heavy.
"""

from __future__ import annotations

STEPS = {
    "fine-tune": "optimize.steps.fine_tune.FineTune",
    "distill": "optimize.steps.distill.Distill",
    "prune": "optimize.steps.prune.Prune",
    "export": "optimize.steps.export.Export",
    "fuse": "optimize.steps.fuse.Fuse",
    "quantize": "optimize.steps.quantize.Quantize",
}
"""Name in a recipe -> the class of the step."""
