"""Cash in the admin: asking, what waits, deciding, and who may not."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as Browser
from django.urls import reverse

from accounts.models import Account, Balance
from accounts.roles import Role
from backoffice.operations.models import Attachment, CashRequest
from tests import factories
from tests.backoffice.test_admin import browser, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account(number="CASH-1")


def form(**others: Any) -> dict[str, Any]:
    return {
        "key": "k-1",
        "kind": "withdrawal",
        "account": "cash-1",
        "currency": "USD",
        "amount": "400",
        "reason": "Bank 4711",
        **others,
    }


def asked_by(role: Role) -> CashRequest:
    assert browser(role).post(reverse("page:cash_new"), form()).status_code == 302
    return CashRequest.objects.get()


def test_operations_ask_with_a_paper(account: Account) -> None:
    paper = SimpleUploadedFile("slip.pdf", b"%PDF-1.4", content_type="application/pdf")
    visitor = browser(Role.OPERATIONS)
    assert visitor.post(reverse("page:cash_new"), form(file=paper)).status_code == 302
    asked = CashRequest.objects.get()
    assert (asked.account, asked.amount, asked.maker.username) == (account, Decimal(400), "the-operations")
    answer = visitor.get(reverse("page:attachment", args=[Attachment.objects.get().pk]))
    assert (answer.content, answer["X-Content-Type-Options"]) == (b"%PDF-1.4", "nosniff")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"account": "NOBODY"}, "There is no account NOBODY."),
        ({"amount": "abc"}, "Enter a number."),
        ({"amount": "1000000"}, "Only 100000 USD of the account are free."),
        ({"reason": ""}, "This field is required."),
        ({"kind": "transfer"}, "A transfer needs a second account"),
        ({"account": "CASH\0"}, "Null characters are not allowed."),
    ],
)
def test_a_wrong_form_is_answered_in_a_sentence(account: Account, wrong: dict[str, str], words: str) -> None:
    answer = browser(Role.OPERATIONS).post(reverse("page:cash_new"), form(**wrong))
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not CashRequest.objects.exists()


def test_a_program_as_a_paper_is_refused(account: Account) -> None:
    paper = SimpleUploadedFile("x.html", b"<script>", content_type="text/html")
    answer = browser(Role.OPERATIONS).post(reverse("page:cash_new"), form(file=paper))
    assert "Attach a PDF" in answer.content.decode()
    assert not Attachment.objects.exists()


def test_what_waits_for_me_is_what_others_asked_for(account: Account) -> None:
    asked_by(Role.OPERATIONS)
    for role, count in ((Role.ADMINISTRATOR, 1), (Role.OPERATIONS, 0)):
        visitor = Browser()
        from accounts.models import User

        user = User.objects.filter(username=f"the-{role}").first()
        visitor = browser(role) if user is None else visitor
        if user:
            visitor.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        page = visitor.get(url(CashRequest), {"waiting": "me"})
        assert len(page.context["cl"].result_list) == count, role


def test_approving_says_what_will_happen_and_then_does_it(account: Account) -> None:
    asked = asked_by(Role.OPERATIONS)
    visitor = browser(Role.ADMINISTRATOR)
    page = visitor.get(reverse("page:cash_approve", args=[asked.pk])).content.decode()
    assert "400 USD, set aside in CASH-1, will leave it for good (Withdrawal)." in page
    assert CashRequest.objects.get().state == "requested"
    visitor.post(reverse("page:cash_approve", args=[asked.pk]), {"confirmed": "yes"})
    assert CashRequest.objects.get().state == "approved"


def test_the_maker_is_not_offered_to_approve_and_is_refused_when_he_tries(account: Account) -> None:
    visitor = browser(Role.OPERATIONS)
    visitor.post(reverse("page:cash_new"), form())
    asked = CashRequest.objects.get()
    assert reverse("page:cash_approve", args=[asked.pk]) not in visitor.get(url(asked, "change")).content.decode()
    answer = visitor.post(reverse("page:cash_approve", args=[asked.pk]), {"confirmed": "yes"}, follow=True)
    assert "You asked for this yourself: somebody else has to approve it." in answer.content.decode()
    assert CashRequest.objects.get().state == "requested"


def test_rejecting_wants_a_reason(account: Account) -> None:
    asked = asked_by(Role.OPERATIONS)
    visitor, address = browser(Role.ADMINISTRATOR), reverse("page:cash_reject", args=[asked.pk])
    assert "Write down the reason" in visitor.post(address, {"confirmed": "yes"}).content.decode()
    assert CashRequest.objects.get().state == "requested"
    visitor.post(address, {"confirmed": "yes", "_reason": "No signature"})
    assert CashRequest.objects.get().decision == "No signature"
    assert Balance.objects.get(account=account).total == Decimal(100_000)


@pytest.mark.parametrize("role", [Role.DEALING, Role.SUPPORT, Role.COMPLIANCE])
def test_other_roles_get_no_page_of_it(account: Account, role: Role) -> None:
    asked = asked_by(Role.OPERATIONS)
    visitor = browser(role)
    assert visitor.post(reverse("page:cash_new"), form(key="k-2")).status_code == 403
    for name in ("cash_approve", "cash_reject", "cash_cancel"):
        assert visitor.post(reverse(f"page:{name}", args=[asked.pk]), {"confirmed": "yes"}).status_code == 403
    assert CashRequest.objects.get().state == "requested"
