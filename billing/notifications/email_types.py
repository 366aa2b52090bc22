"""The content of an e-mail, before it is rendered."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from billing.notifications.times import LocalTime, local_time
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.money import usd

_TEXT_BAR_WIDTH = 20
IN_WINDOW = {
    LimitWindow.ROLLING_7D: "in the last 7 days",
    LimitWindow.CALENDAR_DAY: "today",
    LimitWindow.CALENDAR_WEEK: "this week",
    LimitWindow.CALENDAR_MONTH: "this month",
    LimitWindow.LIFETIME: "since the beginning",
}


class Tone(StrEnum):
    """The color of the message."""

    WARNING = "warning"
    STOP = "stop"
    GOOD = "good"
    PLAIN = "plain"


class Page(StrEnum):
    """The page that the button links to."""

    LIMIT = "limit"
    REQUEST = "request"
    WEBHOOK = "webhook"
    HOME = "home"


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """`percent` of the limit is used, rounded down so that 100 means reached; `width` is that of the bar, 0 to 100."""

    percent: int
    width: int
    spent: str
    amount: str

    @property
    def text(self) -> str:
        """The bar for the plain-text part."""
        filled = self.width * _TEXT_BAR_WIDTH // 100
        return f"[{'#' * filled}{'.' * (_TEXT_BAR_WIDTH - filled)}] {self.percent}%"


@dataclass(frozen=True, slots=True)
class Quote:
    """A user's text."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    label: str
    tone: Tone
    headline: str
    lead: str
    why: str
    button: str
    page: Page = Page.HOME
    page_id: int | None = None
    progress_bar: ProgressBar | None = None
    returns: LocalTime | None = None
    details: tuple[tuple[str, str], ...] = ()
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class EmailContext:
    """A notice's data, with properties for use in sentences."""

    organization: str
    zone: ZoneInfo
    data: Mapping[str, Any]

    @property
    def limit(self) -> Mapping[str, Any]:
        limit: Mapping[str, Any] = self.data["limit"]
        return limit

    @property
    def amount(self) -> Decimal:
        return Decimal(self.limit["amount_usd"])

    @property
    def spent(self) -> Decimal | None:
        """Return the spend; None for a limit that is no longer in force, or that is paused for all its values."""
        text = self.data.get("spent_usd")
        return None if text is None else Decimal(text)

    @property
    def window(self) -> LimitWindow:
        return LimitWindow(self.limit["window"])

    @property
    def pauses(self) -> bool:
        return self.limit.get("action") == LimitAction.PAUSE.value

    @property
    def subject(self) -> str:
        """Return what the limit applies to: `Acme Research`, `user ada`, `each run`."""
        scope = LimitScope(self.limit["scope"])
        if scope is LimitScope.ORGANIZATION:
            return self.organization
        value, name = self.limit.get("scope_value"), scope.label.lower()
        return f"{name} {value}" if value else f"each {name}"

    @property
    def capitalized_subject(self) -> str:
        """Return `subject` for the beginning of a sentence. An organization's name stays as it is."""
        return self.subject if self.subject == self.organization else self.subject[:1].upper() + self.subject[1:]

    @property
    def in_window(self) -> str:
        return IN_WINDOW[self.window]

    def usd(self, name: str, values: Mapping[str, Any] | None = None) -> str | None:
        text = (self.data if values is None else values).get(name)
        return None if text is None else usd(Decimal(text))

    def time(self, name: str, values: Mapping[str, Any] | None = None) -> LocalTime | None:
        return local_time((self.data if values is None else values).get(name), self.zone)

    def format_time(self, name: str, values: Mapping[str, Any] | None = None) -> str | None:
        instant = self.time(name, values)
        return None if instant is None else instant.local
