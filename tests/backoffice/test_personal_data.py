"""Personal data of clients reach only who may see them: every page that a role can get to is searched for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from urllib.parse import urlencode, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client as Browser
from django.urls import reverse
from django.utils.module_loading import autodiscover_modules

from accounts.dossier_models import ClientNote
from accounts.models import Account, Client
from accounts.roles import Role
from backoffice.operations import jobs
from backoffice.operations.choices import DocumentKind
from backoffice.operations.models import Attachment, ClientDocument, Job
from backoffice.pages import registry
from tests import factories
from tests.backoffice.test_admin import browser, business, url  # noqa: F401

pytestmark = [pytest.mark.proof, pytest.mark.django_db]

admin.autodiscover()  # as the URLs do
autodiscover_modules("pages")

USER, PAPER, CLIENT = "accounts.view_user", "operations.view_attachment", "accounts.view_client"
# What is searched for, and the permission to see it. A name and a country belong to the business, as notes do: every
# role sees clients.
SECRETS = {
    "qx-mail@secret.example": USER,
    "Qxfirstname": USER,
    "Qxlastname": USER,
    "qx-content-of-the-passport": PAPER,
    "Qxclientname": CLIENT,
    "qx-note-of-support": CLIENT,
}
LINK = re.compile(r'(?:href|src|action|data-live-url)="(/admin/[^"#]*)')
ENDS = ("/logout/", "/language/")
AS_OFTEN = 2  # addresses that differ in numbers and queries alone are followed
EXPORTED = ("clients", "accounts")
OF_ROW = ("change", "history", "delete")


@pytest.fixture
def client_of_ours(business: Account) -> Account:  # noqa: F811
    """An account whose client can be recognised anywhere, with a passport, a note, and tables taken out."""
    client, user = business.client, business.client.user
    user.email, user.first_name, user.last_name = "qx-mail@secret.example", "Qxfirstname", "Qxlastname"
    user.save()
    client.name = "Qxclientname"
    client.save()
    maker = factories.user("maker", is_staff=True)
    ClientNote.objects.create(client=client, by=maker, text="qx-note-of-support")
    paper = Attachment.keep("passport.txt", "text/plain", b"qx-content-of-the-passport", by=maker)
    ClientDocument.objects.create(client=client, kind=DocumentKind.choices[0][0], attachment=paper)
    for table in EXPORTED:
        job = jobs.start("export", table, by=maker, table_name=table, format="csv")
        jobs.run(job.pk)
    return business


def pages(visitor: Browser) -> Iterator[tuple[str, str]]:
    """Addresses and contents of all that opens: every list, row, search and page, and whatever they lead to."""
    waiting = [*addresses()]
    seen, asked = set(waiting), Counter[str]()
    while waiting:
        address = waiting.pop()
        answer = visitor.get(address)
        if answer.status_code in (301, 302):
            found = [answer["Location"]]
        else:
            content = b"".join(answer) if answer.streaming else answer.content
            text = content.decode(errors="replace")
            if answer.status_code == 200:
                yield address, text
            found = [unescape(link) for link in LINK.findall(text)]
        for link in found:
            path = urlsplit(link).path
            kind = re.sub(r"\d+", "0", path)
            if link not in seen and path.startswith("/admin/") and not path.endswith(ENDS) and asked[kind] < AS_OFTEN:
                asked[kind] += 1
                seen.add(link)
                waiting.append(link)


def addresses() -> Iterator[str]:
    yield reverse("admin:index")
    for model in admin.site._registry:
        yield url(model)
        yield url(model, "add")
        for row in model._default_manager.all()[:1]:
            yield from (url(row, page) for page in OF_ROW)
        for term in ("Qx", "qx"):
            yield f"{url(model)}?{urlencode({'q': term})}"
    yield from (each.url for each in registry.values() if "<" not in each.path)
    for model in (Account, Client):
        yield f"{url(model)}?{urlencode({'q': 'Qxclientname'})}"
    yield f"{reverse('admin:search')}?{urlencode({'s': 'Qx'})}"
    for job in Job.objects.all():
        yield reverse("page:job_result", args=[job.pk])
    for paper in Attachment.objects.all():
        yield reverse("page:attachment", args=[paper.pk])
    for account in Account.objects.all():
        yield reverse("page:account_statement", args=[account.pk])
        yield from (url(row, page) for row in (account, account.client, account.client.user) for page in OF_ROW)


def shown(visitor: Browser) -> dict[str, set[str]]:
    """Where each of the secrets was seen."""
    places: dict[str, set[str]] = {secret: set() for secret in SECRETS}
    for address, text in pages(visitor):
        for secret in SECRETS:
            if secret in text:
                places[secret].add(address)
    return places


MAY_SEE = {
    Role.ADMINISTRATOR: {USER, PAPER, CLIENT},
    Role.OPERATIONS: {USER, PAPER, CLIENT},
    Role.DEALING: {CLIENT},
    Role.SUPPORT: {CLIENT},
    Role.COMPLIANCE: {USER, PAPER, CLIENT},
}


@pytest.mark.parametrize("role", Role)
def test_a_role_sees_what_its_permissions_say_and_nothing_else(role: Role, client_of_ours: Account) -> None:
    for secret, places in shown(browser(role)).items():
        assert bool(places) == (SECRETS[secret] in MAY_SEE[role]), (secret, sorted(places))


@pytest.mark.parametrize("role", [Role.OPERATIONS, Role.SUPPORT])
@pytest.mark.parametrize("taken", [USER, PAPER])
def test_a_role_that_loses_or_gets_a_permission_sees_accordingly(
    role: Role, taken: str, client_of_ours: Account
) -> None:
    app, _dot, codename = taken.partition(".")
    permission = Permission.objects.get(content_type__app_label=app, codename=codename)
    group = Group.objects.get(name=role)
    may_see = MAY_SEE[role] ^ {taken}
    (group.permissions.add if taken in may_see else group.permissions.remove)(permission)
    for secret, places in shown(browser(role)).items():
        assert bool(places) == (SECRETS[secret] in may_see), (secret, sorted(places))
