from corsheaders.signals import check_request_enabled
from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TvapiConfig(AppConfig):
    name = "tvapi"
    verbose_name = _("TradingView's API")

    def ready(self) -> None:
        from tvapi import cors, terms

        check_request_enabled.connect(cors.allows, dispatch_uid="origins")
        terms.watch()
