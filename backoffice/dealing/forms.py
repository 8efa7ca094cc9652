"""Forms of the dealing desk's pages."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from backoffice.operations.forms import AccountField
from marketdata.models import Instrument
from trading import busts
from trading.models import Execution


class InstrumentField(forms.CharField):
    """An instrument by its symbol, typed or pasted; there are too many to choose from."""

    widget = UnfoldAdminTextInputWidget

    def clean(self, value: Any) -> Instrument | None:
        symbol = super().clean(value).strip().upper()
        if not symbol:
            return None
        instrument = Instrument.objects.filter(symbol=symbol).first()
        if instrument is None:
            raise ValidationError(_("There is no instrument %(symbol)s."), params={"symbol": symbol})
        return instrument


def price_field(label: Any, help_text: Any = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        max_digits=32,
        decimal_places=12,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=help_text,
    )


class BustForm(forms.Form):
    """What shall happen to executions that were chosen before. `executions` are those that the preview showed."""

    key = forms.CharField(widget=forms.HiddenInput, initial=lambda: uuid4().hex, max_length=64)
    executions = forms.CharField(widget=forms.HiddenInput, required=False, max_length=20 * busts.MOST)
    price = price_field(
        _("Right price"), _("The fills are booked again at this price. Empty: they are taken back altogether.")
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=UnfoldAdminTextareaWidget,
        help_text=_("Who decides reads this, and the order's story keeps it."),
    )

    def clean_executions(self) -> tuple[int, ...]:
        numbers = self.cleaned_data["executions"].split(",")
        try:
            return tuple(int(number) for number in numbers if number)
        except ValueError:
            self.add_error(None, _("These are no numbers of executions."))  # a hidden field shows no error of its own
            return ()

    def chosen(self) -> list[Execution]:
        raise NotImplementedError


class OneBustForm(BustForm):
    """A single execution, from its own page."""

    def __init__(self, *args: Any, execution: Execution, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execution = execution

    def chosen(self) -> list[Execution]:
        return [self.execution]


class IntervalBustForm(BustForm):
    """All fills of an instrument in a span of time, and within a span of prices if one is given."""

    instrument = InstrumentField(label=_("Instrument"), help_text=_("Its symbol."), max_length=64)
    since = forms.DateTimeField(
        label=_("From"), help_text=_("UTC, for example 2026-03-01 14:30:00."), widget=UnfoldAdminTextInputWidget
    )
    until = forms.DateTimeField(label=_("To"), help_text=_("UTC, included."), widget=UnfoldAdminTextInputWidget)
    low = price_field(_("Lowest price"), _("Only fills at this price or above."))
    high = price_field(_("Highest price"), _("Only fills at this price or below."))
    account = AccountField(
        label=_("Account"), help_text=_("Its number. Empty: fills of all accounts."), required=False, max_length=32
    )
    field_order = ("instrument", "since", "until", "low", "high", "account", "price", "reason")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for first, last, sentence in (
            ("since", "until", _("The end lies before the beginning.")),
            ("low", "high", _("The highest price lies below the lowest.")),
        ):
            if given.get(first) and given.get(last) and given[first] > given[last]:
                self.add_error(last, sentence)
        return given

    def chosen(self) -> list[Execution]:
        given = self.cleaned_data
        return busts.chosen(
            given["instrument"],
            **{name: given[name] for name in ("since", "until", "low", "high", "account")},
        )
