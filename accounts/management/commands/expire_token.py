from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts import tokens


class Command(BaseCommand):
    help = "Make an access token expired from now on, to see what a client does then. Not in production."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("token", help="the access token, as the client holds it")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError("expire_token is for demonstrations and tests; it does nothing in production.")
        if not tokens.expire(options["token"]):
            raise CommandError("There is no such token.")
        self.stdout.write("The token has expired.")
