"""The limit book: an organization's limits and what is excepted from them, kept in this process while current.

`limit_set` asks for the book's revision and nothing else, unless it has moved on: so a changed limit holds for the
very next call in every process.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from django.db import connection

from billing.limits.scheduling import enqueue_enforcement
from billing.limits.types import ByHand, Dimensions, Rule
from billing.models import LimitBookRevision, LimitException, SpendLimit
from billing.types import ExceptionKind, LimitAction, LimitScope, LimitWindow
from organizations.models import APICredential, Organization

_MAX_BOOKS = 512
_REVISION = "SELECT revision FROM billing_limitbookrevision WHERE organization_id = %s"


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The limits in place, ordered by id, with all their exceptions."""

    organization_id: int
    revision: int
    limits: tuple[SpendLimit, ...]
    exceptions: dict[int, tuple[LimitException, ...]]
    numbers: dict[str, str]
    """Of the credentials that limits name: the number by the Client ID."""

    def rules_for(self, call: Dimensions, *, now: datetime) -> list[Rule]:
        """Every limit in force that covers a call, for the value that the call belongs to."""
        return [
            self._rule(limit, value, now)
            for limit in self._in_force(now)
            for value in call.values(LimitScope(limit.scope))
            if limit.is_of_each or value == self._value(limit)
        ]

    def rules_of_single_limits(self, *, now: datetime) -> list[Rule]:
        """The limits in force for one value, and the organization's."""
        return [self._rule(limit, self._value(limit), now) for limit in self._in_force(now) if not limit.is_of_each]

    def limits_of_each(self, *, now: datetime) -> list[SpendLimit]:
        """The limits in force that every value has for itself."""
        return [limit for limit in self._in_force(now) if limit.is_of_each]

    def rule(self, limit_id: int, value: str, *, now: datetime) -> Rule | None:
        """A limit for one of its values (as rollups keep it), or for all of them (empty); None if it is not in force,
        or not about that value."""
        for limit in self._in_force(now):
            if limit.pk == limit_id and (limit.is_of_each or value == self._value(limit)):
                return self._rule(limit, value, now)
        return None

    def _in_force(self, now: datetime) -> Iterator[SpendLimit]:
        for limit in self.limits:
            has_begun = limit.starts_at is None or limit.starts_at <= now
            if has_begun and (limit.ends_at is None or now < limit.ends_at):
                yield limit

    def _value(self, limit: SpendLimit) -> str:
        """The value as rollups keep it."""
        if limit.scope != LimitScope.CREDENTIAL.value:
            return limit.scope_value
        return self.numbers.get(limit.scope_value, "")

    def _rule(self, limit: SpendLimit, value: str, now: datetime) -> Rule:
        holding = [one for one in self.exceptions.get(limit.pk, ()) if _holds(one, value, now)]
        raised = max((one for one in holding if _is(one, ExceptionKind.RAISE)), key=_amount, default=None)
        by_hand = next((one for one in reversed(holding) if not _is(one, ExceptionKind.RAISE)), None)
        return Rule(
            limit_id=limit.pk,
            scope=LimitScope(limit.scope),
            value=value,
            display_value=self._shown(limit, value),
            is_of_each=limit.is_of_each,
            window=LimitWindow(limit.window),
            amount_usd=max(_amount(raised), limit.amount_usd) if raised is not None else limit.amount_usd,
            base_amount_usd=limit.amount_usd,
            action=LimitAction(limit.action),
            thresholds=tuple(limit.thresholds),
            soft_amount_usd=limit.soft_amount_usd,
            fallback_price=limit.fallback_price,
            raised_until=raised.ends_at if raised is not None else None,
            by_hand=ByHand(ExceptionKind(by_hand.kind), by_hand.ends_at, by_hand.reason) if by_hand else None,
        )

    def _shown(self, limit: SpendLimit, value: str) -> str:
        """What people and programs call the value. (Empty: all the values of a limit that each has for itself.)"""
        if limit.scope != LimitScope.CREDENTIAL.value or not limit.is_of_each or not value:
            return limit.scope_value or value
        return _client_id(self.organization_id, value)


