"""The fonts of a PDF file: Inter, embedded with the glyphs that the file uses, and for Chinese, Japanese and Korean
texts the fonts of the system on which the file is read, by their standard names.

A character that none of them has is shown as a box.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unicodedata import category, normalize

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "Inter", "Inter-SemiBold"

_FOLDER = Path(__file__).parent / "fonts"
_CHINESE, _JAPANESE, _KOREAN = "STSong-Light", "HeiseiKakuGo-W5", "HYGothic-Medium"
_BOX = "□"
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\uffe0-\uffe6]+")
_KANA, _HANGUL = re.compile("[\u3040-\u30ff]"), re.compile("[\uac00-\ud7a3]")


@cache
def register_fonts() -> frozenset[str]:
    """Make the fonts known to ReportLab. Returns the characters of Inter."""
    regular = TTFont(REGULAR, _FOLDER / "inter-regular.ttf")
    for font in (regular, TTFont(BOLD, _FOLDER / "inter-semibold.ttf")):
        pdfmetrics.registerFont(font)
    for name in (_CHINESE, _JAPANESE, _KOREAN):
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return frozenset(map(chr, regular.face.charToGlyph))


def printable(text: str) -> str:
    """Return a text as one line of characters that the fonts have; others are boxes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, normalize("NFC", text)))


def runs(text: str, font: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a printable text with the names of their fonts."""
    if text.isascii():
        yield font, text
        return
    wide = _KOREAN if _HANGUL.search(text) else _JAPANESE if _KANA.search(text) else _CHINESE
    start = 0
    for match in _WIDE.finditer(text):
        if match.start() > start:
            yield font, text[start : match.start()]
        yield wide, match[0]
        start = match.end()
    if start < len(text):
        yield font, text[start:]


def width(text: str, font: str, size: float) -> float:
    """Return the width of a printable text in points."""
    return sum(pdfmetrics.stringWidth(part, name, size) for name, part in runs(text, font))


def _printable(character: str) -> str:
    if character in register_fonts() or _WIDE.match(character):
        return character
    if character.isspace() or category(character) == "Cc":
        return " "
    return "" if category(character) in ("Cf", "Mn") else _BOX
