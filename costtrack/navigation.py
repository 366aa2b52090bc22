"""The pages of the admin in their order: the sidebar, the tabs below a page's title and the palette are built from
`ENTRIES` alone.

An entry of the sidebar opens the first of its tabs that the user may open; an entry with one tab shows no tabs. The
current tab is the one with the longest URL that the request's path begins with, so at most one entry is marked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import itemgetter

from django.http import HttpRequest
from django.urls import get_script_prefix, reverse
from unfold.dataclasses import SearchResult

from costtrack.organization_paths import installation_url, script_prefix

_OVERVIEW, _ORGANIZATIONS = "index", "organizations_organization_changelist"

MayOpen = Callable[[str], bool]
"""Whether the user may open an admin view, by its name."""


@dataclass(frozen=True, slots=True)
class Tab:
    """A page. `details` is the path of its rows' pages if they are not below its own; `words` are other words by which
    the palette finds it."""

    title: str
    view: str
    details: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    title: str
    icon: str
    tabs: tuple[Tab, ...]
    is_of_installation: bool = False
    """For operators; its pages show no organization."""


ENTRIES = (
    Entry("Overview", "space_dashboard", (Tab("Overview", _OVERVIEW),)),
    Entry(
        "Usage",
        "monitoring",
        (
            Tab("Usage", "usage", words="home spend cost dashboard chart"),
            Tab("Forecast", "forecast", words="expected prediction estimate month end band"),
            Tab("Anomalies", "billing_anomaly_changelist", words="unusual spend spike outlier runaway drop"),
            Tab("My usage", "own_usage"),
        ),
    ),
    Entry(
        "Explore",
        "query_stats",
        (
            Tab("Explore", "explore", words="tags breakdown top models users teams"),
            Tab("Exports", "exports", words="csv download files"),
        ),
    ),
    Entry(
        "Requests",
        "receipt_long",
        (
            Tab("Request log", "request_log", words="calls"),
            Tab("All events", "billing_usageevent_changelist", words="ledger"),
            Tab("Quarantine", "billing_quarantinedrecord_changelist"),
            Tab("Batches", "billing_ingestbatch_changelist"),
            Tab("Import files", "billing_upload_changelist", words="upload csv parquet"),
            Tab("Metrics as usage", "billing_metricsender_changelist", words="opentelemetry otlp"),
        ),
    ),
    Entry(
        "Runs & sessions",
        "account_tree",
        (
            Tab("Runs", "runs"),
            Tab("Sessions", "sessions", details="executions/", words="executions agents"),
            Tab("Outcomes", "outcomes", words="success failure retry unit cost roi"),
            Tab("Groups", "billing_generationgroup_changelist"),
            Tab("All runs", "billing_run_changelist"),
            Tab("All sessions", "billing_session_changelist"),
            Tab("All executions", "billing_execution_changelist"),
        ),
    ),
    Entry(
        "Limits",
        "speed",
        (
            Tab("Limits", "billing_spendlimit_changelist", words="budget cap"),
            Tab("Alerts", "billing_thresholdevent_changelist", words="threshold warning"),
            Tab("Limit requests", "billing_increaserequest_changelist", words="increase approve"),
            Tab("Authorizations", "billing_authorization_changelist"),
        ),
    ),
    Entry(
        "Credentials",
        "key",
        (Tab("Credentials", "organizations_apicredential_changelist", words="api key secret token client id"),),
    ),
    Entry(
        "Getting started",
        "rocket_launch",
        (Tab("Getting started", "getting_started", words="setup integration sdk install"),),
    ),
    Entry(
        "Prices",
        "sell",
        (
            Tab("Prices", "billing_priceversion_changelist", words="rates catalog"),
            Tab("Pricing", "pricing", words="cost by model"),
            Tab("Unpriced", "billing_unpricedevent_changelist", words="no price missing"),
            Tab("Repricing", "billing_repricing_changelist", words="reprice"),
            Tab("Agreements", "billing_agreement_changelist", words="discount"),
            Tab("Price check", "price_check"),
        ),
    ),
    Entry(
        "Billing",
        "payments",
        (
            Tab("Plan", "plan", words="invoice upgrade subscription"),
            Tab("Statements", "statements", words="month close booking finance chargeback"),
            Tab("Credits", "billing_credit_changelist"),
            Tab("Provider bills", "provider_bills", words="invoice reconciliation openai anthropic openrouter"),
            Tab("Commitments", "commitments", words="subscription seats provisioned capacity ptu fixed fee idle"),
            Tab("Shared cost", "allocation", words="allocation chargeback showback split cost center unallocated"),
        ),
    ),
    Entry(
        "Notifications",
        "notifications",
        (
            Tab("Notices", "notices", words="alerts bell inbox"),
            Tab("Email notifications", "notification_preferences", words="mail alerts"),
            Tab("Email reports", "reports", words="mail weekly monthly summary digest subscribe"),
            Tab("Email addresses", "billing_notificationaddress_changelist", words="mail recipients"),
            Tab("Webhooks", "billing_webhookendpoint_changelist"),
            Tab("Deliveries", "billing_delivery_changelist", words="outbox"),
            Tab("Email previews", "email_previews"),
        ),
    ),
    Entry(
        "Settings",
        "settings",
        (
            Tab("Organization", _ORGANIZATIONS),
            Tab("Members", "organizations_membership_changelist", words="users people invite role"),
            Tab("Teams", "organizations_team_changelist"),
            Tab("Bill connections", "bill_connections", words="openai anthropic openrouter admin key fetch invoice"),
            Tab("Audit log", "organizations_auditentry_changelist", words="history changes"),
        ),
    ),
    Entry(
        "Installation",
        "domain",
        (
            Tab("All organizations", _ORGANIZATIONS),
            Tab("Plans", "organizations_plan_changelist"),
            Tab("Users", "organizations_user_changelist"),
            Tab("Security log", "organizations_securityevent_changelist"),
            Tab("Health", "health", words="status"),
        ),
        is_of_installation=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A tab that the user may open. `is_current`: its page is shown, or the page of one of its rows. `is_open`: the URL
    is exactly its own."""

    tab: Tab
    url: str
    is_current: bool
    is_open: bool

    @property
    def title(self) -> str:
        return self.tab.title


