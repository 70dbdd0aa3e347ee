"""What BentoML is told of each service."""

from __future__ import annotations

from serving.service_config import EXPERT_CONFIG, api_config
from serving.settings import Settings


def test_neither_logs_nor_counts_requests_in_bentomls_way() -> None:
    for config in (EXPERT_CONFIG, api_config(Settings())):
        assert (config["logging"]["access"]["enabled"], config["metrics"]["enabled"]) == (False, False)


def test_the_settings_say_how_many_processes_there_are_and_which_origins_may_ask() -> None:
    assert "http" not in api_config(Settings(workers=3)), "BentoML's own configuration holds"
    assert api_config(Settings(workers=3))["workers"] == 3
    asked = api_config(Settings(cors_origins=("https://example.org",)))["http"]["cors"]
    assert asked == {"enabled": True, "access_control_allow_origins": ["https://example.org"]}
