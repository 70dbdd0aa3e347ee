"""Nothing that serves decides by the time of day, which may be set back: all limits are of monotonic clocks."""

from __future__ import annotations

import re

from tests.rules.test_imports import ROOT

TIME_OF_DAY = re.compile(r"\btime\.time(_ns)?\b|\bfrom time import .*\btime\b|\b(datetime|date)\.(now|utcnow|today)\b")
TOLD = {
    "serving/audit/shared.py": "when a promise broke",
    "serving/watch/observer.py": "the access log",
    "serving/watch/spans.py": "traces",
}


def test_the_time_of_day_is_told_and_never_looked_at() -> None:
    files = [ROOT / "service.py", *(ROOT / "serving").rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in files if TIME_OF_DAY.search(path.read_text("utf-8"))}
    assert found == set(TOLD)
