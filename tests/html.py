"""HTML as a tree: elements are found by selectors as in style sheets, and have the text that people read.

    document = parse("<p id='total'>Total: <b>$5</b></p>")
    document.first("#total b").text  # "$5"

What scripts and styles do to a page is not known here: that takes a browser.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# An element that begins while one of these is open ends it.
_ENDED_BY = {"li": {"li"}, "option": {"option"}, "tr": {"tr"}, "td": {"td", "th", "tr"}, "th": {"td", "th", "tr"}}
_WITHOUT_TEXT = {"script", "style", "template", "title", "head", "select", "svg"}
_LINES = {
    *("address", "article", "aside", "blockquote", "br", "button", "dd", "details", "div", "dl", "dt", "fieldset"),
    *("figure", "footer", "form", "h1", "h2", "h3", "h4", "header", "hr", "label", "legend", "li", "main", "nav"),
    *("ol", "p", "pre", "section", "small", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
}
_STEPS = re.compile(r"(?:\[[^\]]*\]|[^\s\[])+")
_CONDITION = re.compile(
    r"(?P<tag>^[\w-]+)|#(?P<id>[\w-]+)|\.(?P<css>[\w-]+)|"
    r"\[(?P<name>[\w-]+)(?:(?P<how>[*^$]?)=(?P<value>[^\]]*))?\]"
)


@dataclass(eq=False)
class Element:
    """A tag with its attributes and what is inside it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parent: "Element | None" = field(default=None, repr=False)
    children: list["Element | str"] = field(default_factory=list, repr=False)

    def __getitem__(self, attribute: str) -> str:
        return self.attributes.get(attribute, "")

    def __contains__(self, attribute: str) -> bool:
        return attribute in self.attributes

    @property
    def elements(self) -> list["Element"]:
        return [child for child in self.children if isinstance(child, Element)]

    def walk(self) -> Iterator["Element"]:
        """Everything inside it, in the order of the page."""
        for child in self.elements:
            yield child
            yield from child.walk()

    def around(self) -> Iterator["Element"]:
        """The element itself and those that it is inside of, the innermost first."""
        element: Element | None = self
        while element is not None:
            yield element
            element = element.parent

    def all(self, selector: str) -> list["Element"]:
        """By tags, ids, classes, attributes and descendants: `table.ct-runs [name^=x], form`. (No `>`, no `:`.)"""
        choices = [[_conditions(step) for step in _STEPS.findall(choice)] for choice in selector.split(",")]
        return [element for element in self.walk() if any(_matches(element, steps, self) for steps in choices)]

    def first(self, selector: str) -> "Element":
        found = self.all(selector)
        assert found, f"{selector} is not on the page:\n{self.text}"
        return found[0]

    def closest(self, tag: str) -> "Element":
        return next(element for element in self.around() if element.tag == tag)

    @property
    def text(self) -> str:
        """In one line."""
        return " ".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """The text, block by block, without hidden elements and icons."""
        parts: list[str] = []
        self._collect(parts)
        lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
        return [line for line in lines if line]

    @property
    def name(self) -> str:
        """By which people call a link, a button or a region."""
        return self["aria-label"] or self.text or self["value"]

    def _is_unseen(self) -> bool:
        is_symbol = "material-symbols-outlined" in self["class"]
        return is_symbol or self.tag in _WITHOUT_TEXT or "hidden" in self or self["aria-hidden"] == "true"

    def _collect(self, parts: list[str]) -> None:
        if self._is_unseen():
            return
        line = ["\n"] if self.tag in _LINES or "ct-two-lines" in self["class"] else []
        parts += line
        for child in self.children:
            if isinstance(child, Element):
                child._collect(parts)
            else:
                parts.append(child if self.tag == "pre" else child.replace("\n", " "))
        parts += line


def parse(html: str) -> Element:
    parser = _Parser(convert_charrefs=True)
    parser.feed(html)
    parser.close()
    return parser.root


class _Parser(HTMLParser):
    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self.root = self._inside = Element("document")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while tag in _ENDED_BY.get(self._inside.tag, ()):
            self._leave(self._inside)
        element = Element(tag, {name: value or "" for name, value in attrs}, self._inside)
        self._inside.children.append(element)
        if tag not in _VOID:
            self._inside = element

    def handle_endtag(self, tag: str) -> None:
        ended = next((element for element in self._inside.around() if element.tag == tag), None)
        if ended is not None:
            self._leave(ended)

    def handle_data(self, data: str) -> None:
        self._inside.children.append(data)

    def _leave(self, element: Element) -> None:
        assert element.parent is not None
        self._inside = element.parent


def _conditions(step: str) -> list[dict[str, str]]:
    matches = list(_CONDITION.finditer(step))
    assert "".join(match.group() for match in matches) == step, f"not understood: {step}"
    return [{kind: value for kind, value in match.groupdict().items() if value is not None} for match in matches]


def _matches(element: Element, steps: list[list[dict[str, str]]], root: Element) -> bool:
    *before, last = steps
    if not all(_holds(element, condition) for condition in last):
        return False
    if not before:
        return True
    around = element.parent
    while around is not None and around is not root:
        if _matches(around, before, root):
            return True
        around = around.parent
    return False


def _holds(element: Element, condition: dict[str, str]) -> bool:
    if "tag" in condition:
        return element.tag == condition["tag"]
    if "id" in condition:
        return element["id"] == condition["id"]
    if "css" in condition:
        return condition["css"] in element["class"].split()
    if condition["name"] not in element:
        return False
    if "value" not in condition:
        return True
    value, expected = element[condition["name"]], condition["value"].strip("'\"")
    return {
        "": value == expected,
        "^": value.startswith(expected),
        "$": value.endswith(expected),
        "*": expected in value,
    }[condition["how"]]
