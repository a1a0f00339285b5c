"""docker-compose.yml against what the roles understand.

Read by `docker compose config` where that client is, else as YAML with the variables put in.
"""

import base64
import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from event_router.router.cli import app
from event_router.router.settings import Settings, SettingsError, read_settings
from event_router.router.store.database import database_url
from tests.services import ROOT

GIVEN = {
    "ROUTER_API_KEY": "an-api-key",
    "ROUTER_JWT_SECRET": "a-jwt-secret",
    "ROUTER_SECRETS_KEYS": f"k1:{base64.b64encode(bytes(32)).decode()}",
}
FILE = ROOT / "docker-compose.yml"
ROLES = ("api", "stream", "deliver", "log", "jobs")
STORES = ("kafka", "redis", "postgres")


def _docker_compose(environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["docker", "compose", "--file", str(FILE), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def _has_client() -> bool:
    if shutil.which("docker") is None:
        return False
    version = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return version.returncode == 0


def _read_as_yaml() -> Any:
    def value(match: re.Match[str]) -> str:
        return GIVEN[match[1]]

    return yaml.safe_load(re.sub(r"\$\{(\w+)(?::?[-?][^}]*)?\}", value, FILE.read_text()))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services by name."""
    if not _has_client():
        return dict(_read_as_yaml()["services"])
    done = _docker_compose(GIVEN)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["services"])


def _settings(service: dict[str, Any]) -> Settings:
    return read_settings(service["environment"])


def test_there_is_a_service_for_each_role_and_each_store(compose: dict[str, Any]) -> None:
    assert set(compose) == {*ROLES, "init", *STORES}


@pytest.mark.parametrize("role", [*ROLES, "init"])
def test_a_role_gets_settings_that_it_understands(compose: dict[str, Any], role: str) -> None:
    settings = _settings(compose[role])
    assert settings.kafka == "kafka:29092"
    assert settings.api_key.get_secret_value() == GIVEN["ROUTER_API_KEY"]
    assert settings.secrets_keys == (GIVEN["ROUTER_SECRETS_KEYS"],)
    assert compose[role]["command"] == [role]


@pytest.mark.parametrize("role", [*ROLES, "init"])
def test_what_a_role_is_started_with_is_there(compose: dict[str, Any], role: str) -> None:
    said = CliRunner().invoke(app, [*compose[role]["command"], "--help"])
    assert said.exit_code == 0, said.output
    check = compose[role]["healthcheck"]
    if "test" in check:
        assert find_spec(check["test"][3]) is not None


def test_the_image_is_built_from_what_is_there(compose: dict[str, Any]) -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--)(.+)", text, re.MULTILINE)]
    assert copied
    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []
    uploads = _settings(compose["api"]).uploads_dir
    assert f"/{str(uploads).strip('/')}" in text, "its owner must be the user that writes there"
    assert _settings(compose["jobs"]).uploads_dir == uploads


def test_every_volume_is_declared(compose: dict[str, Any]) -> None:
    used = {
        volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        for service in compose.values()
        for volume in service.get("volumes", [])
    }
    assert used == set(_read_as_yaml()["volumes"])


def test_a_misspelt_setting_would_be_found(compose: dict[str, Any]) -> None:
    environ = {**compose["stream"]["environment"], "ROUTER_KAFAK": "kafka:29092"}
    with pytest.raises(SettingsError, match="did you mean ROUTER_KAFKA"):
        read_settings(environ)


@pytest.mark.parametrize("role", ROLES)
def test_the_health_check_asks_where_the_role_listens(compose: dict[str, Any], role: str) -> None:
    settings = _settings(compose[role])
    port = settings.api_port if role == "api" else settings.health_port
    asked = compose[role]["healthcheck"]["test"]
    assert asked == [
        "CMD", "python", "-m", "event_router.router.readiness", f"http://127.0.0.1:{port}",
    ]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_a_role_starts_when_topics_and_tables_are_made(compose: dict[str, Any], role: str) -> None:
    needed = {name: how["condition"] for name, how in compose[role]["depends_on"].items()}
    assert needed == {"init": "service_completed_successfully"}


@pytest.mark.parametrize("store", STORES)
def test_init_waits_for_each_store_and_its_data_are_kept(
    compose: dict[str, Any], store: str
) -> None:
    assert compose["init"]["depends_on"][store]["condition"] == "service_healthy"
    assert compose[store]["healthcheck"]["test"][0] == "CMD"
    assert len(compose[store]["volumes"]) == 1


def test_both_databases_are_the_one_that_postgres_makes(compose: dict[str, Any]) -> None:
    made = compose["postgres"]["environment"]
    settings = _settings(compose["log"])
    for url in (database_url(settings.database), database_url(settings.log_database)):
        assert url.host == "postgres"
        assert (url.username, url.password) == (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"])
        assert url.database == made["POSTGRES_DB"]


def test_kafka_says_the_address_that_the_roles_ask(compose: dict[str, Any]) -> None:
    advertised = compose["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert _settings(compose["stream"]).kafka in advertised


def test_nothing_is_reachable_from_other_machines(compose: dict[str, Any]) -> None:
    published = [port for service in compose.values() for port in service.get("ports", [])]
    hosts = {
        port["host_ip"] if isinstance(port, dict) else port.split(":")[0] for port in published
    }
    assert hosts == {"127.0.0.1"}
