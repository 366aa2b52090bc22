"""Pages without a browser: Django's test client follows links and sends forms as people do, and the page is what the
server has sent (`tests.html`). That takes a tenth of a browser's time.

For what pages say and what their links and forms lead to. What scripts and styles do is tried in Chromium, where each
page is opened at least once, and each of its kinds of controls is used.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from django.test import Client

from organizations.models import User
from tests.html import Element, parse

_FORM = "application/x-www-form-urlencoded"
_BUTTONS = ("submit", "button", "reset", "image")


class PlainPage:
    """A page that a signed-in or anonymous user has open. Forms must contain Django's token, as in a browser."""

    def __init__(self, user: User | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        if user is not None:
            self.client.force_login(user)
        self.url = "/"
        self.document = parse("")
        self._before: list[tuple[str, Element]] = []

    # --- Going about ---

    def goto(self, address: str, *, status: int = 200) -> None:
        """A path with its query, from the page that is open on. What it leads to must answer with the status."""
        self._show(self.client.get(urljoin(self.url, address), follow=True), status)

    def reload(self) -> None:
        self.goto(self.url)
        self._before.pop()

    def back(self) -> None:
        self.url, self.document = self._before.pop()

    def click(self, name: str, role: str = "", within: str = "") -> None:
        """The first link or button with this name."""
        clicked = self.find(name, role, within)
        if clicked.tag == "a":
            self.goto(clicked["href"])
        else:
            self.send(_form_of(clicked, self.document), clicked)

    def open(self, selector: str) -> None:
        """The first link inside of what the selector selects."""
        self.goto(self.document.first(f"{selector} a[href]")["href"])

    def send(self, form: Element, button: Element | None = None) -> None:
        self._show(self._answer(form, button), 200)

    def download(self, button: str) -> bytes:
        """The file that a button leads to; the page stays open."""
        clicked = self.find(button, "button")
        response = self._answer(_form_of(clicked, self.document), clicked)
        assert response["Content-Disposition"].startswith("attachment"), self.url
        content: bytes = response.getvalue()
        return content

    def fragment(self, address: str) -> Element:
        """What a script puts into the page that is open."""
        response = self.client.get(urljoin(self.url, address), headers={"HX-Request": "true"})
        assert response.status_code == 200, address
        return parse(response.content.decode())

    def _answer(self, form: Element, button: Element | None) -> Any:
        pairs = list(_filled_in(form, self.document))
        if button is not None and button["name"]:
            pairs.append((button["name"], button["value"]))
        address = urljoin(self.url, form["action"])
        if form["method"].casefold() == "post":
            return self.client.post(address, urlencode(pairs), _FORM, follow=True)
        # The script of filters leaves out what is empty.
        query = urlencode([(name, value) for name, value in pairs if value])
        return self.client.get(f"{urlsplit(address).path}?{query}", follow=True)

    # --- Filling in ---

    def fill(self, label: str, value: str, within: str = "") -> None:
        """The field with this label or name (`From_time` is also `From time`). A box is checked by any text."""
        _set(self.field(label, within), value)

    def field(self, label: str, within: str = "") -> Element:
        found = [element for element in self._inside(within).all("input, select, textarea") if self._is(element, label)]
        assert found, f"{self.url} has no field {label}"
        return found[0]

    def _is(self, element: Element, label: str) -> bool:
        if label in (element["name"], element["aria-label"]):
            return True
        return label.replace("_", " ") in (
            label_element.text.rstrip(" *") for label_element in _labels_of(element, self.document)
        )

    # --- Reading ---

    @property
    def title(self) -> str:
        (title,) = self.document.all("head title")
        return " ".join("".join(child for child in title.children if isinstance(child, str)).split())

    @property
    def heading(self) -> str:
        return self.document.first("h1").text

    @property
    def text(self) -> str:
        return self.document.text

    def headings(self) -> list[str]:
        return [heading.text for heading in self.document.all("h1, h2, h3")]

    def names(self, role: str, within: str = "") -> list[str]:
        """Of links or buttons."""
        return [element.name for element in self._with_role(role, within)]

    def find(self, name: str, role: str = "", within: str = "") -> Element:
        roles = (role,) if role else ("link", "button")
        found = [element for role in roles for element in self._with_role(role, within) if element.name == name]
        assert found, f"{self.url} has no {' or '.join(roles)} {name}"
        return found[0]

    def _with_role(self, role: str, within: str) -> list[Element]:
        selector = "a[href]" if role == "link" else "button, input[type=submit]"
        return self._inside(within).all(selector)

    def _inside(self, selector: str) -> Element:
        return self.document.first(selector) if selector else self.document

    def _show(self, response: Any, status: int) -> None:
        assert response.status_code == status, (response.request, response.status_code)
        self._before.append((self.url, self.document))
        request = response.request
        self.url = f"{request['PATH_INFO']}?{request['QUERY_STRING']}".rstrip("?")
        self.document = parse(response.content.decode())


def _form_of(button: Element, document: Element) -> Element:
    return document.first(f"form#{button['form']}") if button["form"] else button.closest("form")


def _labels_of(element: Element, document: Element) -> Iterator[Element]:
    for around in element.around():
        if around.tag == "label":
            yield around
    if element["id"]:
        yield from (label for label in document.all("label[for]") if label["for"] == element["id"])


def _set(element: Element, value: str) -> None:
    if element.tag == "select":
        options = element.all("option")
        chosen = [option for option in options if value in (option["value"], option.text)]
        assert chosen, f"{element['name']} has no option {value}"
        for option in options:
            option.attributes.pop("selected", None)
        chosen[0].attributes["selected"] = ""
    elif element.tag == "textarea":
        element.children = [value]
    elif element["type"] in ("checkbox", "radio"):
        element.attributes.pop("checked", None)
        if value:
            element.attributes["checked"] = ""
    else:
        element.attributes["value"] = value


def _filled_in(form: Element, document: Element) -> Iterator[tuple[str, str]]:
    """What a browser sends of a form: names and values."""
    for element in document.all("input, select, textarea"):
        owner = element["form"] or None
        is_inside = form in element.around() if owner is None else owner == form["id"]
        if not is_inside or not element["name"] or "disabled" in element or element["type"] in _BUTTONS:
            continue
        if element.tag == "select":
            options = element.all("option")
            chosen = [option for option in options if "selected" in option]
            for option in chosen or ([] if "multiple" in element else options[:1]):
                yield element["name"], option.attributes.get("value", option.text)
        elif element.tag == "textarea":
            text = "".join(child for child in element.children if isinstance(child, str))
            yield element["name"], text.removeprefix("\n")
        elif element["type"] in ("checkbox", "radio"):
            if "checked" in element:
                yield element["name"], element.attributes.get("value", "on")
        elif element["type"] != "file":
            yield element["name"], element["value"]
