"""A statement on paper. Apart from the others: what draws it takes long to load, and few ever need it."""

import io
from datetime import UTC

from django.utils.translation import gettext as _
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from backoffice.operations.statements import Section, Statement


def as_pdf(of: Statement) -> bytes:
    """The statement on A4, with page numbers."""
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=18 * mm, rightMargin=18 * mm, title=_("Statement of account")
    )
    styles = getSampleStyleSheet()
    story: list[object] = [
        Paragraph(_("Statement of account %(number)s") % {"number": of.account.number}, styles["Title"]),
        Paragraph(_escaped(f"{of.account.client} · {of.account.name}"), styles["Normal"]),
        Paragraph(f"{of.first:%Y-%m-%d} – {of.last:%Y-%m-%d} (UTC)", styles["Normal"]),
    ]
    for section in of.sections:
        story += [Spacer(1, 8 * mm), Paragraph(section.currency, styles["Heading2"]), _pdf_table(section)]
    if not of.sections:
        story += [Spacer(1, 8 * mm), Paragraph(_("No money was ever booked in this account."), styles["Normal"])]
    document.build(story, onFirstPage=_page_number, onLaterPages=_page_number)
    return out.getvalue()


def _pdf_table(section: Section) -> Table:
    rows = [[_("At (UTC)"), _("Kind"), _("Reference"), _("Amount"), _("Balance")]]
    rows.append(["", _("Opening balance"), "", "", f"{section.opening:,}"])
    rows += [
        [
            f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M}",
            line.kind,
            line.reference[:36],
            f"{line.amount:,}",
            f"{line.balance:,}",
        ]
        for line in section.lines
    ]
    rows.append(["", _("Closing balance"), "", "", f"{section.closing:,}"])
    table = Table(rows, repeatRows=1, colWidths=[30 * mm, 42 * mm, 50 * mm, 26 * mm, 26 * mm])
    table.setStyle(
        TableStyle(
            [
                ("FONTSIZE", (0, 0), (-1, -1), 8),
                ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
                ("ALIGN", (3, 0), (-1, -1), "RIGHT"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.5, colors.black),
                ("LINEABOVE", (0, -1), (-1, -1), 0.5, colors.black),
            ]
        )
    )
    return table


def _page_number(canvas: object, document: object) -> None:
    canvas.setFont("Helvetica", 8)  # type: ignore[attr-defined]
    canvas.drawRightString(192 * mm, 10 * mm, str(canvas.getPageNumber()))  # type: ignore[attr-defined]


def _escaped(text: str) -> str:
    """Reportlab reads tags in a paragraph."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
