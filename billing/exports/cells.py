"""Cells of tables that people open in a spreadsheet."""

# What makes a spreadsheet calculate (CSV injection, OWASP), in both widths. Spaces before it do not help.
_FORMULA_SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_BREAKS = frozenset("\t\r\n")


def text_cell(text: str) -> str:
    """A text as it may stand in a cell: an apostrophe before whatever would be taken for a formula.

    For texts that callers have chosen. Numbers of ours may begin with a minus.
    """
    return f"'{text}" if text[:1] in _BREAKS or text.lstrip()[:1] in _FORMULA_SIGNS else text
