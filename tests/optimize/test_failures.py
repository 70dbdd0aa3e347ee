"""Failures of the machine, as the libraries report them: files that may not grow, memory that is not there."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from optimize.__main__ import main
from optimize.failures import sentence_of

RECIPE = """
name = "full-disk"
task = "image"

[checkpoint]
source = "fresh-cifar-resnet"
depths = [1, 1, 1]
num_channels = 1
image_size = 8

[data]
source = "digits"
limit = 100

[image]
width = 8
height = 8
mode = "L"
mean = [0.3]
std = [0.4]

[[teacher]]
step = "fine-tune"
epochs = 1
learning_rate = 1e-3

[[expert]]
step = "export"

[[screen]]
step = "export"
"""


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """No file may grow further, which fails in the same calls as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("library", ["safetensors", "torch", "numpy"])
def test_no_room_for_a_file(tmp_path: Path, library: str) -> None:
    weights = torch.zeros(100_000)
    write = {
        "safetensors": lambda: save_file({"weights": weights}, tmp_path / "a.safetensors"),
        "torch": lambda: torch.save({"weights": weights}, tmp_path / "a.pt"),
        "numpy": lambda: np.savez(tmp_path / "a.npz", weights=weights.numpy()),
    }[library]
    with pytest.raises(Exception) as caught, files_up_to(20_000):  # noqa: PT011 - each library has a type of its own
        write()
    said = sentence_of(caught.value)
    assert said is not None
    assert "make room, or name a build folder on another disk with --build, and run the same command again" in said


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_no_memory(library: str) -> None:
    make = {"torch": lambda: torch.empty(10**15), "numpy": lambda: np.empty(10**15)}[library]
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        make()
    assert str(sentence_of(caught.value)).startswith("memory is out; end other programs, or lower batch_size")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory") as caught:
        (tmp_path / "file" / "below").mkdir()
    said = str(sentence_of(caught.value))
    assert said.startswith(f"this user cannot write or read there ({tmp_path}/file/below: Not a directory); mend")


@pytest.mark.parametrize("error", [ValueError("memory of things"), KeyError("disk"), OSError(2, "No such file")])
def test_other_errors_are_no_failures_of_the_machine(error: Exception) -> None:
    assert sentence_of(error) is None


def test_a_run_out_of_disk_is_one_sentence_and_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logging.disable", lambda level: None)  # for this process is not the user's
    (tmp_path / "recipe.toml").write_text(RECIPE)
    command = ["fine-tune", str(tmp_path / "recipe.toml"), "--build", str(tmp_path / "build")]
    with files_up_to(20_000):
        assert main(command) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "run the same command again: it goes on from what is there" in said
    assert main(command) == 0
    assert "made in" in capfd.readouterr().out


def test_a_home_that_cannot_be_written_is_told_before_anything_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bentoml._internal.configuration.containers import BentoMLContainer

    monkeypatch.setattr("logging.disable", lambda level: None)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "file").touch()
    BentoMLContainer.model_store_dir.set(str(tmp_path / "file" / "models"))
    try:
        assert main(["run", str(tmp_path / "recipe.toml"), "--build", str(tmp_path / "build")]) == 1
    finally:
        BentoMLContainer.model_store_dir.reset()
    said = capfd.readouterr()
    assert said.err.startswith("error: the model store cannot be written (")
    assert said.err.endswith("or set BENTOML_HOME to a folder that this user can write\n")
    assert "made in" not in said.out
