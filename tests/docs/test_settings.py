"""docs/settings.md: every setting and every argument, with its default."""

from __future__ import annotations

import json
import re

from serving.arguments import Arguments
from serving.settings import MAX_DEFAULT_WORKERS, Settings
from tests.docs.reading import read, table

TEXT = read("docs/settings.md")


def test_its_table_of_settings_has_every_setting_and_its_default() -> None:
    rows = table(TEXT, "| setting | default | is |")
    said = {name: row[1].strip("`") for row in rows for name in re.findall(r"`([a-z_]+)`", row[0])}
    assert said.pop("workers") == f"one for each core, up to {MAX_DEFAULT_WORKERS}"
    there = Settings().model_dump(mode="json", exclude={"workers"})
    assert {name: json.loads(value) for name, value in said.items()} == there


def test_its_table_of_arguments_has_every_argument_and_its_default() -> None:
    rows = table(TEXT, "| argument | default | is |")
    said = {name: row[1].strip("`") for row in rows for name in re.findall(r"`([a-z_]+)`", row[0])}
    there = {name: str(value).lower() if value is False else value for name, value in Arguments().model_dump().items()}
    assert said == there