def limit_set(organization: Organization) -> LimitSet:
    """The organization's limits as they are now. Use it for one request and ask again for the next."""
    with connection.cursor() as cursor:
        cursor.execute(_REVISION, [organization.pk])
        row = cursor.fetchone()
    return limit_set_of_revision(organization.pk, 0 if row is None else row[0])


def limit_set_of_revision(organization_id: int, revision: int) -> LimitSet:
    """The book whose revision was just read: the kept one if it is that, else it is read now."""
    return _books.get(organization_id, revision)


def cached_limit_set(organization: Organization) -> LimitSet:
    """The book that this process has, current or not, without asking: for who asks for the revision afterwards."""
    return _books.kept(organization.pk) or limit_set(organization)


def announce_limit_change(organization: Organization) -> None:
    """Tell every process, once the transaction has committed. Call it after the change, in the same transaction."""
    enqueue_enforcement(organization.pk)
    LimitBookRevision.objects.update_or_create(organization=organization, defaults={"revision": secrets.randbits(63)})


def client_ids(organization_id: int, numbers: Iterable[str]) -> dict[str, str]:
    """What credentials are called, by their numbers as rollups keep them."""
    wanted = [int(number) for number in numbers if number.isdecimal()]
    found = APICredential.objects.filter(organization_id=organization_id, pk__in=wanted)
    return {str(pk): client_id for pk, client_id in found.values_list("pk", "client_id")}


@lru_cache(maxsize=4096)
def _client_id(organization_id: int, number: str) -> str:
    """The same for one; a credential keeps its Client ID for good. What is none of the organization's (an operator's,
    or no value at all) stays as it is."""
    return client_ids(organization_id, [number]).get(number, number)


def _is(exception: LimitException, kind: ExceptionKind) -> bool:
    return exception.kind == kind.value


def _amount(exception: LimitException) -> Decimal:
    return exception.amount_usd if exception.amount_usd is not None else Decimal(0)


def _holds(exception: LimitException, value: str, now: datetime) -> bool:
    is_about_it = exception.value in ("", value)
    return is_about_it and exception.starts_at <= now and (exception.ends_at is None or now < exception.ends_at)


class _Books:
    """The books of this process, the least recently used ones given up first. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._books: OrderedDict[int, LimitSet] = OrderedDict()

    def kept(self, organization_id: int) -> LimitSet | None:
        with self._lock:
            return self._books.get(organization_id)

    def get(self, organization_id: int, revision: int) -> LimitSet:
        with self._lock:
            book = self._books.get(organization_id)
            if book is not None and book.revision == revision:
                self._books.move_to_end(organization_id)
                return book
        # The revision is older than what is read now, if they differ: then the next call reads it once more.
        book = _read(organization_id, revision)
        with self._lock:
            self._books[organization_id] = book
            self._books.move_to_end(organization_id)
            while len(self._books) > _MAX_BOOKS:
                self._books.popitem(last=False)
        return book


_books = _Books()


def _read(organization_id: int, revision: int) -> LimitSet:
    limits = tuple(SpendLimit.objects.in_place().filter(organization_id=organization_id).order_by("pk"))
    named = [limit.scope_value for limit in limits if limit.scope == LimitScope.CREDENTIAL.value and limit.scope_value]
    credentials = APICredential.objects.filter(organization_id=organization_id, client_id__in=named)
    return LimitSet(
        organization_id=organization_id,
        revision=revision,
        limits=limits,
        exceptions=_exceptions(organization_id),
        numbers={client_id: str(pk) for client_id, pk in credentials.values_list("client_id", "pk")},
    )


def _exceptions(organization_id: int) -> dict[int, tuple[LimitException, ...]]:
    # Ended ones too: which hold is a question of the instant that is asked about.
    rows = LimitException.objects.filter(organization_id=organization_id, limit__removed_at=None).order_by("pk")
    found: dict[int, tuple[LimitException, ...]] = {}
    for row in rows:
        found[row.limit_id] = (*found.get(row.limit_id, ()), row)
    return found
