"""Pages of the admin in which staff show who they are once more: by a code, or by the password."""

from __future__ import annotations

import io
from typing import Any, cast

import django_otp
from django import forms
from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth import authenticate
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.widgets import UnfoldAdminPasswordToggleWidget, UnfoldAdminTextInputWidget

from accounts import staff
from accounts.models import User

RECOVERY_CODES = 10


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=20,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "one-time-code", "autofocus": True}),
    )


class PasswordForm(forms.Form):
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=UnfoldAdminPasswordToggleWidget({"autocomplete": "current-password", "autofocus": True}),
    )


@method_decorator(
    [staff_member_required(login_url="admin:login"), never_cache, sensitive_post_parameters()], "dispatch"
)
class StaffPage(FormView):
    """A form between the user and the page he wanted."""

    template_name = "accounts/staff_page.html"
    title: Any = ""
    text: Any = ""

    @property
    def user(self) -> User:
        return cast(User, self.request.user)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**admin.site.each_context(self.request), "title": self.title, "text": self.text}
        return super().get_context_data(**context, **kwargs)

    def get_success_url(self) -> str:
        wanted = self.request.GET.get("next", "")
        secure = self.request.is_secure()
        if url_has_allowed_host_and_scheme(wanted, {self.request.get_host()}, require_https=secure):
            return wanted
        return reverse("admin:index")


class SecondFactorView(StaffPage):
    """Asks for a code; from whoever has no app yet it has one set up first."""

    form_class = CodeForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        if self._is_known():
            self.text = _("Enter the code that your authenticator app shows, or one of your recovery codes.")
            return super().get_context_data(**kwargs)
        self.text = _("Scan this with an authenticator app, then enter the code that it shows.")
        device = self._device_to_set_up()
        return super().get_context_data(qr=qr_code(device.config_url), secret=_secret(device), **kwargs)

    @property
    def title(self) -> Any:
        return _("Second factor") if self._is_known() else _("Set up your second factor")

    def form_valid(self, form: CodeForm) -> HttpResponse:
        code = form.cleaned_data["code"].replace(" ", "")
        if not self._is_known():
            return self._set_up(form, code)
        if (device := django_otp.match_token(self.user, code)) is None:
            return self._again(form)
        django_otp.login(self.request, device)
        return redirect(self.get_success_url())

    @transaction.atomic
    def _set_up(self, form: CodeForm, code: str) -> HttpResponse:
        device = self._device_to_set_up()
        if not device.verify_token(code):
            return self._again(form)
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        django_otp.login(self.request, device)
        return recovery_codes_page(self.request, self.user, _("Your recovery codes"), self.get_success_url())

    def _again(self, form: CodeForm) -> HttpResponse:
        form.add_error("code", _("This code is not right or was used before. Wait for the next one."))
        return self.form_invalid(form)

    def _is_known(self) -> bool:
        return bool(django_otp.user_has_device(self.user))

    def _device_to_set_up(self) -> TOTPDevice:
        return TOTPDevice.objects.get_or_create(user=self.user, confirmed=False, defaults={"name": "app"})[0]


class ConfirmPasswordView(StaffPage):
    form_class = PasswordForm
    title = _("Confirm it is you")
    text = _("What you are about to do needs your password once more.")

    def form_valid(self, form: PasswordForm) -> HttpResponse:
        password = form.cleaned_data["password"]
        if authenticate(self.request, username=self.user.get_username(), password=password) != self.user:
            form.add_error("password", _("This is not your password."))
            return self.form_invalid(form)
        staff.remember_password(self.request)
        return redirect(self.get_success_url())


def qr_code(text: str) -> SafeString:
    """The text as a picture (SVG)."""
    import qrcode.image.svg  # when wanted: with the pictures' library behind it, it takes long to load

    buffer = io.BytesIO()
    qrcode.make(text, image_factory=qrcode.image.svg.SvgPathFillImage, box_size=12).save(buffer)
    svg = buffer.getvalue().decode()
    return mark_safe(svg[svg.index("<svg") :])  # noqa: S308 (made of modules and numbers)


def _secret(device: TOTPDevice) -> str:
    """The key as apps take it that cannot see."""
    return str(device.config_url).partition("secret=")[2].partition("&")[0]


def recovery_codes_page(request: HttpRequest, owner: User, title: Any, back: str) -> HttpResponse:
    """New codes for the owner, shown this once."""
    context = {
        **admin.site.each_context(request),
        "title": title,
        "codes": _new_recovery_codes(owner),
        "next": back,
    }
    response = TemplateResponse(request, "accounts/recovery_codes.html", context)
    response["Cache-Control"] = "no-store"
    return response


def _new_recovery_codes(user: User) -> list[str]:
    """In place of any earlier ones."""
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="recovery codes")
    codes = [StaticToken.random_token() for _number in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes
