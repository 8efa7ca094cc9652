"""Long work: tried out, done, cancelled; tables in and out; and what is wrong with a file, said by row."""

import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from accounts import conditions
from accounts.choices import AccountEventKind, ConditionsState
from accounts.conditions import ConditionsRefused
from accounts.models import Account, Client, TradingConditions
from accounts.roles import Role
from backoffice.operations import jobs
from backoffice.operations.choices import JobState
from backoffice.operations.models import Attachment, Job
from tests import factories
from tests.backoffice.test_admin import browser
from tests.operations.test_cash import officer
from trading.models import InstrumentTerms

pytestmark = pytest.mark.django_db
D = Decimal


def do(kind: str, table: str, text: str | bytes = "", name: str = "table.csv", **more: Any) -> Job:
    """Ask for the job and do it, as the worker would."""
    by = officer(f"ops-{Job.objects.count()}")
    content = text.encode() if isinstance(text, str) else text
    upload = Attachment.keep(name, "text/csv", content, by=by) if content else None
    job = jobs.start(kind, kind, by=by, upload=upload, table_name=table, **more)
    jobs.run(job.pk)
    return Job.objects.get(pk=job.pk)


@pytest.fixture
def group() -> Any:
    group = factories.group(name="FX")
    factories.allow(group, "EURUSD", margin_rate=D("0.05"))
    factories.instrument("GBPUSD")
    return group


TABLE = "group,instrument,margin_rate\nFX,EURUSD,0.0500\nFX,GBPUSD,0.1\n"


def test_a_dry_run_shows_differences_and_stores_nothing(group: Any) -> None:
    job = do("dry run", "group instruments", TABLE)
    assert (job.state, job.message) == (
        JobState.FINISHED,
        "1 new, 0 changed, 1 as they are, 0 with errors. Nothing was stored yet.",
    )
    [[what, *cells]] = job.arguments["table"]["rows"]
    assert (what, cells[:4]) == ("new", ["[+FX]", "[+GBPUSD]", "yes", "[+0.1]"])
    assert not TradingConditions.objects.filter(state=ConditionsState.DRAFT).exists()
    assert InstrumentTerms.objects.count() == 1


def test_the_import_drafts_what_was_shown_in_the_name_of_who_asked(group: Any) -> None:
    job = do("import", "group instruments", TABLE.replace("0.0500", "0.08"))
    waits = "1 draft of conditions waits for somebody else's approval: FX."
    assert (job.state, job.message) == (JobState.FINISHED, f"1 added, 1 changed. {waits}")
    draft = TradingConditions.objects.get(state=ConditionsState.DRAFT)
    assert (draft.drafted_by, draft.group) == (job.by, group)
    assert rates(draft) == {"EURUSD": D("0.08"), "GBPUSD": D("0.1")}
    assert rates(group.conditions_at()) == {"EURUSD": D("0.05")}
    with pytest.raises(ConditionsRefused, match="You drafted it yourself"):
        conditions.approve(draft.pk, by=job.by)
    conditions.approve(draft.pk, by=factories.user(is_staff=True))
    assert rates(group.conditions_at(draft.effective_from)) == {"EURUSD": D("0.08"), "GBPUSD": D("0.1")}


def rates(version: TradingConditions) -> dict[str, Decimal | None]:
    return dict(version.instruments.values_list("instrument__symbol", "margin_rate"))


def test_every_column_of_the_table_comes_in_and_what_is_not_named_stays(group: Any) -> None:
    moment = (timezone.now() + timedelta(days=9)).replace(microsecond=0)
    columns = "maintenance_rate,max_leverage,offered,swap_long,swap_short,swap_unit,triple_day"
    table = f"group,instrument,{columns}\nFX,EURUSD,0.01,30,no,-1.5,0.5,percent,friday\n"
    job = do("import", "group instruments", table, effective_from=moment.isoformat())
    assert job.message.startswith("0 added, 1 changed.")
    draft = TradingConditions.objects.get(state=ConditionsState.DRAFT)
    row = draft.instruments.get()
    assert (draft.effective_from, row.margin_rate, row.maintenance_rate, row.max_leverage, row.is_offered) == (
        moment, D("0.05"), D("0.01"), 30, False,
    )  # fmt: skip
    assert (row.swap_long, row.swap_short, row.swap_unit, row.triple_day) == (D("-1.5"), D("0.5"), "percent", 4)


