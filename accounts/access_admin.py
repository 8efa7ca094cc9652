"""Pages of access: OAuth clients and their secrets, tokens, second factors, and who may see which data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cryptography import x509
from django import forms
from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import library_names, oauth_clients, staff, tokens
from accounts.entitlement_models import DataSubscription, DataTariff
from accounts.models import AccessToken, User
from accounts.oauth_models import ClientSecret, OAuthClient, RenewalToken
from accounts.staff_views import qr_code, recovery_codes_page
from backoffice.admin import NOTHING, LogAdmin, Panel, ReadOnlyAdmin, StaffAdmin, list_url

admin.site.unregister(TOTPDevice)
admin.site.unregister(StaticDevice)
library_names.give()


# --- OAuth clients ----------------------------------------------------------------------------------------------------


@admin.register(OAuthClient)
class OAuthClientAdmin(StaffAdmin):
    """The six environment pairs. A client gets its first secret, and every later one, by the action below the list."""

    list_display = ("pair", "client_id", "is_active", "code_flow", "implicit_flow", "certificate_ends", "last_used_at")
    list_filter = ("is_active",)
    autocomplete_fields = ("data_users",)
    readonly_fields = ("certificate_ends", "last_used_at")
    actions = ("give_new_secret",)
    empty_text = _("TradingView cannot log anybody in by OAuth yet: add a client for each pair of environments.")
    fieldsets = (
        (None, {"fields": (("pair", "client_id"), ("is_active", "last_used_at"))}),
        (_("Logging in"), {"fields": (("code_flow", "implicit_flow"), "redirect_uris", "scopes", "origins")}),
        (_("Lifetimes"), {"fields": (("token_seconds", "renewal_seconds"),)}),
        (
            _("Data servers"),
            {
                "fields": (
                    "data_users",
                    "certificate",
                    "certificate_ends",
                    ("assertion_issuer", "assertion_audience"),
                    ("assertion_user_claim", "assertion_needs_secret"),
                    "assertion_claims",
                )
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: OAuthClient | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *(("pair", "client_id") if obj else ())]

    def has_delete_permission(self, request: HttpRequest, obj: OAuthClient | None = None) -> bool:
        return False  # a client is switched off, and its tokens stay on record

    @admin.display(description=_("certificate ends"))
    def certificate_ends(self, client: OAuthClient) -> Any:
        if not client.certificate:
            return NOTHING
        return x509.load_pem_x509_certificate(client.certificate.encode()).not_valid_after_utc

    @admin.action(description=_("Give the selected clients new secrets"), permissions=["change"])
    def give_new_secret(self, request: HttpRequest, queryset: models.QuerySet[OAuthClient]) -> HttpResponseBase:
        if not staff.has_recent_password(request):
            return staff.ask_password(request)
        with transaction.atomic():
            secrets = [(client, oauth_clients.rotate_secret(client)) for client in queryset]
        for client, _secret in secrets:
            self.log_change(request, client, _("Gave it a new secret."))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("New secrets"),
            "secrets": secrets,
            "days": oauth_clients.OVERLAP.days,
        }
        response = TemplateResponse(request, "accounts/new_secrets.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def panels(self, request: HttpRequest, client: OAuthClient) -> Iterable[Panel]:
        yield Panel(
            _("secrets"),
            client.secrets.all(),
            ("id", "created_at", "ends_at", "last_used_at"),
            _("It has no secret yet: select it in the list and choose the action that gives one."),
        )
        yield Panel(
            _("latest logins"),
            client.renewals.select_related("user").order_by("-pk"),
            ("id", "user", "kind", "created_at", "expires_at", "revoked_at"),
            _("Nobody has logged in by this client yet."),
            list_url(RenewalToken, client__id__exact=client.pk),
        )


@admin.register(ClientSecret)
class ClientSecretAdmin(ReadOnlyAdmin):
    """When secrets were given, used and end; they themselves are not known here."""

    list_display = ("id", "client", "created_at", "ends_at", "last_used_at")
    list_select_related = ("client",)
    list_filter = ("client",)
    fields = ("client", "created_at", "ends_at", "last_used_at")
    empty_text = _("No client has a secret yet.")


# --- tokens -----------------------------------------------------------------------------------------------------------


class RevocableAdmin(LogAdmin):
    """Tokens: support ends them where a client asks for it, or a stranger holds one."""

    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"accounts.revoke_{self.opts.model_name}")

    def revoke_rows(self, queryset: models.QuerySet[Any]) -> int:
        raise NotImplementedError

    @admin.action(description=_("End the selected tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        for token in queryset.filter(revoked_at=None):
            self.log_change(request, token, _("Ended it."))
        count = self.revoke_rows(queryset.filter(revoked_at=None))
        text = ngettext("%(count)s token was ended.", "%(count)s tokens were ended.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
        return None


@admin.register(AccessToken)
class AccessTokenAdmin(RevocableAdmin):
    """Tokens given out; only their hashes are known."""

    list_display = ("id", "user", "client", "created_at", "expires_at", "revoked_at")
    list_select_related = ("user", "client")
    fields = ("user", "client", "renewal", "digest", "created_at", "expires_at", "revoked_at")
    search_lookup = "user__username"
    search_help_text = _("Login, or the number of a token")
    empty_text = _("Nobody has logged in over the API yet.")

    def revoke_rows(self, queryset: models.QuerySet[AccessToken]) -> int:
        return tokens.revoke_access(queryset)


@admin.register(RenewalToken)
class RenewalTokenAdmin(RevocableAdmin):
    """Logins by OAuth. Ending one ends its access tokens with it."""

    list_display = ("id", "user", "client", "kind", "created_at", "expires_at", "confirmed_at", "revoked_at")
    list_select_related = ("user", "client")
    list_filter = ("kind", "client")
    fields = ("user", "client", "kind", "family", "replaces", "created_at", "expires_at", "confirmed_at", "revoked_at")
    search_lookup = "user__username"
    search_help_text = _("Login, or the number of a token")
    empty_text = _("Nobody has logged in by OAuth yet.")

    def revoke_rows(self, queryset: models.QuerySet[RenewalToken]) -> int:
        return tokens.revoke_rows(queryset)


# --- second factors ---------------------------------------------------------------------------------------------------


@admin.register(TOTPDevice)
class TOTPDeviceAdmin(StaffAdmin):
    """Authenticator apps. Staff set theirs up at their next login; a trader's is added here, and shown until its first
    use. Deleting one lets its owner in without it, or has staff set up another."""

    list_display = ("id", "user", "confirmed", "created_at", "last_used_at")
    list_select_related = ("user",)
    actions = ("give_recovery_codes",)
    search_fields = ("user__username__startswith",)
    search_help_text = _("Login: its beginning")
    autocomplete_fields = ("user",)
    empty_text = _("Nobody has a second factor yet.")

    def get_fields(self, request: HttpRequest, obj: TOTPDevice | None = None) -> Sequence[Any]:
        return ("user", "confirmed", "created_at", "last_used_at", "picture") if obj else ("user",)

    def get_readonly_fields(self, request: HttpRequest, obj: TOTPDevice | None = None) -> Sequence[Any]:
        return self.get_fields(request, obj) if obj else ()

    def get_form(self, request: HttpRequest, obj: TOTPDevice | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj is None:
            form.base_fields["user"].queryset = User.objects.filter(is_staff=False, is_data_client=False)
        return form

    def has_change_permission(self, request: HttpRequest, obj: TOTPDevice | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: TOTPDevice, form: forms.ModelForm, change: bool) -> None:
        obj.name = "app"
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: TOTPDevice) -> None:
        StaticDevice.objects.filter(user=obj.user).delete()  # recovery codes belong to it
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[TOTPDevice]) -> None:
        StaticDevice.objects.filter(user__in=queryset.values("user")).delete()
        super().delete_queryset(request, queryset)

    @admin.action(description=_("Give the client new recovery codes"), permissions=["add"])
    def give_recovery_codes(
        self, request: HttpRequest, queryset: models.QuerySet[TOTPDevice]
    ) -> HttpResponseBase | None:
        """For one client at a time, to be handed over in person; staff get theirs when they set their app up."""
        if not staff.has_recent_password(request):
            return staff.ask_password(request)
        devices = list(queryset.select_related("user")[:2])
        if len(devices) != 1 or devices[0].user.is_staff:
            self.message_user(request, _("Select one client's second factor."), messages.ERROR)
            return None
        [device] = devices
        self.log_change(request, device, _("Gave new recovery codes."))
        title = _("Recovery codes of %(user)s") % {"user": device.user}
        return recovery_codes_page(request, device.user, title, list_url(TOTPDevice))

    @admin.display(description=_("picture for the app"))
    def picture(self, device: TOTPDevice) -> Any:
        """Shown to the client in person; once it has been used, to nobody."""
        if device.last_used_at or device.user.is_staff:
            return NOTHING
        return qr_code(device.config_url)


# --- data -------------------------------------------------------------------------------------------------------------


@admin.register(DataTariff)
class DataTariffAdmin(StaffAdmin):
    list_display = ("name", "groups", "for_everybody", "countries")
    fields = ("name", "groups", "for_everybody", "countries")
    search_fields = ("name__icontains",)
    empty_text = _("Every login sees every group of symbols. A tariff hides the groups that it names from all others.")

    def panels(self, request: HttpRequest, tariff: DataTariff) -> Iterable[Panel]:
        yield Panel(
            _("subscriptions"),
            tariff.subscriptions.select_related("user"),
            ("id", "user", "starts_at", "ends_at"),
            _("Nobody has subscribed to it."),
            list_url(DataSubscription, tariff__id__exact=tariff.pk),
        )


@admin.register(DataSubscription)
class DataSubscriptionAdmin(StaffAdmin):
    list_display = ("id", "user", "tariff", "starts_at", "ends_at")
    list_select_related = ("user", "tariff")
    list_filter = ("tariff",)
    search_fields = ("user__username__startswith",)
    search_help_text = _("Login: its beginning")
    autocomplete_fields = ("user", "tariff")
    fields = ("user", "tariff", ("starts_at", "ends_at"))
    empty_text = _("Nobody has subscribed to a data tariff yet.")
