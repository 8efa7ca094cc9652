from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from backoffice import health


class TradingConfig(AppConfig):
    name = "trading"
    verbose_name = _("Trading")

    def ready(self) -> None:
        from trading.venues.models import FixSession

        health.expect("fix", FixSession.objects.filter(is_enabled=True).exists)
        for shard in range(1, settings.ENGINE_SHARDS):
            health.expect(f"engine-{shard}", lambda: True)
