from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts import tokens
from accounts.models import User
from accounts.oauth_models import LONGEST_TOKEN_SECONDS


class Command(BaseCommand):
    help = "Print a token of this login for TradingView's tests, who may ask for a fixed one (TT-1). Not in production."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("login", help="of a trader, or of a data server")
        parser.add_argument("--days", type=int, default=24, help="how long it works, 24 days at most and by default")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError("give_token is for demonstrations and tests; it does nothing in production.")
        seconds = options["days"] * 86_400
        if not 0 < seconds <= LONGEST_TOKEN_SECONDS:
            raise CommandError("A token works for 1 to 24 days.")
        user = User.objects.filter(username=options["login"], is_active=True).first()
        if user is None:
            raise CommandError("There is no such login.")
        token, _expires_at = tokens.issue(user, lifetime_seconds=seconds)
        self.stdout.write(token)
