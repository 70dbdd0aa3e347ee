"""The files of an artifact: which are taken, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors import ArtifactError
from serving.model.files import check_file, require_no_other, sha256_of


def test_a_file_is_taken_by_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    known = sha256_of(tmp_path / "a")
    check_file(tmp_path, "a", known)
    (tmp_path / "a").write_bytes(b"two")
    with pytest.raises(ArtifactError, match="its sha256 is not the one in"):
        check_file(tmp_path, "a", known)
    with pytest.raises(ArtifactError, match="names this file and it is not there; make and publish the artifact anew"):
        check_file(tmp_path, "b", known)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"one")
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(ArtifactError, match="a symbolic link that leads out of it"):
        check_file(tmp_path / "artifact", "a", sha256_of(tmp_path / "outside"))


def test_a_file_beside_a_graph_must_be_listed(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    graph, weights = tmp_path / "model.onnx", tmp_path / "weights" / "model.data"
    for path in (graph, weights):
        path.touch()
    require_no_other(tmp_path, {graph, weights})
    with pytest.raises(ArtifactError, match=r"model.data: every file beside a graph must be one of files"):
        require_no_other(tmp_path, {graph})