def test_two_tables_of_one_person_for_one_moment_come_into_one_draft(group: Any) -> None:
    moment = (timezone.now() + timedelta(days=9)).isoformat()
    by = officer("both")
    for text in (TABLE, "group,instrument,swap_long,swap_short\nFX,EURUSD,-3,1\n"):
        upload = Attachment.keep("t.csv", "text/csv", text.encode(), by=by)
        job = jobs.start("import", "x", by=by, upload=upload, table_name="group instruments", effective_from=moment)
        jobs.run(job.pk)
    draft = TradingConditions.objects.get(state=ConditionsState.DRAFT)
    assert rates(draft) == {"EURUSD": D("0.05"), "GBPUSD": D("0.1")}
    assert draft.instruments.get(instrument__symbol="EURUSD").swap_long == D(-3)


def test_a_moment_that_has_passed_is_refused(group: Any) -> None:
    job = do("import", "group instruments", TABLE, effective_from="2026-01-01T00:00:00+00:00")
    assert "Its moment has passed" in job.message
    assert TradingConditions.objects.count() == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("FX,EURUSD,abc", "“abc” is not a number; write 1234.56."),
        ("FX,NOPE,1", "There is no instrument “NOPE”."),
        ("NOPE,EURUSD,1", "There is no account group “NOPE”."),
        ("FX,EURUSD,1e30", "“1e30” is too large."),
        ("FX,EURUSD,NaN", "“NaN” is too large."),
        ("FX,EURUSD,-1", "Rates, amounts and leverages are not below zero."),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_imported(group: Any, row: str, words: str) -> None:
    table = f"group,instrument,margin_rate\nFX,GBPUSD,0.1\n{row}\n"
    tried = do("dry run", "group instruments", table)
    ((number, text),) = tried.arguments["table"]["errors"]
    assert number == 3
    assert words in text
    job = do("import", "group instruments", table)
    assert (job.state, job.message.startswith("Nothing was stored: row 3:")) == (JobState.FAILED, True)
    assert InstrumentTerms.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"PK\x03\x04broken", "x.xlsx", "cannot be read"),
        (b"\xff\xfe\x00", "x.csv", "cannot be read"),
        (b"group,instrument\n", "x.ods", "Upload a .csv or .xlsx"),
        (b"foo,bar\n1,2\n", "x.csv", "Not known: bar, foo"),
    ],
)
def test_a_wrong_file_is_a_sentence(group: Any, content: bytes, name: str, words: str) -> None:
    job = do("dry run", "group instruments", content, name)
    assert job.state == JobState.FAILED
    assert words in job.message


def test_clients_come_in_from_a_spreadsheet() -> None:
    user = factories.user("newcomer")
    Client.objects.filter(user=user).update(name="Old name")
    book = openpyxl.Workbook()
    for row in (["login", "name", "country", "tags"], ["newcomer", "New name", "DE", "vip, fx"]):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    assert do("import", "clients", out.getvalue(), "clients.xlsx").message == "0 added, 1 changed."
    client = Client.objects.get(user=user)
    assert (client.name, client.country, client.tags) == ("New name", "DE", ["vip", "fx"])


def test_accounts_are_opened_in_bulk_and_open_ones_keep_their_group(group: Any) -> None:
    factories.user("newcomer")
    other = factories.group(name="Other")
    factories.currency("USD")
    table = "number,name,client,group,currency,type\nBULK-1,First,newcomer,{},USD,live\n"
    assert do("import", "accounts", table.format("FX")).message == "1 added, 0 changed."
    account = Account.objects.get()
    assert (account.number, account.group, account.events.get().kind) == ("BULK-1", group, AccountEventKind.OPENED)
    job = do("import", "accounts", table.format(other.name))
    assert "Account BULK-1 is open: only its name can change." in job.message
    assert Account.objects.get().group == group


@pytest.mark.parametrize("extension", ["csv", "xlsx"])
def test_an_export_can_be_imported_again_without_a_change(group: Any, extension: str) -> None:
    job = do("export", "group instruments", format=extension)
    assert job.result is not None
    assert (job.message, job.result.name) == ("1 rows.", f"group-instruments.{extension}")
    again = do("dry run", "group instruments", bytes(job.result.content), f"x.{extension}")
    assert again.message == "0 new, 0 changed, 1 as they are, 0 with errors. Nothing was stored yet."


def test_a_job_is_cancelled_before_it_begins_or_while_it_runs(group: Any) -> None:
    by = officer("ops")
    waiting = jobs.start("import", "x", by=by, table_name="group instruments")
    jobs.cancel(waiting.pk)
    jobs.run(waiting.pk)
    assert Job.objects.get(pk=waiting.pk).state == JobState.CANCELLED

    upload = Attachment.keep("x.csv", "text/csv", TABLE.encode(), by=by)
    running = jobs.start("import", "x", by=by, upload=upload, table_name="group instruments")
    Job.objects.filter(pk=running.pk).update(cancel_asked=True)
    jobs.run(running.pk)
    job = Job.objects.get(pk=running.pk)
    assert (job.state, job.message) == (JobState.CANCELLED, "It was cancelled; nothing of it was kept.")
    assert InstrumentTerms.objects.count() == 1


def test_a_job_is_stopped_between_two_rows(group: Any, monkeypatch: Any) -> None:
    def begin(self: jobs.Progress, total: int) -> None:
        self.total = total
        Job.objects.filter(pk=self.job_id).update(cancel_asked=True)

    monkeypatch.setattr(jobs.Progress, "begin", begin)
    job = do("import", "group instruments", TABLE)
    assert (job.state, job.done, job.total) == (JobState.CANCELLED, 1, 2)
    assert InstrumentTerms.objects.count() == 1


def test_a_job_delivered_twice_is_done_once(group: Any) -> None:
    job = do("import", "group instruments", TABLE)
    finished = job.finished_at
    jobs.run(job.pk)
    assert Job.objects.get(pk=job.pk).finished_at == finished


def test_a_fault_of_ours_is_a_sentence_and_a_line_in_the_log(group: Any, monkeypatch: Any, caplog: Any) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("internals")

    monkeypatch.setitem(jobs.KINDS, "export", broken)
    job = do("export", "clients", format="csv")
    assert job.state == JobState.FAILED
    assert "internals" not in job.message
    assert f"job {job.pk} failed" in caplog.text


# --- pages ------------------------------------------------------------------------------------------------------------


def test_the_pages_try_out_then_import(group: Any, django_capture_on_commit_callbacks: Any, monkeypatch: Any) -> None:
    from backoffice.operations import tasks

    monkeypatch.setattr(tasks.run_job, "delay", jobs.run)
    visitor = browser(Role.OPERATIONS)
    file = SimpleUploadedFile("t.csv", TABLE.encode(), content_type="text/csv")
    with django_capture_on_commit_callbacks(execute=True):
        form = {"table_name": "group instruments", "file": file, "effective_from": "2099-01-01T10:30"}
        answer = visitor.post(reverse("page:bulk_import"), form)
    page = visitor.get(answer["Location"]).content.decode()
    assert "[+GBPUSD]" in page
    assert "Import it as shown" in page
    tried = Job.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        visitor.post(reverse("page:job_apply", args=[tried.pk]))
    draft = TradingConditions.objects.get(state=ConditionsState.DRAFT)
    assert set(rates(draft)) == {"EURUSD", "GBPUSD"}
    assert f"{draft.effective_from:%Y-%m-%d %H:%M}" == "2099-01-01 10:30"


@pytest.mark.parametrize("role", [Role.DEALING, Role.SUPPORT, Role.COMPLIANCE])
def test_other_roles_do_not_import(group: Any, role: Role) -> None:
    file = SimpleUploadedFile("t.csv", TABLE.encode(), content_type="text/csv")
    answer = browser(role).post(reverse("page:bulk_import"), {"table_name": "group instruments", "file": file})
    assert answer.status_code == 403
    assert not Job.objects.exists()
