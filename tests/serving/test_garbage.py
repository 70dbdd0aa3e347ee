"""The garbage collector of a server that has warmed up."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

SCRIPT = """
import gc, weakref
from serving.garbage import freeze_garbage
kept, circle = [[] for _ in range(1000)], []
circle.append(circle)
del circle
freeze_garbage()
assert gc.get_freeze_count() > 1000, "what exists is left out of collections"
assert gc.get_threshold()[0] > 10_000, "young objects are collected more rarely than by default"
assert gc.isenabled()
circle = []
circle.append(circle)
del circle
assert gc.collect() >= 1, "new garbage is still collected"
class Node: pass
node = Node()
node.itself = node
gone = weakref.ref(node)
freeze_garbage()
del node
gc.collect()
assert gone() is not None, "it was frozen"
freeze_garbage()
assert gone() is None, "what was frozen and became garbage is collected by the next call"
"""


def test_what_exists_is_frozen_and_new_garbage_is_collected() -> None:
    # In a process of its own: the tests' own collector stays as it is.
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
