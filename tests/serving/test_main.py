"""`python -m serving new-key`: what it prints, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.__main__ import main
from serving.http.keys import Keys, read_keys


def test_the_entry_goes_into_the_file_and_the_key_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.toml"
    keys = {}
    for name, more in (("shop", ["--requests-per-second", "50"]), ("own", ["--right", "classify", "--right", "admin"])):
        assert main(["new-key", name, *more]) == 0
        said = capsys.readouterr()
        with file.open("a") as out:  # as `>>` does
            out.write(said.out)
        keys[name] = said.err.splitlines()[-1]
        assert keys[name] not in said.out
    found = Keys(read_keys(file))
    for name, rights in (("shop", {"classify"}), ("own", {"classify", "admin"})):
        key = found.find(keys[name])
        assert key is not None
        assert (key.name, key.rights) == (name, rights)


def test_a_name_that_cannot_be_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-key", "Shop"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: the name of a key must be 1 to 63 of")


def test_a_right_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["new-key", "shop", "--right", "everything"])
    assert "invalid choice" in capsys.readouterr().err
