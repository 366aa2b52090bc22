"""Safe cells for files that are opened in a spreadsheet."""

import re
from unicodedata import category, normalize

_SIGNS = frozenset("=+-@")
# What ends a cell or a line in some spreadsheet. (A comma is quoted in our files.)
_SEPARATORS = re.compile("([;|\t\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029])")
_BREAKS = frozenset("\t\r\n")


def text_cell(text: str) -> str:
    """Escape a text for a cell (CSV injection, OWASP): what a spreadsheet would interpret as a formula gets an
    apostrophe, at the beginning of the text and after each character that may separate cells.

    Use it for texts from callers. Our own numbers may begin with a minus sign.
    """
    parts = _SEPARATORS.split(text)
    escaped = "".join(f"'{part}" if _is_formula(part) else part for part in parts)
    return f"'{escaped}" if text[:1] in _BREAKS else escaped


def _is_formula(text: str) -> bool:
    """Whether the first visible character is the sign of a formula, in any width."""
    first = next((character for character in text if not _is_invisible(character)), "")
    return normalize("NFKC", first)[:1] in _SIGNS if first else False


def _is_invisible(character: str) -> bool:
    """Whether spreadsheets may skip it: white space, controls, and formats such as a zero-width space."""
    return character.isspace() or category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn")
