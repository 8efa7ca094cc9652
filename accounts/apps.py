from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Clients and accounts")

    def ready(self) -> None:
        from accounts import roles, staff

        post_migrate.connect(roles.bring_in_line, dispatch_uid="roles")
        staff.connect()
