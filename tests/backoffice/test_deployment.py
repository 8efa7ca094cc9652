"""The settings as production has them: complete, strict, and refused when something is missing."""

import os
import subprocess
import sys

import pytest
import yaml
from django.conf import settings

from backoffice.health import PARTS

pytestmark = pytest.mark.proof

PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "".join(map(chr, range(48, 123))),
    "ALLOWED_HOSTS": "broker.example.com",
}


def _manage(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "manage.py", *argv],
        cwd=settings.BASE_DIR,
        env={**os.environ, **PRODUCTION, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_djangos_checks_for_production_find_nothing() -> None:
    result = _manage("check", "--deploy", "--fail-level", "INFO")
    assert (result.returncode, result.stdout) == (0, "System check identified no issues (0 silenced).\n"), result.stderr


def test_production_has_no_secret_of_its_own() -> None:
    result = _manage("check", SECRET_KEY="")
    assert result.returncode == 1
    assert "Set SECRET_KEY to a long random text" in result.stderr


def test_a_network_that_is_none_is_refused_by_name() -> None:
    result = _manage("check", STAFF_NETWORKS="10.0.0.0/8,office")
    assert result.returncode == 1
    assert result.stderr.startswith("STAFF_NETWORKS is a list of networks")


def test_commands_of_the_demo_refuse_production() -> None:
    for argv in (["make_assertion"], ["expire_token", "x"], ["give_token", "x"], ["seed_demo"]):
        result = _manage(*argv)
        assert result.returncode == 1, argv
        assert "production" in result.stderr


def test_what_protects_is_on_in_production() -> None:
    code = (
        "from django.conf import settings as s;"
        "print(s.SECURE_HSTS_SECONDS, s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_SSL_REDIRECT, s.ALLOWED_HOSTS,"
        " s.SECOND_FACTOR_REQUIRED, s.SESSION_COOKIE_NAME, s.SESSION_COOKIE_AGE, s.REAUTHENTICATION_SECONDS,"
        " any('localhost' in origin for origin in s.DEFAULT_ORIGINS))"
    )
    result = _manage("shell", "-v", "0", "-c", code)
    assert result.stdout == "63072000 True True ['broker.example.com'] True __Host-session 1800 600 False\n"


def test_the_compose_file_runs_every_part_that_health_asks_for() -> None:
    services = yaml.safe_load((settings.BASE_DIR / "compose.yaml").read_text())["services"]
    assert {*PARTS, "web", "beat", "postgres", "redis", "migrate"} <= set(services)
    others = {"web", "migrate"}
    for name, service in services.items():
        if service.get("image") == "broker-backoffice" and name not in others:
            assert service["environment"]["PART"] == name
