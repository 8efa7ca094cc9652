import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from accounts import oauth_clients
from accounts.oauth_models import OAuthClient


class Command(BaseCommand):
    help = "List the OAuth clients of the environment pairs. Only the demo's secrets can be shown."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="an array of objects instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        clients = [_described(client) for client in OAuthClient.objects.order_by("pk")]
        if options["json"]:
            self.stdout.write(json.dumps(clients, indent=2))
            return
        for client in clients:
            self.stdout.write(f"{client['pair']}: {client['client_id']} {', '.join(client['redirect_uris'])}")


def _described(client: OAuthClient) -> dict[str, Any]:
    shown = {"pair": client.pair, "client_id": client.client_id, "redirect_uris": client.redirect_uris}
    secret = oauth_clients.shown_secret(client)
    return {**shown, "client_secret": secret} if secret else shown
