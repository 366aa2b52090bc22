"""Names as callers send them (users, models, tags, runs, sessions, ...), in the form in which they are stored and
compared: without white space around them, and normalized (Unicode NFC).

Events, authorizations, limits, filters and URLs all use `clean_name`, so a name can be found in any spelling that looks
the same. Ids of events and requests are no names; they are stored as they are.
"""

from unicodedata import normalize

MAX_LENGTH = 255


def clean_name(text: str) -> str:
    """Return a name as it is stored. (If its normal form is too long to be stored, only the white space is removed.)"""
    text = text.strip()
    if text.isascii():
        return text
    normalized = normalize("NFC", text)
    return normalized if len(normalized) <= MAX_LENGTH else text


def clean_user(text: str, *, ignores_case: bool) -> str:
    """Return the name of a user as it is stored, by the setting of the organization."""
    return clean_name(clean_name(text).casefold()) if ignores_case else clean_name(text)
