"""Settings files: defaults, what is wrong with one, and which is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import settings as module
from serving.errors import SettingsError
from serving.settings import Settings, for_machines, read_settings, settings_of


def written(folder: Path, text: str, name: str = "settings.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    got = read_settings(written(tmp_path, "workers = 3\nbatch_window_ms = 1.5\n"))
    assert got == Settings(workers=3, batch_window_ms=1.5)
    assert read_settings(written(tmp_path, "")) == Settings()
    got = read_settings(written(tmp_path, "image_formats = ['png', 'heif']"))
    assert got == Settings(image_formats=("png", "heif"))
    got = read_settings(
        written(tmp_path, "page = false\ncors_origins = ['https://a.example', 'http://127.0.0.1:8080']")
    )
    assert got == Settings(page=False, cors_origins=("https://a.example", "http://127.0.0.1:8080"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("workers = 0", "workers: .*greater than or equal to 1.*int"),
        ("workers = 'two'", "workers: .*str"),
        ("workers = true", "workers: .*bool"),
        ("colour = 1", "colour: .*known: workers, .*max_in_flight, image_formats"),
        ("workers", "must be TOML"),
        ("image_formats = ['png', 'svg']", "image_formats.1: Input should be 'jpeg', 'png', .*str"),
        ("image_formats = []", "image_formats: .*at least 1"),
        ("max_batch_size = 129", "max_batch_size: .*128"),
        ("page = 1", "page: .*boolean.*int"),
        ("keep_payloads = 0.1", "keep_payloads needs payload_folder"),
        ("payload_folder = 'here'", "payload_folder: .*pattern.*str"),
        ("feedback_memory = -1", "feedback_memory: .*int"),
        ("cors_origins = '*'", "cors_origins: .*str"),
        ("cors_origins = ['https://a.example/']", "cors_origins.0: .*pattern.*str"),
        ("cors_origins = ['a.example']", "cors_origins.0: .*pattern.*str"),
        ("requests_per_address = -1", "requests_per_address: .*greater than or equal to 0.*int"),
        ("trusted_proxies = ['10.0.0.0/8', 'proxy']", "trusted_proxies.1: .*must be an address, or a network.*str"),
        ("trusted_proxies = ['*']", "trusted_proxies.0: .*must be an address"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_settings(written(tmp_path, text))
    with pytest.raises(SettingsError, match="file that can be read"):
        read_settings(tmp_path / "none.toml")


def test_the_stated_file_comes_before_the_one_beside_the_service(tmp_path: Path) -> None:
    assert settings_of("", tmp_path) == Settings()
    written(tmp_path, "workers = 2")
    written(tmp_path, "workers = 3", "other.toml")
    assert settings_of("", tmp_path).workers == 2
    assert settings_of("other.toml", tmp_path).workers == 3
    with pytest.raises(SettingsError):
        settings_of("missing.toml", tmp_path)


@pytest.mark.parametrize(
    ("variable", "setting", "most"),
    [("SIEVE_WORKERS", "workers", 256), ("SIEVE_CALLS_IN_FLIGHT", "calls_in_flight", 16)],
)
def test_what_differs_between_machines_may_come_from_a_variable(variable: str, setting: str, most: int) -> None:
    settings = Settings(workers=3)
    assert for_machines(settings, {}) == for_machines(settings, {variable: ""}) == settings
    assert for_machines(settings, {variable: "4"}) == settings.model_copy(update={setting: 4})
    for wrong in ("0", str(most + 1), "two", "1.5"):
        with pytest.raises(SettingsError, match=f"{variable}: must be a whole number from 1 to {most}"):
            for_machines(settings, {variable: wrong})


def test_where_experts_run_may_come_from_a_variable() -> None:
    settings = Settings(workers=3)
    assert for_machines(settings, {"SIEVE_DEVICE": "gpu:1"}) == settings.model_copy(update={"device": "gpu:1"})
    assert for_machines(settings, {"SIEVE_DEVICE": ""}) == settings
    with pytest.raises(SettingsError, match=r"^SIEVE_DEVICE: must be auto, cpu, gpu or as in gpu:0,1, got something"):
        for_machines(settings, {"SIEVE_DEVICE": "cuda"})


@pytest.mark.parametrize(("there", "workers"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_there_is_a_process_for_each_core_up_to_four(monkeypatch: pytest.MonkeyPatch, there: int, workers: int) -> None:
    monkeypatch.setattr(module, "cores", lambda: there)
    assert Settings().workers == workers


def test_a_folder_and_an_address_may_come_from_a_variable() -> None:
    variables = {"SIEVE_AUDIT_FOLDER": "/var/lib/sieve", "SIEVE_AUDIT_URL": "nats://a:4222"}
    found = for_machines(Settings(), variables)
    assert (found.audit_folder, found.audit_url) == ("/var/lib/sieve", "nats://a:4222")
    assert for_machines(found, {"SIEVE_AUDIT_URL": ""}) == found
    for variable, wrong in {"SIEVE_AUDIT_FOLDER": "here", "SIEVE_AUDIT_URL": "http://me:secret@a"}.items():
        with pytest.raises(SettingsError, match=f"{variable}: must be what the setting audit_.* takes") as caught:
            for_machines(Settings(), {variable: wrong})
        assert wrong not in str(caught.value)


@pytest.mark.parametrize("url", ["", "nats://a", "nats://me:secret@a:4222", "tls://a:4222,tls://[::1]:4223"])
def test_the_url_of_a_broker_names_servers_and_is_never_shown(url: str) -> None:
    assert "secret" not in repr(Settings(audit_url=url))


@pytest.mark.parametrize("url", ["a:4222", "http://a", "nats://a/b", "nats://a,", "nats:// a", "nats://"])
def test_another_url_is_no_broker(url: str) -> None:
    with pytest.raises(ValueError, match="audit_url"):
        Settings(audit_url=url)
