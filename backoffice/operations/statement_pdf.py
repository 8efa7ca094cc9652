"""A statement on paper, in the language of the moment.

Apart from the others: what draws it takes long to load, and few ever need it.
"""

import io
from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

from babel.numbers import format_decimal
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from backoffice.operations import pdf_text
from backoffice.operations.pdf_text import markup
from backoffice.operations.statements import Section, Statement

SMALL = 8  # points: the table, the page numbers


def as_pdf(of: Statement) -> bytes:
    """The statement on A4, with page numbers."""
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=18 * mm, rightMargin=18 * mm, title=_("Statement of account")
    )
    styles = _styles()
    names = f"{markup(str(of.account.client))} · {markup(of.account.name)}"
    story: list[object] = [
        Paragraph(markup(_("Statement of account %(number)s") % {"number": of.account.number}), styles["Title"]),
        Paragraph(names, styles["Normal"]),
        Paragraph(f"{of.first:%Y-%m-%d} – {of.last:%Y-%m-%d} (UTC)", styles["Normal"]),
    ]
    for section in of.sections:
        story += [
            Spacer(1, 8 * mm),
            Paragraph(section.currency, styles["Heading2"]),
            _pdf_table(section, styles),
        ]
    if not of.sections:
        story += [
            Spacer(1, 8 * mm),
            Paragraph(markup(_("No money was ever booked in this account.")), styles["Normal"]),
        ]
    document.build(story, onFirstPage=_page_number, onLaterPages=_page_number)
    return out.getvalue()


def _styles() -> dict[str, ParagraphStyle]:
    """Reportlab's, in a font that has more letters than Helvetica."""
    pdf_text.embedded()
    styles = {name: getSampleStyleSheet()[name] for name in ("Title", "Heading2", "Normal")}
    for style in styles.values():
        style.fontName = pdf_text.USUAL
    cell = ParagraphStyle("Cell", styles["Normal"], fontSize=SMALL, leading=SMALL + 2)
    return {**styles, "Cell": cell, "Amount": ParagraphStyle("Amount", cell, alignment=TA_RIGHT)}


def _pdf_table(section: Section, styles: Mapping[str, ParagraphStyle]) -> Table:
    rows = [[_("At (UTC)"), _("Kind"), _("Reference"), _("Amount"), _("Balance")]]
    rows.append(["", _("Opening balance"), "", "", _number(section.opening)])
    rows += [
        [
            f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M}",
            line.kind,
            line.reference[:36],
            _number(line.amount),
            _number(line.balance),
        ]
        for line in section.lines
    ]
    rows.append(["", _("Closing balance"), "", "", _number(section.closing)])
    columns = [styles[name] for name in ("Cell", "Cell", "Cell", "Amount", "Amount")]
    cells = [[_cell(*each) for each in zip(row, columns, strict=True)] for row in rows]
    table = Table(cells, repeatRows=1, colWidths=[30 * mm, 42 * mm, 50 * mm, 26 * mm, 26 * mm])
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), pdf_text.USUAL, SMALL),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("ALIGN", (3, 0), (-1, -1), "RIGHT"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.5, colors.black),
                ("LINEABOVE", (0, -1), (-1, -1), 0.5, colors.black),
            ]
        )
    )
    return table


def _number(value: Decimal) -> str:
    """In all its digits, with the signs of the language of the moment."""
    return format_decimal(value, format="#,##0.############", locale=to_locale(get_language() or "en"))


def _cell(text: str, style: ParagraphStyle) -> object:
    """The text itself where the table's font has it all: a paragraph takes much longer to draw."""
    return text if text.isascii() or markup(text) == escape(text) else Paragraph(markup(text), style)


def _page_number(canvas: Any, document: object) -> None:
    canvas.setFont(pdf_text.USUAL, SMALL)
    canvas.drawRightString(192 * mm, 10 * mm, str(canvas.getPageNumber()))
