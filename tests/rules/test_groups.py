"""The tests of a file run in one process of pytest-xdist, and those of a folder that shares what is dear."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT

FILE = "import os\n\nimport pytest\n\n\n@pytest.mark.parametrize('n', range(20))\ndef test_it(n, process): process()\n"
CONFTEST = """
import os, pathlib, pytest
from tests.conftest import pytest_xdist_make_scheduler

@pytest.fixture
def process(request):
    place = pathlib.Path("ran") / f"{request.path.parent.name}-{request.path.stem}-{os.getpid()}"
    return lambda: (place.parent.mkdir(exist_ok=True), place.touch())
"""


def test_the_tests_of_a_file_or_a_dear_folder_run_in_one_process(tmp_path: Path) -> None:
    for name in ("one/test_a.py", "one/test_b.py", "broken/test_c.py", "broken/test_d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(FILE, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--numprocesses", "2", "--dist", "loadscope"]
    subprocess.run(command, cwd=tmp_path, timeout=300, check=True)
    ran = [path.name.split("-") for path in (tmp_path / "ran").iterdir()]
    assert sorted(file for _, file, _ in ran) == ["test_a", "test_b", "test_c", "test_d"]
    assert len({process for folder, _, process in ran if folder == "broken"}) == 1
