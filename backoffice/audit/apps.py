from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    name = "backoffice.audit"
    label = "audit"
    verbose_name = _("Audit trail")

    def ready(self) -> None:
        from backoffice.audit import context, tracking
        from backoffice.audit import tasks as tasks  # connects to Celery's signals

        connection_created.connect(context.attach, dispatch_uid="audit")
        post_migrate.connect(tracking.bring_in_line, sender=self, dispatch_uid="audit")
