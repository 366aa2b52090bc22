"""What people notice without being able to name it: pages that can be used by everybody, and that are light.

The bounds stand here, for every page. How long the server takes differs from machine to machine; here it is bounded by
what takes the time, questions to the database and calls of functions. `python -m benchmarks pages` compares the time
with a bare view's.
"""

import cProfile
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Page, expect

from billing.models import ReportSubscription
from billing.notifications.report_subscriptions import unsubscribe_url
from costtrack.clock import utc_now
from organizations.models import User
from tests import profiles
from tests.browser.conftest import AXE_URL, Browse, Windows
from tests.browser.screens import COLORS, DESK, HAND, assert_well_formed, colors_of
from tests.conftest import Key
from tests.pages import every_page, kind_of, signed_in
from tests.usage import Send

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("usage", "key"),
    pytest.mark.timeout(900),  # some tests look at every page
]


@dataclass(frozen=True)
class Bounds:
    """Of one page that nothing of is known yet (a cold cache). Most of it are the theme's scripts and styles."""

    requests: int = 40
    kilobytes: int = 600
    nodes: int = 3_000
    queries: int = 30
    thousand_calls: int = 200
    """Of functions, for an answer of the server: 170 for the choice of a time zone, up to 100 for all others."""


BOUNDS = Bounds()
SEVERE = ("serious", "critical")
BEST_PRACTICE = ("landmark-one-main", "target-size", "landmark-unique", "page-has-heading-one", "bypass", "region")
"""Rules whose violations are not severe."""
GZIP = {"accept-encoding": "gzip"}


def addresses(client: Client, without: Container[str] = ()) -> list[str]:
    return [path for path, _ in every_page(client, without)]


# --- Accessibility ---------------------------------------------------------------------------------------------


_OPTIONS = {
    "resultTypes": ["violations"],
    # Frames are closed to the page's scripts. What is loaded ahead, all styles for one, is for rules that are not
    # severe.
    "iframes": False,
    "preload": False,
}
WITHOUT_SIDEBAR = {"exclude": [["#nav-sidebar"]]}
# A table's rows are alike, and axe takes as long for each of them as for the first.
_ROWS = profiles.choose(6, long=1_000)
# The theme follows the system's colors when it loads; naming them is what it does then. A violation is as severe as its
# rule, so rules whose violations would be dropped are not run.
_VIOLATIONS = """async ([colors, context, options, severe, practice, rows]) => {
    const counts = ({ id, impact }) => severe.includes(impact) || practice.includes(id);
    const others = axe._audit.rules.filter((rule) => rule.impact && !counts(rule));
    const rules = Object.fromEntries([
        ...others.map(({ id }) => [id, { enabled: false }]),
        ...practice.map((id) => [id, { enabled: true }]),  // axe leaves out target-size unless it is named
    ]);
    const bodies = [...document.querySelectorAll("tbody")];
    const further = bodies.flatMap((body) => [...body.rows].slice(rows)).filter((row) => !row.hidden);
    further.forEach((row) => { row.hidden = true; });
    document.documentElement.className = colors;
    const { violations } = await axe.run(context ?? document, { ...options, rules });
    further.forEach((row) => { row.hidden = false; });
    return violations
        .filter(counts)
        .flatMap(({ id, nodes }) => nodes.slice(0, 3).map(({ target, html, failureSummary }) =>
            `(${colors}) ${id}: ${target} ${html.slice(0, 160)} ${failureSummary.replaceAll("\\n", " ")}`));
}"""


def violations(page: Page, *schemes: str, context: Any = None) -> Iterator[str]:
    """Severe violations, and those of `BEST_PRACTICE`, that axe finds in these colors, on the whole page or in the part
    that `context` selects."""
    if page.evaluate("typeof axe") == "undefined":
        page.add_script_tag(url=AXE_URL)
    for colors in schemes:
        found = page.evaluate(_VIOLATIONS, [colors, context, _OPTIONS, SEVERE, BEST_PRACTICE, _ROWS])
        yield from (f"{urlsplit(page.url).path} {violation}" for violation in found)


