"""Answers are written as Django REST framework would write them."""

import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ErrorDetail
from rest_framework.renderers import JSONRenderer as RestFrameworkRenderer
from rest_framework.serializers import Serializer
from rest_framework.utils.serializer_helpers import ReturnDict

from costtrack.renderers import JSONRenderer

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.uuids()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3)
)


@given(values)
def test_any_value_is_the_same_json(value: Any) -> None:
    assert json.loads(JSONRenderer().render([value])) == json.loads(RestFrameworkRenderer().render([value]))


def test_what_the_framework_adds_to_texts_and_objects_makes_no_difference() -> None:
    value = {
        "message": ErrorDetail("No such event.", code="not_found"),
        "lazy": lazystr("later"),
        "row": ReturnDict({"id": UUID(int=1)}, serializer=Serializer()),
        "at": datetime(2026, 11, 2, 9, 30, tzinfo=UTC),
        "day": date(2026, 11, 2),
    }
    assert JSONRenderer().render(value) == (
        b'{"message":"No such event.","lazy":"later","row":{"id":"00000000-0000-0000-0000-000000000001"},'
        b'"at":"2026-11-02T09:30:00Z","day":"2026-11-02"}'
    )


def test_no_answer_has_no_body() -> None:
    assert JSONRenderer().render(None) == b""
