"""Which notices a member has read in the web UI. Users without a membership, such as operators, have read none."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from django.db import transaction
from django.db.models import QuerySet

from billing.models import Notice, NoticeReading
from billing.types import NoticeKind
from organizations.models import Membership, Organization

_NOT_SHOWN = (NoticeKind.TEST, NoticeKind.EXPORT_READY, NoticeKind.EXPORT_FAILED, NoticeKind.REPORT)
MAX_COUNTED = 99
_MAX_ALSO_READ = 500
"""Beyond, the oldest unread notices count as read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All notices up to the id `read_up_to` are read, and those with the ids `also_read`."""

    read_up_to: int = 0
    also_read: frozenset[int] = frozenset()

    @classmethod
    def of(cls, membership: Membership | None) -> Self:
        if membership is None:
            return cls()
        row = NoticeReading.objects.filter(organization=membership.organization_id, membership=membership).first()
        return cls() if row is None else cls(row.read_up_to, frozenset(row.also_read))

    def is_read(self, notice: Notice) -> bool:
        return notice.pk <= self.read_up_to or notice.pk in self.also_read


def shown_notices(organization: Organization) -> QuerySet[Notice]:
    """Return the notices of an organization, the newest first, without test messages and those for one user."""
    return Notice.objects.of(organization).exclude(kind__in=_NOT_SHOWN).order_by("-id")


def count_unread(*, organization: Organization, membership: Membership | None) -> int:
    """Return the number of unread notices, at most one more than `MAX_COUNTED`."""
    reading = Reading.of(membership)
    unread = shown_notices(organization).filter(id__gt=reading.read_up_to).exclude(id__in=reading.also_read)
    return len(unread.values_list("id", flat=True)[: MAX_COUNTED + 1])


@transaction.atomic
def mark_read(*, organization: Organization, membership: Membership, notice_ids: Iterable[int]) -> None:
    """Mark notices as read. Ids of other organizations' notices are ignored."""
    known = Notice.objects.of(organization).filter(pk__in=list(notice_ids)).values_list("pk", flat=True)
    row, _ = NoticeReading.objects.select_for_update(of=("self",)).get_or_create(
        organization=organization, membership=membership
    )
    row.also_read = sorted({*row.also_read, *known})
    if len(row.also_read) > _MAX_ALSO_READ:
        row.read_up_to, row.also_read = row.also_read[-_MAX_ALSO_READ - 1], row.also_read[-_MAX_ALSO_READ:]
    row.save()


@transaction.atomic
def mark_all_read(*, organization: Organization, membership: Membership, up_to: int) -> None:
    """Mark all notices up to the id as read, so that a notice that has arrived since stays unread."""
    newest = shown_notices(organization).filter(id__lte=up_to).values_list("id", flat=True).first() or 0
    row, _ = NoticeReading.objects.select_for_update(of=("self",)).get_or_create(
        organization=organization, membership=membership
    )
    row.read_up_to = max(row.read_up_to, newest)
    row.also_read = [notice_id for notice_id in row.also_read if notice_id > row.read_up_to]
    row.save()
