from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from backoffice import traces


class IntegrationConfig(AppConfig):
    name = "backoffice.integration"
    label = "integration"
    verbose_name = _("Integration")

    def ready(self) -> None:
        traces.set_up()
