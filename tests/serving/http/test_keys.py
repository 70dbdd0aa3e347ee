"""The file of API keys: what it takes, what it refuses without repeating it, and how it is followed."""

from __future__ import annotations

import logging
import os
import tomllib
from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.http.keys import BITS, PREFIX, RIGHTS, Key, Keys, KeysFile, digest_of, new_key, read_keys

KEY, ENTRY = new_key("shop", ["classify", "high-priority"], 50)
OTHER, OTHER_ENTRY = new_key("prometheus", ["metrics"])


def written(folder: Path, *entries: str) -> Path:
    path = folder / "keys.toml"
    path.write_text("\n".join(entries))
    return path


def replaced(path: Path, text: str) -> None:
    """Write the file anew, as an editor does. A clock of coarse steps may give both the same time."""
    other = path.with_name("new")
    other.write_text(text)
    os.replace(other, path)


def test_a_new_key_is_found_by_its_entry_and_by_no_other_characters(tmp_path: Path) -> None:
    keys = Keys(read_keys(written(tmp_path, ENTRY, OTHER_ENTRY)))
    shop, prometheus = keys.find(KEY), keys.find(OTHER)
    assert shop is not None
    assert prometheus is not None
    assert (shop.name, shop.rights) == ("shop", {"classify", "high-priority"})
    assert (prometheus.name, prometheus.rights, prometheus.rate) == ("prometheus", {"metrics"}, None)
    for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), digest_of(KEY).hex(), "\udcff", "ä"):
        assert keys.find(wrong) is None


def test_a_key_is_random_and_stands_in_no_file(tmp_path: Path) -> None:
    made = {new_key("shop", ["classify"]) for _ in range(50)}
    assert len({key for key, _ in made}) == 50
    for key, entry in made:
        assert key.startswith(PREFIX)
        assert len(key) - len(PREFIX) >= BITS / 6
        assert key not in entry


def test_a_digest_that_only_begins_alike_is_another_key() -> None:
    near = digest_of(KEY)[:-1] + bytes([digest_of(KEY)[-1] ^ 1])
    assert Keys([Key("near", near, ["classify"])]).find(KEY) is None


def test_each_process_gives_its_share_of_a_rate(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY)
    for share, most in ((1.0, 50), (0.5, 25)):
        key = Keys(read_keys(path, share)).find(KEY)
        assert key is not None
        assert key.rate is not None
        assert sum(key.rate.take(1000.0) == 0 for _ in range(100)) == most


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must have a key, got none; make one with `python -m serving new-key NAME`"),
        (f"[shop]\nrights = ['classify']\ndigest = '{KEY}'", "shop.digest: String should match pattern"),
        ("[shop]\nrights = ['classify']\ndigest = 5", "shop.digest: Input should be a valid string"),
        (ENTRY.replace("classify", "classfy"), "shop.rights.0: Input should be 'classify', 'high-priority'"),
        (ENTRY.replace('["classify", "high-priority"]', "[]"), "shop.rights: List should have at least 1 item"),
        (ENTRY.replace("= 50", "= 0"), "shop.requests_per_second: Input should be greater than 0"),
        (ENTRY.replace("= 50", "= inf"), "shop.requests_per_second: Input should be a finite number"),
        (ENTRY.replace("= 50", "= true"), "shop.requests_per_second: Input should be a valid number"),
        (ENTRY + "colour = 1", "shop.colour: Extra inputs are not permitted"),
        (ENTRY + ENTRY, r"must be TOML, got something else \(line 5, column"),
        (ENTRY.replace('"shop"', "none"), "the name of a key must be 1 to 63 of a-z, .* neither none nor operator"),
        (ENTRY.replace('"shop"', "operator"), "the name of a key must be"),
        (ENTRY.replace('"shop"', '"Shop"'), "the name of a key must be"),
        (ENTRY + ENTRY.replace("shop", "store"), "each key must have one name, got the same digest for shop and store"),
        ("shop", r"must be TOML, got something else \(end of document\)"),
        ("shop = 'sieve_abc'", "shop: Input should be a valid dictionary"),
    ],
    ids=[
        *("empty", "key", "number", "right", "rights", "zero", "infinite", "boolean", "colour", "twice"),
        *("none", "operator", "capital", "same", "word", "string"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_never_repeated(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        read_keys(written(tmp_path, text))
    assert KEY not in str(caught.value)
    assert digest_of(KEY).hex() not in str(caught.value)
    assert "sieve_abc" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="keys must be a file that can be read, got FileNotFoundError"):
        read_keys(tmp_path / "none.toml")
    (tmp_path / "latin").write_bytes("# Schlüssel".encode("latin-1"))
    with pytest.raises(SettingsError, match="must be TOML, got bytes that are not UTF-8"):
        read_keys(tmp_path / "latin")


def test_a_changed_file_counts_and_a_bad_one_leaves_the_keys_as_they_were(
    tmp_path: Path, logged: list[logging.LogRecord]
) -> None:
    path = written(tmp_path, ENTRY)
    keys = KeysFile(path, more=[Key("operator", digest_of("of operators"), ["admin"])])
    keys.look()
    replaced(path, OTHER_ENTRY)
    keys.look()
    assert keys.find(KEY) is None
    assert keys.find(OTHER) is not None
    assert keys.find("of operators") is not None
    assert not logged
    for bad in ("", "[shop", None):
        if bad is None:
            path.unlink()
        else:
            replaced(path, bad)
        for _ in range(3):
            keys.look()
        assert keys.find(OTHER) is not None
        (said,) = logged
        assert said.levelno == logging.ERROR
        assert said.getMessage().endswith("The keys that were read before go on")
        logged.clear()
    replaced(path, ENTRY)
    keys.look()
    assert keys.find(KEY) is not None
    assert keys.find(OTHER) is None


def test_a_secret_of_kubernetes_is_followed(tmp_path: Path) -> None:
    """The kubelet replaces a link to a folder, and so the file below it."""
    for name, entry in (("first", ENTRY), ("second", OTHER_ENTRY)):
        (tmp_path / name).mkdir()
        written(tmp_path / name, entry)
    (tmp_path / "data").symlink_to("first")
    (tmp_path / "keys.toml").symlink_to("data/keys.toml")
    keys = KeysFile(tmp_path / "keys.toml")
    (tmp_path / "next").symlink_to("second")
    os.replace(tmp_path / "next", tmp_path / "data")
    keys.look()
    assert keys.find(OTHER) is not None


@pytest.mark.parametrize("name", ["Shop", "", "a b", "none", "operator", "x" * 64, "-x", "ä"])
def test_no_key_is_made_with_a_name_that_the_file_refuses(name: str) -> None:
    with pytest.raises(SettingsError, match="the name of a key must be"):
        new_key(name, ["classify"])


def test_every_right_can_be_given(tmp_path: Path) -> None:
    for name in ("shop", "a.b", "a_b-c"):
        key, entry = new_key(name, RIGHTS, 0.5)
        assert tomllib.loads(entry)[name]["requests_per_second"] == 0.5
        found = Keys(read_keys(written(tmp_path, entry))).find(key)
        assert found is not None
        assert found.rights == set(RIGHTS)
    for per_s in (0, -1, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="requests_per_second must be above 0"):
            new_key("shop", ["classify"], per_s)
