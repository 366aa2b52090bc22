"""Texts that users write."""

from costtrack.errors import field_error

MAX_REASON_LENGTH = 255


def clean_text(text: str, *, param: str, max_length: int = MAX_REASON_LENGTH) -> str:
    """Return a reason or an answer on one line. Raises InvalidError if it is empty or too long."""
    text = " ".join(text.split())
    if not text:
        raise field_error(param, "A reason is required.")
    if len(text) > max_length:
        raise field_error(param, f"Must be at most {max_length} characters.")
    if "\0" in text:
        raise field_error(param, "Must not contain NUL characters.")
    return text
