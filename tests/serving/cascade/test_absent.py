"""A missing model is told with the command that makes it, and the cascades that are there."""

from __future__ import annotations

from serving.cascade.absent import absent


def test_it_names_the_command_and_what_is_there() -> None:
    said = absent("sms-risk-operating-point:latest", ["b-screen", "b-expert", "a-screen", "other"])
    assert said.startswith(
        "model sms-risk-operating-point:latest is not in the BentoML model store; make it with `python -m optimize run "
        "sms-risk`, with"
    )
    assert said.endswith("Cascades that are there: a, b")
    assert absent("x-screen:latest", []).endswith(": none")
