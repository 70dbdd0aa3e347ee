from __future__ import annotations

import argparse

from optimize.score.asked import Asked
from optimize.traffic.arguments import add_traffic, asked_of


def test_the_options_say_how_traffic_is_read() -> None:
    parser = argparse.ArgumentParser()
    add_traffic(parser)
    options = parser.parse_args(["--traffic", "logs.ndjson.gz", "--text-column", "message", "--encoding", "cp1252"])
    assert str(options.traffic) == "logs.ndjson.gz"
    assert asked_of(options) == Asked(text_column="message", encoding="cp1252")
    assert parser.parse_args([]).traffic is None
