"""The rule that decides between screen and expert. Pure: no clock, no I/O beyond reading its own file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.answer import Answer
from serving.artifact import OPERATING_POINT
from serving.errors import ArtifactError


class OperatingPoint(BaseModel):
    """The deferral threshold, what it was chosen on and what it gave there (on the selection set)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(ge=0.0)
    """Answers with a confidence below this defer to the expert; above 1 everything defers, 0 defers nothing."""
    screen_digest: str
    expert_digest: str
    selection_size: int = Field(ge=1)
    escalation_share: float = Field(ge=0.0, le=1.0)
    agreement_share: float = Field(ge=0.0, le=1.0)
    """Share of the selection set on which the cascade's answer is the expert's."""

    @classmethod
    def read(cls, folder: Path) -> OperatingPoint:
        """Read operating-point.json of a screen's artifact folder; ArtifactError when missing or malformed."""
        path = folder / OPERATING_POINT
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ArtifactError(
                f"{folder} has no {OPERATING_POINT}: a screen is served with the threshold chosen for it; "
                "run `python -m optimize run RECIPE` again"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(f"{path}: {where}: {first['msg']}; publish the screen again") from None

    def require_pair(self, screen_digest: str, expert_digest: str) -> None:
        """Raise ArtifactError unless this point was chosen for exactly these two artifacts."""
        chosen_for, got = (self.screen_digest, self.expert_digest), (screen_digest, expert_digest)
        if chosen_for != got:
            raise ArtifactError(
                "the operating point was chosen for another pair of screen and expert "
                f"({chosen_for[0][:12]}, {chosen_for[1][:12]}; these are {got[0][:12]}, {got[1][:12]}); "
                "publish both from one run"
            )


def should_defer(answer: Answer, point: OperatingPoint) -> bool:
    """True when the screen's answer is not sure enough to stand."""
    return answer.confidence < point.threshold
