"""Forms of the operations desk's pages."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import Account, Currency
from backoffice.operations.cash import Wish
from backoffice.operations.choices import CashKind

LARGEST_FILE = 2 * 1024 * 1024  # bytes
FILE_TYPES = ("application/pdf", "image/jpeg", "image/png", "text/plain")


class AccountField(forms.CharField):
    """An account by its number, typed or pasted; there are too many to choose from."""

    widget = UnfoldAdminTextInputWidget

    def clean(self, value: Any) -> Account | None:
        number = super().clean(value).strip().upper()
        if not number:
            return None
        account = Account.objects.select_related("group", "currency").filter(number=number).first()
        if account is None:
            raise ValidationError(_("There is no account %(number)s."), params={"number": number})
        return account


class AttachmentField(forms.FileField):
    """A paper of a usual kind and size. The browser's word on the type decides only how it is offered again."""

    widget = UnfoldAdminFileFieldWidget

    def clean(self, data: Any, initial: Any = None) -> Any:
        file = super().clean(data, initial)
        if file and file.size > LARGEST_FILE:
            raise ValidationError(_("The file is too large: 2 MB at most."))
        if file and file.content_type not in FILE_TYPES:
            raise ValidationError(_("Attach a PDF, a JPEG or PNG picture, or a plain text."))
        return file


class CashForm(forms.Form):
    key = forms.CharField(widget=forms.HiddenInput, initial=lambda: uuid4().hex, max_length=64)
    kind = forms.ChoiceField(label=_("Kind"), choices=CashKind.choices, widget=UnfoldAdminSelectWidget)
    account = AccountField(label=_("Account"), help_text=_("Its number."), max_length=32)
    to_account = AccountField(
        label=_("To account"), help_text=_("Transfers only: who gets the money."), required=False, max_length=32
    )
    currency = forms.ModelChoiceField(
        label=_("Currency"), queryset=Currency.objects.all(), widget=UnfoldAdminSelectWidget
    )
    amount = forms.DecimalField(
        label=_("Amount"),
        max_digits=32,
        decimal_places=12,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=_("Above zero; below zero only for an adjustment that takes."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=UnfoldAdminTextareaWidget,
        help_text=_("Who decides reads this: say what it is for, and the payment's reference."),
    )
    file = AttachmentField(label=_("Attachment"), required=False, help_text=_("PDF, picture or text, up to 2 MB."))

    def to_wish(self) -> Wish:
        given = self.cleaned_data
        return Wish(
            kind=CashKind(given["kind"]),
            account_id=given["account"].pk,
            to_account_id=given["to_account"].pk if given["to_account"] else None,
            currency=given["currency"].pk,
            amount=given["amount"],
            reason=given["reason"],
            key=given["key"],
        )
