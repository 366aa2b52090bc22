"""The paginator of tables that grow without end."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from costtrack.paginator import CappedPaginator
from organizations.models import Organization


class ThreeRowPaginator(CappedPaginator):
    max_count = 3


@pytest.mark.django_db
@pytest.mark.parametrize(("rows", "count"), [(0, 0), (2, 2), (3, 3), (7, 3)])
def test_it_counts_no_further_than_its_maximum(rows: int, count: int) -> None:
    Organization.objects.bulk_create(Organization(slug=f"o{number}", name="O") for number in range(rows))
    assert ThreeRowPaginator(Organization.objects.order_by("name"), 2).count == count


@pytest.mark.django_db
def test_the_database_stops_counting_too() -> None:
    with CaptureQueriesContext(connection) as queries:
        paginator = ThreeRowPaginator(Organization.objects.order_by("name"), 2)
        assert paginator.num_pages == 1
    (query,) = queries
    assert "LIMIT 3" in query["sql"]
    assert "ORDER BY" not in query["sql"]
