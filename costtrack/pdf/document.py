"""A PDF document of headings, texts and tables on as many pages as they need, by ReportLab.

Pages are A4, landscape; their content also fits on US Letter. The same calls produce the same bytes: a document has no
time of creation and no random identifier.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color, black, gray, lightgrey
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, LongTable, Paragraph, SimpleDocTemplate, Spacer, Table

from costtrack.pdf.fonts import BOLD, REGULAR, printable, register_fonts, runs, width

_LEFT = _RIGHT = 56
_TOP, _BOTTOM, _FOOTER = 48, 60, 36
_FRAME_PADDING = 6
"""ReportLab's own, within the margins."""
_WIDTH = landscape(A4)[0] - _LEFT - _RIGHT
_BODY, _SMALL, _HEADING, _TITLE = 9, 8, 12, 18
_LEADING = 1.35
"""The height of a line, in font sizes."""
_GAP, _PADDING = 10, 3
_LABEL_WIDTH = 110
_MIN_TEXT_WIDTH, _MAX_TEXT_WIDTH = 60, 220
_MIN_SIZE = 4.0
_TAIL = 8
"""The last characters of a long name are shown, because names often differ at the end."""
_MAX_CELL_LINES = 2
_USED_OF_LINES = 0.85
"""How much of two lines a text can fill, because lines break between words."""

Cell = str | tuple[str, ...]
"""A text, or several lines."""
Row = Sequence[Cell]


@dataclass(frozen=True, slots=True)
class PDFColumn:
    """A column of a table. Numbers are right-aligned and never shortened; long texts have two lines and are shortened
    in the middle."""

    heading: str
    is_number: bool = False


