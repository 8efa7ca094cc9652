"""Commands without their servers: one sentence, exit code 1, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from backoffice.processes import free_port

pytestmark = pytest.mark.proof

UNSET = {"DATABASE_URL": "", "REDIS_URL": ""}


def _manage(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", *argv],
        cwd=settings.BASE_DIR,
        env={**os.environ, "LOG_LEVEL": "ERROR", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_without_the_demo_running_says_how_to_start_it(tmp_path: Path) -> None:
    result = _manage("showmigrations", "--skip-checks", **UNSET, DEMO_DIR=str(tmp_path))

    assert result.returncode == 1
    assert result.stderr == (
        f"The servers of {tmp_path} are not running: start them with `make demo` in another terminal, "
        "or set DATABASE_URL and REDIS_URL.\n"
    )


def test_command_with_an_unreachable_database_names_its_address() -> None:
    port = free_port()
    result = _manage("showmigrations", "--skip-checks", DATABASE_URL=f"postgres://u:p@127.0.0.1:{port}/d")

    assert result.returncode == 1
    assert result.stderr == f"Postgres does not answer at 127.0.0.1:{port}: start it there, or correct DATABASE_URL.\n"


def test_command_with_an_unreachable_redis_names_its_address() -> None:
    port = free_port()
    code = "from django.core.cache import cache; cache.get('anything')"
    result = _manage("shell", "-c", code, REDIS_URL=f"redis://127.0.0.1:{port}/0")

    assert result.returncode == 1
    assert result.stderr == f"Redis does not answer at 127.0.0.1:{port}: start it there, or correct REDIS_URL.\n"


def test_fault_of_a_command_itself_keeps_its_traceback() -> None:
    code = "from django.db import connection; connection.cursor().execute('SELECT nothing_like_it')"
    result = _manage("shell", "-c", code)

    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "nothing_like_it" in result.stderr


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"HTTP_PORT": "eighty"}, "HTTP_PORT is a port number from 1 to 65535, not 'eighty'.\n"),
        ({"STREAM_PORT": "70000"}, "STREAM_PORT is a port number from 1 to 65535, not '70000'.\n"),
        ({"ENVIRONMENT": "test"}, "ENVIRONMENT is production, staging or local, not 'test'.\n"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run_demo"])
def test_setting_that_makes_no_sense_is_named(command: str, environment: dict[str, str], sentence: str) -> None:
    result = _manage(command, **environment)

    assert (result.returncode, result.stderr) == (1, sentence)


def test_demo_refuses_to_run_in_production(tmp_path: Path) -> None:
    result = _manage("run_demo", **UNSET, DEMO_DIR=str(tmp_path / "demo"), ENVIRONMENT="production")

    assert result.returncode == 1
    assert result.stderr == "The demo does not run with ENVIRONMENT=production: its passwords are known to everybody.\n"
    assert not (tmp_path / "demo").exists()


def test_translations_are_compiled_when_they_changed(tmp_path: Path) -> None:
    source = tmp_path / "locale" / "de" / "LC_MESSAGES" / "django.po"
    source.parent.mkdir(parents=True)
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    source.write_text(f'{header}msgid "Placing"\nmsgstr "Wird gesendet"\n')
    code = (
        "from django.conf import settings; from django.core.management import call_command\n"
        f"settings.LOCALE_PATHS = [{str(tmp_path / 'locale')!r}]\n"
        "call_command('compile_translations'); call_command('compile_translations')\n"
        "from django.utils.translation import gettext, override\n"
        "with override('de'): print(gettext('Placing'))"
    )
    result = _manage("shell", "--no-imports", "-c", code)

    assert result.stdout.splitlines() == [
        "1 of 1 catalogues compiled.",
        "0 of 1 catalogues compiled.",
        "Wird gesendet",
    ]
