"""Safe cells for files that are opened in a spreadsheet."""

# Characters that start a formula (CSV injection, OWASP), in both widths. Leading spaces do not prevent it.
_FORMULA_SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_BREAKS = frozenset("\t\r\n")


def text_cell(text: str) -> str:
    """Escape a text for a cell: texts that a spreadsheet would interpret as a formula get an apostrophe.

    Use it for texts from callers. Our own numbers may begin with a minus sign.
    """
    return f"'{text}" if text[:1] in _BREAKS or text.lstrip()[:1] in _FORMULA_SIGNS else text
