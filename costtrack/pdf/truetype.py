"""Reads what a PDF file needs of a TrueType font (OpenType 1.9): the glyphs of characters, their widths, and a font in
which the other glyphs are empty."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

_DIRECTORY_ENTRY = struct.Struct(">4sIII")
_EMBEDDED_TABLES = (b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp")
"""What a font needs in a PDF file that refers to glyphs by their numbers."""
_WORD_ARGUMENTS, _MORE_COMPONENTS = 0x0001, 0x0020
_SCALES = ((0x0008, 2), (0x0040, 4), (0x0080, 8))
"""Flags of a component of a composite glyph, and the bytes of its scale."""


@dataclass(frozen=True)
class TrueTypeFont:
    """A font whose characters are in the Basic Multilingual Plane (a `cmap` of format 4)."""

    tables: dict[bytes, bytes]

    @classmethod
    def read(cls, path: Path) -> Self:
        content = path.read_bytes()
        (count,) = struct.unpack_from(">H", content, 4)
        entries = [_DIRECTORY_ENTRY.unpack_from(content, 12 + 16 * index) for index in range(count)]
        return cls({tag: content[offset : offset + length] for tag, _, offset, length in entries})

    @cached_property
    def units_per_em(self) -> int:
        return int(struct.unpack_from(">H", self.tables[b"head"], 18)[0])

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """The box around all glyphs, in thousandths of the font size."""
        left, bottom, right, top = struct.unpack_from(">4h", self.tables[b"head"], 36)
        return self._thousandths(left), self._thousandths(bottom), self._thousandths(right), self._thousandths(top)

    @cached_property
    def ascent(self) -> int:
        return self._thousandths(struct.unpack_from(">h", self.tables[b"hhea"], 4)[0])

    @cached_property
    def descent(self) -> int:
        return self._thousandths(struct.unpack_from(">h", self.tables[b"hhea"], 6)[0])

    @cached_property
    def glyphs(self) -> dict[str, int]:
        """Numbers of glyphs by character."""
        cmap = self.tables[b"cmap"]
        (offset,) = struct.unpack_from(">I", cmap, 8)
        segments = struct.unpack_from(">H", cmap, offset + 6)[0] // 2
        arrays = [offset + 14, *(offset + 16 + 2 * segments * index for index in (1, 2, 3))]
        ends, starts, deltas, ranges = (struct.unpack_from(f">{segments}H", cmap, start) for start in arrays)
        glyphs = {}
        for index, (first, last, delta, distance) in enumerate(zip(starts, ends, deltas, ranges, strict=True)):
            for code in range(first, min(last, 0xFFFE) + 1):
                glyph = code
                if distance:
                    position = arrays[3] + 2 * index + distance + 2 * (code - first)
                    (glyph,) = struct.unpack_from(">H", cmap, position)
                if glyph or not distance:
                    glyphs[chr(code)] = (glyph + delta) % 0x10000
        return glyphs

    @cached_property
    def widths(self) -> list[int]:
        """Widths by number of the glyph, in thousandths of the font size. Later glyphs have the last one."""
        (count,) = struct.unpack_from(">H", self.tables[b"hhea"], 34)
        metrics = struct.unpack_from(f">{2 * count}H", self.tables[b"hmtx"])
        return [self._thousandths(width) for width in metrics[::2]]

    @cached_property
    def character_widths(self) -> dict[str, int]:
        return {character: self.width(glyph) for character, glyph in self.glyphs.items()}

    def width(self, glyph: int) -> int:
        return self.widths[min(glyph, len(self.widths) - 1)]

    def subset(self, glyphs: Iterable[int]) -> bytes:
        """Return a font in which all other glyphs are empty, so that the numbers stay the same."""
        offsets, outlines = self._offsets, self.tables[b"glyf"]
        used = self._with_components({0, *glyphs})
        selected = [
            outlines[offsets[glyph] : offsets[glyph + 1]] if glyph in used else b"" for glyph in range(len(offsets) - 1)
        ]
        offsets_of_subset = [0]
        for outline in selected:
            offsets_of_subset.append(offsets_of_subset[-1] + len(outline))
        tables = {tag: self.tables[tag] for tag in _EMBEDDED_TABLES}
        tables[b"glyf"] = b"".join(selected)
        tables[b"loca"] = self._loca(offsets_of_subset)
        return _font_file(tables)

    @cached_property
    def _has_long_offsets(self) -> bool:
        return bool(struct.unpack_from(">h", self.tables[b"head"], 50)[0])

    @cached_property
    def _offsets(self) -> list[int]:
        loca = self.tables[b"loca"]
        if self._has_long_offsets:
            return list(struct.unpack(f">{len(loca) // 4}I", loca))
        return [2 * offset for offset in struct.unpack(f">{len(loca) // 2}H", loca)]

    def _loca(self, offsets: list[int]) -> bytes:
        if self._has_long_offsets:
            return struct.pack(f">{len(offsets)}I", *offsets)
        return struct.pack(f">{len(offsets)}H", *(offset // 2 for offset in offsets))

    def _with_components(self, glyphs: set[int]) -> set[int]:
        """Add the glyphs of which composite ones consist."""
        used, pending = set(glyphs), list(glyphs)
        while pending:
            components = set(self._components(pending.pop())) - used
            used |= components
            pending += components
        return used

    def _components(self, glyph: int) -> list[int]:
        outline = self.tables[b"glyf"][self._offsets[glyph] : self._offsets[glyph + 1]]
        if not outline or struct.unpack_from(">h", outline)[0] >= 0:
            return []
        components, position, flags = [], 10, _MORE_COMPONENTS
        while flags & _MORE_COMPONENTS:
            flags, component = struct.unpack_from(">HH", outline, position)
            components.append(component)
            position += 8 if flags & _WORD_ARGUMENTS else 6
            position += next((size for flag, size in _SCALES if flags & flag), 0)
        return components

    def _thousandths(self, units: int) -> int:
        return round(units * 1000 / self.units_per_em)


def _font_file(tables: dict[bytes, bytes]) -> bytes:
    power = len(tables).bit_length() - 1
    search_range = 16 << power
    header = struct.pack(">IHHHH", 0x00010000, len(tables), search_range, power, 16 * len(tables) - search_range)
    directory, content = [], []
    offset = len(header) + 16 * len(tables)
    for tag, table in sorted(tables.items()):
        padded = table + bytes(-len(table) % 4)
        checksum = sum(struct.unpack(f">{len(padded) // 4}I", padded)) % 2**32
        directory.append(_DIRECTORY_ENTRY.pack(tag, checksum, offset, len(table)))
        content.append(padded)
        offset += len(padded)
    return b"".join([header, *directory, *content])
