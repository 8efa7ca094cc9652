import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.oauth_models import OAuthClient
from backoffice import demo_oauth


class Command(BaseCommand):
    help = "Print a token request of TradingView's data servers, the form of /tv/oauth2/token, as JSON. Demo only."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError("make_assertion is for demonstrations and tests; it does nothing in production.")
        try:
            form = demo_oauth.assertion_form()
        except OAuthClient.DoesNotExist as error:
            raise CommandError("The demo's OAuth clients are not there: run seed_demo first.") from error
        self.stdout.write(json.dumps(form))
