"""A PDF document of headings, texts and tables on as many pages as they need.

Pages are A4, landscape; their content also fits on US Letter. The same calls produce the same bytes: a document has no
time of creation and no random identifier.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import pydyf

from costtrack.pdf.fonts import Fonts, printable

_WIDTH, _HEIGHT = 842, 595
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 786, 547, 60
_FOOTER = 36
_BODY, _SMALL, _HEADING, _TITLE = 9, 8, 12, 18
_LINE = 1.35
"""The height of a line, in font sizes."""
_GAP, _PADDING = 10, 3
_LABEL_WIDTH = 110
_MIN_TEXT_WIDTH, _MAX_TEXT_WIDTH = 60, 220
_MIN_SIZE = 4.0
_TAIL = 8
"""The last characters of a long name are shown, because names often differ at the end."""
_MAX_CELL_LINES = 2
_GRAY, _BLACK, _RULE = 0.4, 0.0, 0.8

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
    """`title` is in the head of the file and `footer` on each page. Lengths are in points, from the lower left."""

    def __init__(self, title: str, footer: str) -> None:
        self._title, self._footer = title, footer
        self._fonts = Fonts()
        self._pages: list[pydyf.Stream] = []
        self._y: float = 0
        self._begin_page()

    def title(self, text: str) -> None:
        self._paragraph(text, _TITLE, is_bold=True)

    def heading(self, text: str) -> None:
        """Begin a section. It stays on one page with what follows."""
        self._y -= _HEADING
        self._reserve(6 * _HEADING)
        self._paragraph(text, _HEADING, is_bold=True)
        self._y -= 2

    def paragraph(self, text: str) -> None:
        self._paragraph(text, _BODY)

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Write labels and their texts."""
        self._y -= _PADDING
        for label, text in facts:
            lines = self._wrap(text, _RIGHT - _LEFT - _LABEL_WIDTH, _BODY)
            for index, line in enumerate(lines):
                self._reserve(_BODY * _LINE)
                self._y -= _BODY * _LINE
                if index == 0:
                    self._write(_LEFT, label, _BODY, gray=_GRAY)
                self._write(_LEFT + _LABEL_WIDTH, line, _BODY)

    def table(self, columns: Sequence[PDFColumn], rows: Sequence[Row], total: Row | None = None) -> None:
        """Write a table. Its head is repeated on each page; the total is in bold type."""
        size, widths = self._layout(columns, [*rows, *([total] if total is not None else [])])
        self._y -= _PADDING
        self._head(columns, widths, size)
        for row in rows:
            self._row(columns, widths, size, row)
        if total is not None:
            self._row(columns, widths, size, total, is_bold=True)

    def content(self) -> bytes:
        """Return the file. Nothing may be written afterwards."""
        for number in range(1, len(self._pages) + 1):
            self._write(_LEFT, self._footer, _SMALL, y=_FOOTER, gray=_GRAY, page=number - 1)
            text = f"Page {number} of {len(self._pages)}"
            x = _RIGHT - self._fonts.width(text, _SMALL)
            self._write(x, text, _SMALL, y=_FOOTER, gray=_GRAY, page=number - 1)
        pdf = pydyf.PDF()
        resources = pydyf.Dictionary({"Font": self._fonts.add_to(pdf)})
        for stream in self._pages:
            pdf.add_object(stream)
            pdf.add_page(
                pydyf.Dictionary(
                    {
                        "Type": "/Page",
                        "Parent": pdf.pages.reference,
                        "MediaBox": pydyf.Array([0, 0, _WIDTH, _HEIGHT]),
                        "Resources": resources,
                        "Contents": stream.reference,
                    }
                )
            )
        pdf.info["Title"] = pydyf.String(self._title)
        pdf.info["Producer"] = pydyf.String("costtrack")
        pdf.catalog["Lang"] = pydyf.String("en-US")
        pdf.catalog["ViewerPreferences"] = pydyf.Dictionary({"DisplayDocTitle": "true"})
        file = BytesIO()
        pdf.write(file)
        return file.getvalue()

    # --- Pages ---------------------------------------------------------------------------------------------------

    def _begin_page(self) -> None:
        self._pages.append(pydyf.Stream(compress=True))
        self._y = _TOP

    def _reserve(self, height: float) -> bool:
        """Begin a page if less is left on this one."""
        if self._y - height >= _BOTTOM:
            return False
        self._begin_page()
        return True

    def _write(
        self,
        x: float,
        text: str,
        size: float,
        *,
        y: float | None = None,
        is_bold: bool = False,
        gray: float = _BLACK,
        page: int = -1,
    ) -> None:
        stream = self._pages[page]
        stream.begin_text()
        stream.set_color_rgb(gray, gray, gray)
        stream.move_text_to(round(x, 2), round(self._y if y is None else y, 2))
        for font, run in self._fonts.runs(text, is_bold=is_bold):
            stream.set_font_size(font.name, size)
            stream.show_text(f"<{font.encode(run).hex()}>")
        stream.end_text()

    def _rule(self, gray: float) -> None:
        stream = self._pages[-1]
        stream.set_color_rgb(gray, gray, gray, stroke=True)
        stream.set_line_width(0.5)
        stream.move_to(_LEFT, round(self._y, 2))
        stream.line_to(_RIGHT, round(self._y, 2))
        stream.stroke()

    # --- Texts ---------------------------------------------------------------------------------------------------

    def _paragraph(self, text: str, size: float, *, is_bold: bool = False) -> None:
        for line in self._wrap(text, _RIGHT - _LEFT, size, is_bold=is_bold):
            self._reserve(size * _LINE)
            self._y -= size * _LINE
            self._write(_LEFT, line, size, is_bold=is_bold)

    def _wrap(self, text: str, width: float, size: float, *, is_bold: bool = False) -> list[str]:
        """Break a text into lines, between words if possible."""
        lines, rest = [], printable(text)
        while self._fonts.width(rest, size, is_bold=is_bold) > width:
            line = self._prefix(rest, width, size, is_bold=is_bold)
            words, space, _ = line.rpartition(" ")
            line = words if space and words.strip() else line
            lines.append(line.rstrip())
            rest = rest[len(line) :].lstrip()
        return [*lines, rest]

    def _prefix(self, text: str, width: float, size: float, *, is_bold: bool) -> str:
        """Return the first characters that fit into a width, at least one."""
        low, high = 1, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._fonts.width(text[:middle], size, is_bold=is_bold) <= width
            low, high = (middle, high) if fits else (low, middle - 1)
        return text[:low]

    # --- Tables --------------------------------------------------------------------------------------------------

    def _layout(self, columns: Sequence[PDFColumn], rows: Sequence[Row]) -> tuple[float, list[float]]:
        """Return the font size and the widths of columns. Numbers have the width that they need; the size is smaller if
        the texts have too little left."""
        needed = [
            max(
                self._fonts.width(heading, _SMALL, is_bold=True)
                for heading in (column.heading, *(line for row in rows for line in _lines(row[index])))
            )
            for index, column in enumerate(columns)
        ]
        texts = [index for index, column in enumerate(columns) if not column.is_number]
        numbers = sum(needed) - sum(needed[index] for index in texts)
        available = _RIGHT - _LEFT - _GAP * (len(columns) - 1)
        size = min(_SMALL, _SMALL * (available - _MIN_TEXT_WIDTH * len(texts)) / numbers) if numbers else _SMALL
        size = max(int(size * 4) / 4, _MIN_SIZE)
        scale = size / _SMALL
        for index, width in zip(
            texts, _share([needed[index] for index in texts], available - numbers * scale), strict=True
        ):
            needed[index] = width / scale
        return size, [width * scale for width in needed]

    def _head(self, columns: Sequence[PDFColumn], widths: Sequence[float], size: float) -> None:
        self._cells(columns, widths, size, [(column.heading,) for column in columns], is_bold=True)
        self._rule(_GRAY)

    def _row(
        self, columns: Sequence[PDFColumn], widths: Sequence[float], size: float, row: Row, *, is_bold: bool = False
    ) -> None:
        cells = [
            _lines(cell) if column.is_number else tuple(self._fit(cell, width, size, is_bold=is_bold))
            for column, width, cell in zip(columns, widths, row, strict=True)
        ]
        if self._reserve(_row_height(cells, size)):
            self._head(columns, widths, size)
        self._cells(columns, widths, size, cells, is_bold=is_bold)
        self._rule(_RULE)

    def _fit(self, cell: Cell, width: float, size: float, *, is_bold: bool) -> Iterator[str]:
        for text in map(printable, _lines(cell)):
            lines = self._wrap(text, width, size, is_bold=is_bold)
            if len(lines) <= _MAX_CELL_LINES:
                yield from lines
                continue
            yield lines[0]
            tail = f"…{text[-_TAIL:]}"
            left = width - self._fonts.width(tail, size, is_bold=is_bold)
            yield f"{self._prefix(lines[1], left, size, is_bold=is_bold)}{tail}"

    def _cells(
        self,
        columns: Sequence[PDFColumn],
        widths: Sequence[float],
        size: float,
        cells: Sequence[tuple[str, ...]],
        *,
        is_bold: bool,
    ) -> None:
        top, x = self._y - _PADDING, float(_LEFT)
        for column, width, lines in zip(columns, widths, cells, strict=True):
            for index, line in enumerate(lines):
                indent = width - self._fonts.width(line, size, is_bold=is_bold) if column.is_number else 0
                y = top - size - index * size * _LINE
                self._write(x + indent, line, size, y=y, is_bold=is_bold)
            x += width + _GAP
        self._y -= _row_height(cells, size)


def _lines(cell: Cell) -> tuple[str, ...]:
    return (cell,) if isinstance(cell, str) else cell


def _row_height(cells: Sequence[tuple[str, ...]], size: float) -> float:
    return max(map(len, cells)) * size * _LINE + 2 * _PADDING


def _share(needed: Sequence[float], available: float) -> list[float]:
    """Divide the width that is left among columns of texts, by what they need up to a maximum."""
    preferred = [min(max(width, _MIN_TEXT_WIDTH), _MAX_TEXT_WIDTH) for width in needed]
    extra = available - sum(preferred)
    if extra >= 0:
        return [width + extra / len(preferred) for width in preferred]
    spare = [width - _MIN_TEXT_WIDTH for width in preferred]
    return [
        width + extra * part / sum(spare) if sum(spare) else width for width, part in zip(preferred, spare, strict=True)
    ]
