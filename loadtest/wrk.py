"""wrk (github.com/wg/wrk), the closed-loop client in C: so many connections, each sends when it has its answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = %s
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\nfigures {"requests": %%d, "seconds": %%.6f, "p50_ms": %%.4f, "p99_ms": %%.4f, '
    .. '"p999_ms": %%.4f, "max_ms": %%.4f, "not_2xx": %%d, "broken": %%d}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


def closed_loop(url: str, body: dict[str, Any], *, connections: int, seconds: float) -> dict[str, float]:
    """Requests, seconds, percentiles in ms, failures; and `per_s`, the 2xx answers per second."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed, and the load comes from it; apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(SCRIPT % json.dumps(json.dumps(body)))
        line = [wrk, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(script), url]
        said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"^figures (.*)$", said, flags=re.MULTILINE)
    figures: dict[str, float] = json.loads(found)
    figures["per_s"] = (figures["requests"] - figures["not_2xx"]) / figures["seconds"]
    return figures
