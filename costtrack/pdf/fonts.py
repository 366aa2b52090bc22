"""The fonts of a PDF file: Inter, embedded with the glyphs that the file uses, and for Chinese, Japanese and Korean
texts the fonts of the system on which the file is read, by their standard names and encodings (ISO 32000-1, 9.7.5).

A character that none of them has is shown as a box.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol
from unicodedata import category, normalize

import pydyf

from costtrack.pdf.truetype import TrueTypeFont

_FOLDER = Path(__file__).parent / "fonts"
_BOX = "□"
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\uffe0-\uffe6]")
_KANA, _HANGUL = re.compile("[\u3040-\u30ff]"), re.compile("[\uac00-\ud7a3]")
_EM = 1000
_UNICODE_MAP = """/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CMapName /Unicode def
/CMapType 2 def
1 begincodespacerange
<0000> <FFFF>
endcodespacerange
{ranges}
endcmap
CMapName currentdict /CMap defineresource pop
end
end"""
_MAX_RANGES = 100


class Font(Protocol):
    """A font of a document. It remembers the characters that were written with it."""

    @property
    def name(self) -> str:
        """In the resources of a page."""

    def width(self, text: str) -> int:
        """In thousandths of the font size."""

    def encode(self, text: str) -> bytes: ...

    def add_to(self, pdf: pydyf.PDF) -> pydyf.Dictionary:
        """Add the font to a file, if it was used. Returns its dictionary."""


@dataclass(slots=True)
class EmbeddedFont:
    name: str
    font_name: str
    font: TrueTypeFont
    used: dict[int, str] = field(default_factory=dict)

    def has(self, character: str) -> bool:
        return character in self.font.glyphs

    def width(self, text: str) -> int:
        return sum(map(self.font.character_widths.__getitem__, text))

    def encode(self, text: str) -> bytes:
        glyphs = [self.font.glyphs[character] for character in text]
        self.used.update(zip(glyphs, text, strict=True))
        return struct.pack(f">{len(glyphs)}H", *glyphs)

    def add_to(self, pdf: pydyf.PDF) -> pydyf.Dictionary:
        glyphs = sorted(self.used)
        content = self.font.subset(glyphs)
        name = f"/{_subset_tag(glyphs)}+{self.font_name}"
        file = pydyf.Stream([content], {"Length1": len(content)}, compress=True)
        pdf.add_object(file)
        descriptor = _descriptor(name, self.font.box, self.font.ascent, self.font.descent, FontFile2=file.reference)
        pdf.add_object(descriptor)
        widths = pydyf.Array([item for glyph in glyphs for item in (glyph, pydyf.Array([self.font.width(glyph)]))])
        descendant = pydyf.Dictionary(
            {
                "Type": "/Font",
                "Subtype": "/CIDFontType2",
                "BaseFont": name,
                "CIDSystemInfo": _system_info("Identity", 0),
                "FontDescriptor": descriptor.reference,
                "DW": _EM,
                "W": widths,
                "CIDToGIDMap": "/Identity",
            }
        )
        lines = [f"<{glyph:04X}> <{_utf_16(self.used[glyph])}>" for glyph in glyphs]
        return _composite_font(pdf, name, "Identity-H", descendant, _unicode_map("char", lines))


@dataclass(slots=True)
class SystemFont:
    """A font that is not in the file. `ordering` is Adobe's character collection."""

    name: str
    font_name: str
    ordering: str
    supplement: int
    encoding: str
    is_used: bool = False

    def width(self, text: str) -> int:
        return _EM * len(text)

    def encode(self, text: str) -> bytes:
        self.is_used = True
        return text.encode("utf-16-be")

    def add_to(self, pdf: pydyf.PDF) -> pydyf.Dictionary:
        name = f"/{self.font_name}"
        descriptor = _descriptor(name, (0, -200, _EM, 900), 880, -120)
        pdf.add_object(descriptor)
        descendant = pydyf.Dictionary(
            {
                "Type": "/Font",
                "Subtype": "/CIDFontType0",
                "BaseFont": name,
                "CIDSystemInfo": _system_info(self.ordering, self.supplement),
                "FontDescriptor": descriptor.reference,
                "DW": _EM,
            }
        )
        lines = [f"<{high:02X}00> <{high:02X}FF> <{high:02X}00>" for high in range(0x100)]
        return _composite_font(pdf, f"{name}-{self.encoding}", self.encoding, descendant, _unicode_map("range", lines))