def test_the_check_itself_sees_what_is_wrong(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto("/o/acme/admin/plan/")
    page.evaluate("document.querySelector('#content').prepend(document.createElement('button'))")
    small = '<button style="all: unset; display: inline-block; width: 9px; height: 9px">x</button>' * 2
    page.evaluate("small => document.querySelector('#content').insertAdjacentHTML('afterbegin', small)", small)
    found = list(violations(page, "light"))
    assert [problem for problem in found if "button-name" in problem]
    assert [problem for problem in found if "target-size" in problem]


def test_requests_that_fail_or_are_refused_are_seen(browse: Browse, owner: User, windows: Windows) -> None:
    page = browse(owner, viewport=DESK)
    page.goto("/o/acme/admin/plan/")
    (window,) = [window for _, window in windows if window.is_taken]
    page.evaluate("""async () => {
        const image = document.body.appendChild(document.createElement("img"));
        const failed = new Promise((resolve) => { image.onerror = resolve; });
        image.src = "/static/no-such-image.png";
        await Promise.all([failed, fetch("/o/acme/no-such-page/"), fetch("/usage/events?limit=x")]);
        await fetch("http://127.0.0.1:9/").catch(() => {});
    }""")
    page.goto("/o/acme/no-such-page/too/")
    found, window.problems = " ".join(window.problems), []
    for part in ("no-such-image.png", "no-such-page/'", "events?limit=x", "127.0.0.1:9/", "no-such-page/too/"):
        assert part in found, found


def test_menus_open_and_close_by_keyboard(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto("/o/acme/admin/billing/usageevent/")
    for name, inside in (
        (owner.email, page.get_by_role("button", name="Sign out")),
        ("Filters", page.get_by_role("button", name="Apply Filters")),
    ):
        page.get_by_role("button", name=name).first.press("Enter")
        expect(inside).to_be_visible()
        page.keyboard.press("Escape")
        expect(inside).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Search").get_by_role("link", name="Audit log")).to_be_visible()
    page.keyboard.type("no such page")
    expect(page.get_by_role("dialog", name="Search")).to_contain_text("No results")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Search")).to_be_hidden()
    page.get_by_role("button", name="Show or hide the navigation").press("Enter")
    expect(page.locator("#nav-sidebar-apps")).to_be_hidden()
    page.get_by_role("button", name="Show or hide the navigation").press("Enter")
    expect(page.locator("#nav-sidebar-apps")).to_be_visible()


# --- Weight ----------------------------------------------------------------------------------------------------


# The page itself and its files.
_LOADED = """() => ["navigation", "resource"]
    .flatMap((type) => performance.getEntriesByType(type).map((entry) => entry.name))
    .filter((url) => !url.startsWith("data:"))"""


def sent(client: Client, address: str) -> int:
    """Bytes of an answer as production sends it: compressed."""
    path = urlsplit(address)
    response = client.get(f"{path.path}?{path.query}" if path.query else path.path, headers=GZIP)
    assert response.status_code == 200, address
    return len(b"".join(response))


@dataclass
class Walk:
    """What is wrong with the pages of a user: each is opened once, and seen on a desk and in a hand."""

    page: Page
    client: Client
    problems: list[str] = field(default_factory=list)
    queries: dict[str, int] = field(default_factory=dict)
    """Of each page."""
    _sizes: dict[str, int] = field(default_factory=dict)

    def visit(self, path: str) -> None:
        """It is opened in the window of the page before, and its window is changed once."""
        number = len(self.queries)
        self.page.goto(path, wait_until="load")
        is_on_a_desk = self.page.viewport_size == DESK
        # The sidebar is half of a page, and the same on all: it is checked once in each color.
        context = None if number < len(COLORS) else WITHOUT_SIDEBAR
        bounds = self._measure(path)
        self.queries[path] = bounds.queries
        if _is_over(bounds):
            self.problems.append(f"{path}: {bounds}")
        if is_on_a_desk:
            self.problems += violations(self.page, *colors_of(number), context=context)
        assert_well_formed(self.page)
        self.page.set_viewport_size(HAND if is_on_a_desk else DESK)
        assert_well_formed(self.page)
        if not is_on_a_desk:
            self.problems += violations(self.page, *colors_of(number), context=context)

    def _measure(self, path: str) -> Bounds:
        """Measure a second request: the browser's has filled the caches."""
        loaded = set[str](self.page.evaluate(_LOADED))
        with CaptureQueriesContext(connection) as captured, cProfile.Profile() as profile:
            self._sizes[self.page.url] = sent(self.client, path)
        count = len(captured)  # before the next request empties the log
        for url in loaded - self._sizes.keys():
            self._sizes[url] = sent(self.client, url)
        return Bounds(
            requests=len(loaded),
            kilobytes=sum(self._sizes[url] for url in loaded) // 1000,
            nodes=self.page.evaluate("document.getElementsByTagName('*').length"),
            queries=count,
            thousand_calls=sum(entry.callcount for entry in profile.getstats()) // 1000,
        )


def _is_over(bounds: Bounds) -> bool:
    return any(getattr(bounds, bound.name) > getattr(BOUNDS, bound.name) for bound in fields(Bounds))


def queries(client: Client, path: str) -> int:
    """Questions that a page puts to the database."""
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    return len(captured)


def test_every_page_is_accessible_and_within_its_bounds_with_any_amount_of_data(
    browse: Browse, owner: User, operator: User, key: Key, send: Send
) -> None:
    """Of operators, in the short profile, the pages that owners do not have; the others are the same ones."""
    client = signed_in(owner)
    send(*calls(1), now=utc_now())
    client.post("/o/acme/admin/reports/new/", {"frequency": "weekly", "scope": "organization"})
    owners = Walk(browse(owner, viewport=DESK, reduced_motion="reduce"), client)
    for path in addresses(client):
        owners.visit(path)
    assert len(owners.queries) > 25

    known = set() if profiles.IS_LONG else {kind_of(path) for path in owners.queries}
    operators = Walk(browse(operator, viewport=DESK, reduced_motion="reduce"), signed_in(operator))
    for path in ["/o/acme/admin/usage/", *addresses(operators.client, known)]:
        operators.visit(path)
    assert len(operators.queries) > 6
    problems = owners.problems + operators.problems
    assert not problems, "\n".join(problems)

    send(*calls(30), now=utc_now())
    more = [path for path, count in owners.queries.items() if queries(client, path) != count]
    # These may have filled caches; it is their second answer that counts.
    assert {path: queries(client, path) for path in more} == {path: owners.queries[path] for path in more}


def test_public_pages_are_accessible(browse: Browse, owner: User) -> None:
    signed_in(owner).post("/o/acme/admin/reports/new/", {"frequency": "weekly", "scope": "organization"})
    subscription = ReportSubscription.objects.get()
    page = browse(viewport=DESK, reduced_motion="reduce")
    page.goto("/admin/login/")
    assert list(violations(page, *colors_of(0))) == []
    page.goto(unsubscribe_url(subscription.organization_id, subscription.pk))
    assert list(violations(page, *colors_of(1))) == []
    page.set_viewport_size(HAND)
    assert_well_formed(page)
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_role("heading", name="You are unsubscribed")).to_be_visible()
    assert not ReportSubscription.objects.exists()


def calls(number: int) -> list[dict[str, Any]]:
    """Calls that have nothing in common: each is of its own model, run, session and so on."""
    names = ("model", "run_id", "workflow_id", "session_id", "execution_id", "group_id", "user_id", "agent_id", "tool")
    return [
        {
            "id": f"quality-{number}-{index}",
            "service": "openai",
            "input_tokens": 10,
            "cost_usd": "0.01",
            "tags": [f"tag-{index}"],
            **{name: f"{name}-{index}" for name in names},
        }
        for index in range(number)
    ]
