"""`manage.py watch_stream`: one more reader of `/tv/streaming`, which compares it with the history."""

from __future__ import annotations

import http.client
import logging
import signal
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django import db
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounts import tokens
from accounts.models import User
from tvapi import streaming, watch
from tvapi.watch import Watch

LOGIN = "stream-watch"
SILENCE_SECONDS = 15.0  # three heartbeats: the connection is dead
BACK_OFF_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Reads the stream of prices as TradingView does, builds minutes of it and compares them with the history, "
        "until told to stop. What differs is shown in the admin, and logged above one percent."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        default = f"http://127.0.0.1:{settings.STREAM_PORT}"
        parser.add_argument("--url", default=default, help=f"of the server (default: {default})")

    def handle(self, *_args: Any, **options: Any) -> None:
        stop = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stop.set())
        while not stop.is_set():
            try:
                self._watch(options["url"], stop)
            except (OSError, http.client.HTTPException, msgspec.DecodeError, db.Error) as error:
                db.close_old_connections()
                logger.warning("The stream is not watched, trying again: %s", error)
                stop.wait(BACK_OFF_SECONDS)

    def _watch(self, url: str, stop: threading.Event) -> None:
        """Read one connection to its end."""
        address = urlsplit(url)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = kind(address.netloc, timeout=SILENCE_SECONDS)
        token, _expires = tokens.issue(_user())
        try:
            connection.request("GET", streaming.PATH, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise http.client.HTTPException(f"status {response.status}")
            seen = Watch(time.time())
            while not stop.is_set() and (line := response.readline()):
                seen.read(line)
                for minute, streamed in seen.settled(time.time()):
                    watch.compare(minute, streamed)
        finally:
            connection.close()


def _user() -> User:
    user, is_new = User.objects.get_or_create(username=LOGIN, defaults={"is_data_client": True})
    if is_new:
        user.set_unusable_password()
        user.save()
    return user