class Fonts:
    """The fonts of one document. Texts are divided into runs of one font."""

    def __init__(self) -> None:
        self.regular = EmbeddedFont("Regular", "Inter-Regular", _inter("regular"))
        self.bold = EmbeddedFont("Bold", "Inter-SemiBold", _inter("semibold"))
        self._chinese = SystemFont("Chinese", "STSong-Light", "GB1", 5, "UniGB-UTF16-H")
        self._japanese = SystemFont("Japanese", "HeiseiKakuGo-W5", "Japan1", 6, "UniJIS-UTF16-H")
        self._widths: dict[tuple[str, bool], int] = {}
        self._korean = SystemFont("Korean", "HYGothic-Medium", "Korea1", 2, "UniKS-UTF16-H")

    def width(self, text: str, size: float, *, is_bold: bool = False) -> float:
        """Return the width of a line in points."""
        width = self._widths.get((text, is_bold))
        if width is None:
            width = sum(font.width(run) for font, run in self.runs(text, is_bold=is_bold))
            self._widths[text, is_bold] = width
        return width * size / _EM

    def runs(self, text: str, *, is_bold: bool) -> Iterator[tuple[Font, str]]:
        """Yield the parts of a line with their fonts."""
        embedded, text = self.bold if is_bold else self.regular, printable(text)
        if text.isascii():
            yield embedded, text
            return
        wide: Font = self._korean if _HANGUL.search(text) else self._japanese if _KANA.search(text) else self._chinese
        start = 0
        for match in re.finditer(f"{_WIDE.pattern}+", text):
            if match.start() > start:
                yield embedded, text[start : match.start()]
            yield wide, match[0]
            start = match.end()
        if start < len(text):
            yield embedded, text[start:]

    def add_to(self, pdf: pydyf.PDF) -> pydyf.Dictionary:
        """Add the fonts that were used to a file. Returns them by name."""
        fonts: list[Font] = [font for font in (self.regular, self.bold) if font.used]
        fonts += [font for font in (self._chinese, self._japanese, self._korean) if font.is_used]
        return pydyf.Dictionary({font.name: font.add_to(pdf).reference for font in fonts})


def printable(text: str) -> str:
    """Return a text as one line of characters that the fonts have; others are boxes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, normalize("NFC", text)))


@cache
def _inter(weight: str) -> TrueTypeFont:
    return TrueTypeFont.read(_FOLDER / f"inter-{weight}.ttf")


def _printable(character: str) -> str:
    if character in _inter("regular").glyphs or _WIDE.match(character):
        return character
    if character.isspace() or category(character) == "Cc":
        return " "
    return "" if category(character) in ("Cf", "Mn") else _BOX


def _subset_tag(glyphs: list[int]) -> str:
    """Return six letters that depend on the glyphs."""
    number = zlib.crc32(repr(glyphs).encode())
    return "".join(chr(ord("A") + number // 26**position % 26) for position in range(6))


def _descriptor(
    name: str, box: tuple[int, int, int, int], ascent: int, descent: int, **file: bytes
) -> pydyf.Dictionary:
    return pydyf.Dictionary(
        {
            "Type": "/FontDescriptor",
            "FontName": name,
            "Flags": 4,
            "FontBBox": pydyf.Array(box),
            "ItalicAngle": 0,
            "Ascent": ascent,
            "Descent": descent,
            "CapHeight": ascent,
            "StemV": 80,
            **file,
        }
    )


def _system_info(ordering: str, supplement: int) -> pydyf.Dictionary:
    return pydyf.Dictionary(
        {"Registry": pydyf.String("Adobe"), "Ordering": pydyf.String(ordering), "Supplement": supplement}
    )


def _composite_font(
    pdf: pydyf.PDF, name: str, encoding: str, descendant: pydyf.Dictionary, unicode_map: pydyf.Stream
) -> pydyf.Dictionary:
    pdf.add_object(descendant)
    pdf.add_object(unicode_map)
    font = pydyf.Dictionary(
        {
            "Type": "/Font",
            "Subtype": "/Type0",
            "BaseFont": name,
            "Encoding": f"/{encoding}",
            "DescendantFonts": pydyf.Array([descendant.reference]),
            "ToUnicode": unicode_map.reference,
        }
    )
    pdf.add_object(font)
    return font


def _unicode_map(kind: str, lines: list[str]) -> pydyf.Stream:
    """Return the map from codes to characters, with which readers search and copy text."""
    blocks = []
    for start in range(0, len(lines), _MAX_RANGES):
        block = lines[start : start + _MAX_RANGES]
        blocks += [f"{len(block)} beginbf{kind}", *block, f"endbf{kind}"]
    return pydyf.Stream([_UNICODE_MAP.format(ranges="\n".join(blocks)).encode()], compress=True)


def _utf_16(character: str) -> str:
    return character.encode("utf-16-be").hex().upper()
