from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TvapiConfig(AppConfig):
    name = "tvapi"
    verbose_name = _("TradingView's API")

    def ready(self) -> None:
        from tvapi import terms

        terms.watch()
