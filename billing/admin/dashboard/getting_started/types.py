"""What the page Getting started offers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text to copy. `id` is unique on the page; `copy_label` is the label of its button."""

    id: str
    about: str
    text: str
    copy_label: str


@dataclass(frozen=True, slots=True)
class Integration:
    """A way to send usage. `scopes` are those that its credential needs."""

    id: str
    name: str
    about: str
    scopes: tuple[str, ...]
    snippets: tuple[Snippet, ...]
