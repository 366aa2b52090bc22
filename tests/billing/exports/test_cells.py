"""No text of a caller is a formula in a spreadsheet, whatever separates its cells."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.exports.cells import text_cell
from tests.profiles import examples


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("\uff1d1", "'\uff1d1"),
        ("\ufe661", "'\ufe661"),
        ("  @x", "'  @x"),
        ("\u200b=1", "'\u200b=1"),
        ("\ufeff\u2060-1", "'\ufeff\u2060-1"),
        ("\x00=1", "'\x00=1"),
        ("x;=1+1", "x;'=1+1"),
        ("x|+1", "x|'+1"),
        ("x\t-1", "x\t'-1"),
        ("x\n@y", "x\n'@y"),
        ("x; \u200b=1", "x;' \u200b=1"),
        ("\tx", "'\tx"),
        ("gpt-4o", "gpt-4o"),
        ("a;b|c", "a;b|c"),
        ("", ""),
    ],
)
def test_what_begins_a_cell_like_a_formula_gets_an_apostrophe(text: str, cell: str) -> None:
    assert text_cell(text) == cell


@given(st.text(st.sampled_from("=+-@;|\t\n\u200b \ufeffab,"), max_size=12))
@examples(200)
def test_no_separator_makes_a_formula(text: str) -> None:
    for part in re.split("[;|\t\n]", text_cell(text)):
        assert part.strip(" \u200b\ufeff")[:1] not in set("=+-@"), part