class PDFDocument:
    """`title` is in the head of the file and `footer` on each page. Lengths are in points."""

    def __init__(self, title: str, footer: str) -> None:
        register_fonts()
        self._title, self._footer = title, printable(footer)
        self._story: list[Flowable] = []

    def title(self, text: str) -> None:
        self._story.append(_paragraph(text, _style(_TITLE, BOLD)))

    def heading(self, text: str) -> None:
        """Begin a section. It stays on one page with what follows."""
        self._story += [Spacer(0, _HEADING), CondPageBreak(7 * _HEADING), _paragraph(text, _style(_HEADING, BOLD))]

    def paragraph(self, text: str) -> None:
        self._story.append(_paragraph(text, _style(_BODY)) if text else Spacer(0, _BODY))

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Write labels and their texts."""
        rows = [
            [_paragraph(label, _style(_BODY, color=gray)), _paragraph(text, _style(_BODY))] for label, text in facts
        ]
        columns = [_LABEL_WIDTH, _WIDTH - _LABEL_WIDTH]
        self._story.append(Table(rows, columns, hAlign="LEFT", spaceBefore=_PADDING, style=_cells_style(_BODY, 0)))

    def table(self, columns: Sequence[PDFColumn], rows: Sequence[Row], total: Row | None = None) -> None:
        """Write a table. Its head is repeated on each page; the total is in bold type."""
        size, widths = _layout(columns, [*rows, *([total] if total is not None else [])])
        cells = [_head(columns, widths, size), *(_row(columns, widths, size, row) for row in rows)]
        style = _cells_style(size, _PADDING)
        style += [("FONTNAME", (0, 0), (-1, 0), BOLD), ("LINEBELOW", (0, 0), (-1, 0), 0.5, gray)]
        style += [("LINEBELOW", (0, 1), (-1, -1), 0.5, lightgrey)]
        style += [
            ("ALIGN", (index, 0), (index, -1), "RIGHT") for index, column in enumerate(columns) if column.is_number
        ]
        if total is not None:
            cells.append(_row(columns, widths, size, total, font=BOLD))
            style.append(("FONTNAME", (0, -1), (-1, -1), BOLD))
        gaps = [*(_GAP for _ in columns[1:]), 0]
        spaced = [column_width + gap for column_width, gap in zip(widths, gaps, strict=True)]
        style += [("RIGHTPADDING", (index, 0), (index, -1), gap) for index, gap in enumerate(gaps)]
        table = LongTable(cells, spaced, repeatRows=1, hAlign="LEFT", spaceBefore=_PADDING, style=style)
        self._story.append(table)

    def content(self) -> bytes:
        """Return the file. Nothing may be written afterwards."""
        file = BytesIO()
        template = SimpleDocTemplate(
            file,
            pagesize=landscape(A4),
            leftMargin=_LEFT - _FRAME_PADDING,
            rightMargin=_RIGHT - _FRAME_PADDING,
            topMargin=_TOP - _FRAME_PADDING,
            bottomMargin=_BOTTOM - _FRAME_PADDING,
            title=self._title,
            author=self._footer,
            creator="costtrack",
            producer="costtrack",
            lang="en-US",
            displayDocTitle=True,
            invariant=1,
        )
        template.build(self._story, canvasmaker=self._numbered_canvas)
        return file.getvalue()

    def _numbered_canvas(self, *args: Any, **options: Any) -> "_NumberedCanvas":
        return _NumberedCanvas(*args, footer=self._footer, **options)


class _NumberedCanvas(Canvas):
    """Writes the footer of all pages when their number is known."""

    def __init__(self, *args: Any, footer: str, **options: Any) -> None:
        super().__init__(*args, **{**options, "initialFontName": REGULAR})
        self._footer_text = footer
        self._finished_pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - ReportLab's name
        self._finished_pages.append(dict(self.__dict__))
        self._startPage()  # type: ignore[attr-defined] # as ReportLab's own showPage

    def save(self) -> None:
        for number, page in enumerate(self._finished_pages, 1):
            self.__dict__.update(page)
            self.setFillColor(gray)
            x = float(_LEFT)
            for font, part in runs(self._footer_text, REGULAR):
                self.setFont(font, _SMALL)
                self.drawString(x, _FOOTER, part)
                x += width(part, font, _SMALL)
            self.setFont(REGULAR, _SMALL)
            self.drawRightString(_LEFT + _WIDTH, _FOOTER, f"Page {number} of {len(self._finished_pages)}")
            super().showPage()
        super().save()


# --- Texts -------------------------------------------------------------------------------------------------------


def _style(size: float, font: str = REGULAR, color: Color = black) -> ParagraphStyle:
    return ParagraphStyle(
        font, fontName=font, fontSize=size, leading=size * _LEADING, textColor=color, splitLongWords=1
    )


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    parts = (
        escape(part) if font == style.fontName else f'<font name="{font}">{escape(part)}</font>'
        for font, part in runs(printable(text), style.fontName)
    )
    return Paragraph("".join(parts), style)


def _shortened(text: str, font: str, size: float, available: float) -> str:
    """Return the text, without its middle if it is too wide."""
    if width(text, font, size) <= available:
        return text
    tail = f"…{text[-_TAIL:]}"
    available -= width(tail, font, size)
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = width(text[:middle], font, size) <= available
        low, high = (middle, high) if fits else (low, middle - 1)
    return f"{text[:low]}{tail}"


# --- Tables ------------------------------------------------------------------------------------------------------


def _layout(columns: Sequence[PDFColumn], rows: Sequence[Row]) -> tuple[float, list[float]]:
    """Return the font size and the widths of columns. Numbers have the width that they need; the size is smaller if the
    texts have too little left."""
    needed = [
        max(
            width(line, BOLD, _SMALL)
            for cell in (column.heading, *(row[index] for row in rows))
            for line in _lines(cell)
        )
        for index, column in enumerate(columns)
    ]
    texts = [index for index, column in enumerate(columns) if not column.is_number]
    numbers = sum(needed) - sum(needed[index] for index in texts)
    available = _WIDTH - _GAP * (len(columns) - 1)
    size = min(_SMALL, _SMALL * (available - _MIN_TEXT_WIDTH * len(texts)) / numbers) if numbers else _SMALL
    size = max(int(size * 4) / 4, _MIN_SIZE)
    scale = size / _SMALL
    shares = _share([needed[index] for index in texts], available - numbers * scale)
    for index, share in zip(texts, shares, strict=True):
        needed[index] = share / scale
    return size, [column_width * scale for column_width in needed]


def _share(needed: Sequence[float], available: float) -> list[float]:
    """Divide the width that is left among columns of texts, by what they need up to a maximum."""
    preferred = [min(max(part, _MIN_TEXT_WIDTH), _MAX_TEXT_WIDTH) for part in needed]
    extra = available - sum(preferred)
    if extra >= 0:
        return [part + extra / len(preferred) for part in preferred]
    spare = [part - _MIN_TEXT_WIDTH for part in preferred]
    shares = zip(preferred, spare, strict=True)
    return [part + extra * share / sum(spare) if sum(spare) else part for part, share in shares]


def _head(columns: Sequence[PDFColumn], widths: Sequence[float], size: float) -> list[Any]:
    return _row(columns, widths, size, [column.heading for column in columns], font=BOLD)


def _row(
    columns: Sequence[PDFColumn], widths: Sequence[float], size: float, row: Row, *, font: str = REGULAR
) -> list[Any]:
    """Return the cells. A text is a paragraph only if it needs to be, which takes ReportLab ten times as long."""
    cells: list[Any] = []
    for column, column_width, cell in zip(columns, widths, row, strict=True):
        lines = _lines(cell)
        if column.is_number or all(
            width(line, font, size) <= column_width and all(name == font for name, _ in runs(line, font))
            for line in lines
        ):
            cells.append("\n".join(lines))
            continue
        style, available = _style(size, font), _USED_OF_LINES * _MAX_CELL_LINES * column_width
        cells.append([_paragraph(_shortened(line, font, size, available), style) for line in lines])
    return cells


def _lines(cell: Cell) -> tuple[str, ...]:
    return tuple(map(printable, (cell,) if isinstance(cell, str) else cell))


def _cells_style(size: float, padding: float) -> list[tuple[Any, ...]]:
    everything = (0, 0), (-1, -1)
    return [
        ("FONT", *everything, REGULAR, size, size * _LEADING),
        ("VALIGN", *everything, "TOP"),
        ("LEFTPADDING", *everything, 0),
        ("RIGHTPADDING", *everything, 0),
        ("TOPPADDING", *everything, padding),
        ("BOTTOMPADDING", *everything, padding),
    ]
