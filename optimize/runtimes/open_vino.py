"""OpenVINO on the CPU, opened as it is served."""

from __future__ import annotations

from dataclasses import dataclass

from optimize.runtimes.candidate import Candidate, Run, Subject
from serving.model.runtimes import OPENVINO_MISSING, is_installed, open_openvino, openvino_version


@dataclass(frozen=True)
class OpenVino(Candidate):
    """OpenVINO, with the settings of `serving.model.runtimes`."""

    @property
    def name(self) -> str:
        return "OpenVINO"

    def missing(self, subject: Subject) -> str | None:
        return None if is_installed("openvino") else OPENVINO_MISSING

    def version(self) -> str:
        return openvino_version()

    def load(self, subject: Subject, threads: int) -> Run:
        return open_openvino(subject.graph, threads)
