from __future__ import annotations

from xml.etree import ElementTree

from optimize.runtimes.pictures import dots
from tests.optimize.runtimes.facts import FACTS


def test_the_picture_names_every_runtime_that_ran() -> None:
    picture = dots(FACTS)
    ElementTree.fromstring(picture)
    for expected in ("ONNX Runtime", "OpenVINO", "Another", "2.00 times", "batch size 8", "items/s of made-screen"):
        assert expected in picture
    assert "TensorRT" not in picture
    assert dots(FACTS) == picture
