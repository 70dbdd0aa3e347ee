from __future__ import annotations

import subprocess
import sys

from tests.commands import ROOT


def test_listing_the_steps_imports_no_torch() -> None:
    line = "import sys, optimize.steps.registry as r; print(len(r.STEPS), {'torch', 'pydantic'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "6 set()\n"
