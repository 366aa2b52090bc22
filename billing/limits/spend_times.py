"""When the spend of a part of an hour was made: for the time at which it leaves a rolling window.

Balances have full hours. Where a limit resets within one of them, `split` divides this hour into `_PARTS` parts, then
the part in which it resets, and so on until it is the time of an event. So the events of a burst are not returned one
by one. The parts are cached with their sum and read again when it has changed, so that a limit that is reached does not
read the hour again for each refused call.

Reading takes longer the more events an hour has. After one of more than `_MANY_EVENTS`, hours of that organization that
have changed are not read for a while, and their spend counts until the end of the hour.
"""

import threading
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from time import monotonic
from typing import Any

from cachetools import TLRUCache

from billing.limits.balances import rule_parameters
from billing.limits.types import Balance, Bucket, Rule
from costtrack.clock import HOUR, MICROSECOND
from costtrack.database.queries import fetch_rows
from costtrack.ids import first_id_of
from costtrack.money import ZERO
from costtrack.revision_cache import RevisionCache
from organizations.models import Organization

_PARTS = 200
_MAX_PARTS_IN_ALL = 100_000
_MANY_EVENTS = 10_000
# A process reads for at most a fifth of its time, however fast the spend of an hour changes.
_INTERVAL_BY_SECONDS_OF_READING = 4
_MAX_ORGANIZATIONS = 10_000

# billing/migrations/sql/0077_limit_spend_by_part.sql
_SPEND = """
SELECT ordinal, instant, last_instant, usd, events FROM billing_spend_by_part(
    %s, %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s::timestamptz[], %s::uuid[],
    %s::integer)
"""

_Key = tuple[int, str, str, str | None, str, Decimal | None, datetime, datetime]
_cache: RevisionCache[_Key, Decimal, tuple[Bucket, ...]] = RevisionCache(_MAX_PARTS_IN_ALL, size_of=len)
"""By what was read; the revision is its sum."""
_many_lately: TLRUCache[int, float] = TLRUCache(
    _MAX_ORGANIZATIONS, ttu=lambda _, interval, now: now + interval, timer=monotonic
)
"""By organization, the seconds until changed hours may be read again."""
_lock = threading.Lock()


def split(*, organization: Organization, requests: Sequence[tuple[Rule, Balance, Bucket]]) -> list[Balance]:
    """Return the balances with the given bucket of each divided, in order.

    The events are read later than the balances, so they may include some that were folded in between. Read the balances
    again if everything must come from one snapshot.
    """
    keys = [_key(organization, rule, bucket) for rule, _, bucket in requests]
    sums = [_sum_within(balance, bucket) for _, balance, bucket in requests]
    parts = [_cache.get(key, usd) for key, usd in zip(keys, sums, strict=True)]
    missing = [index for index, known in enumerate(parts) if known is None]
    found = _read(organization, [requests[index] for index in missing])
    for index, read in zip(missing, found, strict=True):
        bucket = requests[index][2]
        if read is not None:
            _cache.put(keys[index], sums[index], read)
        parts[index] = (Bucket(bucket.end, bucket.end, sums[index]),) if read is None else read
    return [
        _replaced(balance, bucket, of_bucket or ())
        for (_, balance, bucket), of_bucket in zip(requests, parts, strict=True)
    ]


def _key(organization: Organization, rule: Rule, bucket: Bucket) -> _Key:
    return (
        organization.pk,
        rule.rows_scope,
        rule.value,
        rule.conditions,
        rule.unit.value,
        rule.fallback_price,
        bucket.start,
        bucket.end,
    )


def _read(
    organization: Organization, requests: Sequence[tuple[Rule, Balance, Bucket]]
) -> Sequence[tuple[Bucket, ...] | None]:
    """Return the parts of each bucket. They are None if one is a whole hour and many events were read not long ago."""
    if not requests or (any(map(_is_hour, requests)) and _has_read_many(organization)):
        return [None] * len(requests)
    started = monotonic()
    parameters: list[Any] = [
        organization.pk,
        *rule_parameters([rule for rule, _, _ in requests], [bucket.start for _, _, bucket in requests]),
        [bucket.end for _, _, bucket in requests],
        [first_id_of(bucket.start) for _, _, bucket in requests],
        _PARTS,
    ]
    found: list[list[Bucket]] = [[] for _ in requests]
    events = 0
    for index, first, last, usd, read in fetch_rows(_SPEND, parameters):
        events += read
        if first is not None:
            found[index - 1].append(Bucket(first, first if first == last else last + MICROSECOND, usd))
    if events > _MANY_EVENTS:
        with _lock:
            _many_lately[organization.pk] = _INTERVAL_BY_SECONDS_OF_READING * (monotonic() - started)
    return [tuple(parts) for parts in found]


def _is_hour(request: tuple[Rule, Balance, Bucket]) -> bool:
    _, _, bucket = request
    return bucket.end - bucket.start == HOUR


def _has_read_many(organization: Organization) -> bool:
    with _lock:
        return organization.pk in _many_lately


def _sum_within(balance: Balance, bucket: Bucket) -> Decimal:
    return sum((other.usd for other in balance.spend if _is_within(other, bucket)), ZERO)


def _replaced(balance: Balance, bucket: Bucket, parts: Sequence[Bucket]) -> Balance:
    others = [other for other in balance.spend if not _is_within(other, bucket)]
    return Balance(tuple(sorted([*others, *parts])), balance.reservations, balance.unpriced, balance.unpriced_since)


def _is_within(other: Bucket, bucket: Bucket) -> bool:
    return bucket.start <= other.start < bucket.end