@dataclass(frozen=True, slots=True)
class Group:
    """An entry of the sidebar with the tabs that the user may open, of which there is at least one. The only tab gives
    it its title."""

    entry: Entry
    links: tuple[Link, ...]

    @property
    def title(self) -> str:
        return self.entry.title if len(self.links) > 1 else self.links[0].title

    @property
    def url(self) -> str:
        return self.links[0].url

    @property
    def current(self) -> Link | None:
        return next((link for link in self.links if link.is_current), None)


@dataclass(frozen=True, slots=True)
class Navigation:
    groups: tuple[Group, ...]

    @property
    def tab(self) -> Link | None:
        """The current tab; None on a page that belongs to no entry."""
        return next((link for group in self.groups if (link := group.current)), None)

    @property
    def tabs(self) -> tuple[Link, ...]:
        """The tabs of the current entry; empty if there is no choice."""
        links = next((group.links for group in self.groups if group.current), ())
        return links if len(links) > 1 else ()


def navigation(request: HttpRequest, may_open: MayOpen) -> Navigation:
    """Return the entries and tabs that the user may open. Links to organization pages stay in the current organization;
    operators also see the installation's pages."""
    is_operator = bool(getattr(request.user, "is_superuser", False))
    shown = [
        (entry, [(tab, _url(request, entry, tab)) for tab in tabs])
        for entry in ENTRIES
        if (is_operator or not entry.is_of_installation)
        and (tabs := [tab for tab in entry.tabs if may_open(tab.view) and not _is_left_out(tab, entry, request)])
    ]
    current = _current(request.path, [located for _, tabs in shown for located in tabs])
    return Navigation(
        tuple(
            Group(entry, tuple(Link(tab, url, tab is current, url == request.path) for tab, url in tabs))
            for entry, tabs in shown
        )
    )


@cache
def page_title(view: str) -> str:
    """Return the title of a page, by the name of its view; empty for a page that belongs to no entry."""
    return next((tab.title for entry in ENTRIES for tab in entry.tabs if tab.view == view), "")


def matching_pages(shown: Navigation, text: str) -> list[SearchResult]:
    """Return the pages of the navigation whose names or other words contain every word of the text."""
    words = text.casefold().split()
    return [
        SearchResult(link.title, group.title if link.title != group.title else "Page", link.url, group.entry.icon)
        for group in shown.groups
        for link in group.links
        if all(word in f"{group.entry.title} {link.title} {link.tab.words}".casefold() for word in words)
    ]


def _is_left_out(tab: Tab, entry: Entry, request: HttpRequest) -> bool:
    """Whether a page is not in the navigation: the overview of all organizations on a page of one of them, and the list
    of organizations where operators have it among the installation's pages."""
    if getattr(request, "organization", None) is not None:
        return tab.view == _OVERVIEW
    return tab.view == _ORGANIZATIONS and not entry.is_of_installation and request.user.is_superuser


def _current(path: str, tabs: list[tuple[Tab, str]]) -> Tab | None:
    """Return the tab whose URL, or that of its rows, is the longest one that the path begins with."""
    home = get_script_prefix() + _path(_OVERVIEW)
    prefixes = [(url, tab) for tab, url in tabs if url != home or path == home]
    prefixes += [(home + tab.details, tab) for tab, _ in tabs if tab.details]
    matches = [(len(prefix), tab) for prefix, tab in prefixes if path.startswith(prefix)]
    return max(matches, key=itemgetter(0))[1] if matches else None


def _url(request: HttpRequest, entry: Entry, tab: Tab) -> str:
    if entry.is_of_installation:
        return installation_url(tab.view)
    organization = getattr(request, "organization", None)
    if tab.view == _ORGANIZATIONS and organization is not None:
        return reverse("admin:organizations_organization_change", args=[organization.pk])
    return get_script_prefix() + _path(tab.view)


@cache
def _path(view: str) -> str:
    """Return the path without the script prefix. Cached, because each page has 40 links and `reverse` is slow."""
    with script_prefix("/"):
        return reverse(f"admin:{view}").removeprefix("/")
