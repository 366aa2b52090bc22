"""Whether usage comes in, and which models wait for a price, in the installation as a whole. Read-only.

However large the ledger is, no question looks at more than a fixed number of rows; where it ends there, the answer says
so ("at least").
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from billing.types import UnpricedReason
from costtrack.clock import utc_now
from costtrack.health.registry import Check, Link
from costtrack.ids import ids_at
from costtrack.organization_paths import for_organization

MAX_EXAMINED = 20_000
MAX_MODELS = 5

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# A span of time is a range of an organization's batches (`costtrack.ids`).
_LAST = """
SELECT max(newest.received_at) FROM organizations_organization AS organization
CROSS JOIN LATERAL (
    SELECT batch.received_at FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = organization.id ORDER BY batch.id DESC LIMIT 1
) AS newest
"""
_RECEIVED = """
SELECT coalesce(sum(accepted), 0), coalesce(sum(rejected), 0), count(*) FROM (
    SELECT recent.accepted, recent.rejected FROM organizations_organization AS organization
    CROSS JOIN LATERAL (
        SELECT batch.accepted, batch.rejected FROM billing_ingestbatch AS batch
        WHERE batch.organization_id = organization.id AND batch.id >= %(first)s LIMIT %(most)s
    ) AS recent LIMIT %(most)s
) AS received
"""
_WAITING = """
WITH waiting AS MATERIALIZED (
    SELECT organization.slug, event.* FROM organizations_organization AS organization
    CROSS JOIN LATERAL (
        SELECT unpriced.service, unpriced.model, unpriced.reason, unpriced.occurred_at
        FROM billing_unpricedevent AS unpriced
        WHERE unpriced.organization_id = organization.id LIMIT %(most)s
    ) AS event LIMIT %(most)s
)
SELECT slug, service, model, reason, count(*) AS events, min(occurred_at), (SELECT count(*) FROM waiting)
FROM waiting GROUP BY slug, service, model, reason ORDER BY events DESC, slug, service, model, reason LIMIT %(models)s
"""
_HINTS = {
    UnpricedReason.NO_MODEL: "Its sender must name the model.",
    UnpricedReason.NO_USAGE: "Its sender must count tokens, or each request needs a price.",
}
_SET_A_PRICE = "Set a price for it, from the day of the first event on; the events are priced then."


@dataclass(frozen=True, slots=True)
class Received:
    """Events that came in during a span of time, and records that were refused; `is_all`: no batch was left out."""

    events: int
    refused: int
    is_all: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events of one model and organization that wait for a price for the same reason."""

    slug: str
    service: str
    model: str
    reason: UnpricedReason
    events: int
    first_at: datetime
    is_all: bool

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.service, self.model))) or "No model"


def last_received() -> datetime | None:
    """When the newest batch of all came in."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST)
        [(moment,)] = cursor.fetchall()
    return moment if isinstance(moment, datetime) else None


def received(*, since: datetime) -> Received:
    with connection.cursor() as cursor:
        cursor.execute(_RECEIVED, {"first": ids_at(since)[0], "most": MAX_EXAMINED})
        [(events, refused, batches)] = cursor.fetchall()
    return Received(int(events), int(refused), is_all=batches < MAX_EXAMINED)


def waiting() -> list[Waiting]:
    """The models with the most events that wait."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"most": MAX_EXAMINED, "models": MAX_MODELS})
        rows = cursor.fetchall()
    return [
        Waiting(slug, service, model, UnpricedReason(reason), events, first_at, is_all=looked_at < MAX_EXAMINED)
        for slug, service, model, reason, events, first_at, looked_at in rows
    ]


def intake_checks() -> list[Check]:
    """For the operators' health page."""
    now = utc_now()
    return [_intake_check(now), *_unpriced_checks(waiting())]


def _intake_check(now: datetime) -> Check:
    last = last_received()
    minute, hour, day = (received(since=now - span) for span in (_MINUTE, _HOUR, _DAY))
    facts = {
        "Last minute": _number(minute.events, is_all=minute.is_all),
        "Last hour": _number(hour.events, is_all=hour.is_all),
        "Last day": _number(day.events, is_all=day.is_all),
        "Last received": f"{last:%Y-%m-%d %H:%M:%S} UTC" if last else "never",
    }
    if day.refused:
        facts["Refused in the last day"] = _number(day.refused, is_all=day.is_all)
    return Check("intake", "Events", "Intake", ok=True, state=_state(last, now), facts=facts)


def _state(last: datetime | None, now: datetime) -> str:
    if last is None:
        return "empty"
    return "receiving" if now - last < _HOUR else "quiet"


def _number(number: int, *, is_all: bool) -> str:
    return f"{number:,}" if is_all else f"at least {number:,}"


def _unpriced_checks(found: list[Waiting]) -> list[Check]:
    section = "Models without a price"
    if not found:
        return [Check("unpriced", "Events", section, ok=True, state="all priced")]
    return [
        Check(
            f"unpriced_{place}",
            one.title,
            section,
            ok=True,
            state="waiting",
            facts={
                "Organization": one.slug,
                "Events": _number(one.events, is_all=one.is_all),
                "First": f"{one.first_at:%Y-%m-%d %H:%M} UTC",
                "Why": one.reason.label,
            },
            advice=_HINTS.get(one.reason, _SET_A_PRICE),
            links=(Link("Look at the events", for_organization(one.slug, "billing_unpricedevent_changelist")),),
        )
        for place, one in enumerate(found, 1)
    ]
