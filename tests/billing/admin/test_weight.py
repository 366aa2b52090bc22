"""How much a browser loads for its first page, without anything in its cache."""

import re
from pathlib import Path
from urllib.parse import urljoin

from django.conf import settings
from django.test import Client

from organizations.models import User
from tests.billing.admin.conftest import SignIn

MAX_BYTES = 400_000
FONTS = Path(settings.BASE_DIR) / "costtrack" / "static" / "costtrack" / "fonts"


def loaded(browser: Client, url: str) -> bytes:
    """What is sent, compressed if the browser accepts that."""
    response = browser.get(url, headers={"Accept-Encoding": "gzip, br"})
    assert response.status_code == 200, url
    return b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]


def test_the_first_page_is_loaded_with_less_than_400_kilobytes(owner: User, sign_in: SignIn) -> None:
    browser, page = sign_in(owner), "/o/acme/admin/usage/"
    html = browser.get(page).content.decode()
    files = re.findall(r'<link href="([^"]+)" rel="stylesheet"', html) + re.findall(r'<script src="([^"]+)"', html)
    fonts = re.findall(r'url\("([^"]+)"\)', browser.get("/static/costtrack/admin.css").getvalue().decode())
    files += [urljoin("/static/costtrack/admin.css", font) for font in fonts]
    assert len(set(files)) > 20
    total = len(loaded(browser, page)) + sum(len(loaded(browser, file)) for file in set(files))
    assert total < MAX_BYTES, total


# Where an icon has a name: in a template, as `icon=`, or in the first or second argument of what draws one.
_IN_TEMPLATES = re.compile(r"material-symbols-outlined[^>]*>\s*([a-z]\w+)\s*<")
_IN_CODE = re.compile(
    r'icon(?:=|": )"([a-z]\w+)"|(?:EmptyState|_with_icon)\(\s*"([a-z]\w+)"'
    r'|_(?:link|installation)\("[^"]+", "([a-z]\w+)"'
)


def test_every_icon_is_in_the_reduced_font() -> None:
    """Other words stay words. docs/dependencies.md says how an icon is added."""
    icons, used = set((FONTS / "icons.txt").read_text().split()), set()
    for folder in ("templates", "billing", "organizations", "costtrack"):
        for file in (Path(settings.BASE_DIR) / folder).rglob("*"):
            if file.suffix == ".html":
                used |= set(_IN_TEMPLATES.findall(file.read_text()))
            elif file.suffix == ".py":
                used |= {name for names in _IN_CODE.findall(file.read_text()) for name in names if name}
    assert len(used) > 40
    assert used <= icons
