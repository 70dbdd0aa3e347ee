"""wrk (github.com/wg/wrk), a closed-loop client in C: each connection sends its next request when it has an answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from loadtest.errors import WrkMissingError

SCRIPT = Path(__file__).parent.parent / "quick.lua"


def closed_loop(url: str, body: Mapping[str, object], *, connections: int, seconds: float) -> dict[str, float]:
    """Send `body` as JSON over and over; the figures of quick.lua, and `per_s`, the 2xx answers per second.

    Raises WrkMissingError where wrk is not installed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise WrkMissingError("wrk is not installed, and the load comes from it; apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "body.json"
        file.write_text(json.dumps(body))
        line = [wrk, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(SCRIPT), url]
        said = subprocess.run([*line, "--", str(file)], capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"^figures (.*)$", said, flags=re.MULTILINE)
    figures: dict[str, float] = json.loads(found)
    figures["per_s"] = (figures["requests"] - figures["not_2xx"]) / figures["seconds"]
    return figures
