"""docs/data.md: its settings, defaults and files are those that there are."""

from __future__ import annotations

import re
import tomllib

import pytest
from pydantic import TypeAdapter

from optimize.data.readers import DataConfig, DigitsData, FilesData, FolderData, HubData, NpzData, PaymentsData
from optimize.data.sources import AnyData
from optimize.data.tables import JSON, PARTS, USUAL
from tests.docs.reading import blocks, read, table

TEXT = read("docs/data.md")
SOURCES = (FilesData, FolderData, NpzData, HubData, PaymentsData, DigitsData)


def names(cell: str) -> list[str]:
    return re.findall(r"`\"?([\w.]+)\"?`", cell)


def test_its_sources_have_the_keys_that_it_names() -> None:
    stated = {
        source: set(names(reads)) for cell, reads in table(TEXT, "| `source` | reads |") for source in names(cell)
    }
    assert set(stated) == {config.model_fields["source"].annotation.__args__[0] for config in SOURCES}
    for config in SOURCES:
        source = config.model_fields["source"].annotation.__args__[0]
        assert stated[source] - {"datasets"} <= set(config.model_fields)


def test_its_settings_have_the_defaults_that_it_states() -> None:
    rows = table(TEXT, "| setting | default | what it does |")
    defaults = {name: default.strip("`") for cell, default, _ in rows for name in names(cell)}
    assert set(defaults) == set(AnyData.model_fields)
    for name, default in defaults.items():
        value = AnyData.model_fields[name].default
        assert default == ("none" if value is None else f'"{value}"' if isinstance(value, str) else str(value))


def test_its_files_are_those_that_are_read() -> None:
    stated = {suffix for cell, _ in table(TEXT, "| file | read as |") for suffix in re.findall(r"`(\.\w+)`", cell)}
    assert stated == PARTS | set(USUAL) | JSON


def test_its_example_is_a_source() -> None:
    example, unlabelled = (
        TypeAdapter(DataConfig).validate_python(tomllib.loads(block)["data"]) for block in blocks(TEXT, "toml")
    )
    assert example.rare_labels == "other"
    assert unlabelled.labels == "teacher"


@pytest.mark.parametrize("page", ["docs/data.md", "docs/optimize.md"])
def test_both_pages_name_the_sources(page: str) -> None:
    for source in ("files", "folder", "npz", "hub"):
        assert source in read(page)


def test_the_examples_of_label_sets_are_sources() -> None:
    cells, columns = (
        TypeAdapter(DataConfig).validate_python(tomllib.loads(block)["data"])
        for block in blocks(read("docs/labels.md"), "toml")
    )
    assert cells.multi_label
    assert columns.label_columns == ("toxic", "obscene", "threat")
