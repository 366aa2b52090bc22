"""Rebuilding the indexes of rollups."""

import random
from datetime import date
from functools import partial

import pytest
from django.db import IntegrityError, connection

from billing.models.rollups import TagDay
from billing.rollups import packing
from billing.rollups.definitions import TAG_DAYS
from billing.rollups.packing import pack_indexes
from billing.rollups.sql import measure_columns
from organizations.models import Organization


def index_names() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'billing_tagday'::regclass")
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
def test_packing_rebuilds_indexes_and_removes_what_an_interrupted_rebuild_has_left(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "ROLLUPS", (TAG_DAYS,))
    tags = [f"tag-{number:04}" for number in range(2_000)]
    random.Random(1).shuffle(tags)
    measures = dict.fromkeys(measure_columns(TAG_DAYS), 0)
    row = partial(TagDay, organization=organization, day=date(2026, 11, 1), archived=False, **measures)
    TagDay.objects.bulk_create(row(tag=tag) for tag in tags)
    names = index_names()
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX CONCURRENTLY interrupted ON billing_tagday (organization_id)")
    assert index_names() == names | {"interrupted"}

    assert pack_indexes() == 0  # the interrupted index is empty, and small ones are left as they are
    assert index_names() == names
    assert pack_indexes(min_bytes=0) > 0
    assert TagDay.objects.of(organization).count() == len(tags)
