"""What `manage.py` runs. It adds one thing to Django's: servers that do not run are a sentence, not a traceback."""

import socket
import sys
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured


def run(argv: list[str]) -> None:
    """Execute the command of the command line; exit code 1 with a sentence when it cannot reach its servers."""
    try:
        if argv[1:] == ["run_demo"]:
            from backoffice import launcher

            sys.exit(launcher.main())  # without Django: it starts what Django's settings lead to
        _execute(argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))


def _execute(argv: list[str]) -> None:
    import redis
    from django.core.management import execute_from_command_line
    from django.db import Error as DatabaseError
    from kombu.exceptions import OperationalError as BrokerError

    from backoffice.audit import context

    try:
        with context.using(context.Context(source=f"command {' '.join(argv[1:2])}")):
            execute_from_command_line(argv)
    except (DatabaseError, redis.RedisError, BrokerError, OSError):
        if sentence := _unreachable():
            sys.exit(sentence)
        raise


def _unreachable() -> str | None:
    """Which server takes no connections, and what to do; None when both do, so that the fault is another."""
    from django.conf import settings

    database: dict[str, Any] = settings.DATABASES["default"]
    told = "REDIS_SENTINELS" if settings.REDIS_SENTINELS else "REDIS_URL"
    address = urlsplit(f"redis://{settings.REDIS_SENTINELS[0]}" if settings.REDIS_SENTINELS else settings.REDIS_URL)
    for name, variable, host, port in (
        ("Postgres", "DATABASE_URL", database["HOST"], database["PORT"] or 5432),
        ("Redis", told, address.hostname, address.port or 6379),
    ):
        if _takes_connections(host, port):
            continue
        embedded = settings.EMBEDDED_DATABASE if name == "Postgres" else settings.EMBEDDED_REDIS
        if embedded:
            return (
                f"The servers of {settings.DEMO_DIR} are not running: start them with `make demo` in another terminal, "
                "or set DATABASE_URL and REDIS_URL."
            )
        return f"{name} does not answer at {host}:{port}: start it there, or correct {variable}."
    return None


def _takes_connections(host: str | None, port: int | str) -> bool:
    if not host or host.startswith("/"):
        return True  # a Unix socket: whoever set that knows where to look
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        return False
    return True
