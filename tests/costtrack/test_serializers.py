"""What every request body has in common."""

from typing import Any

import pytest
from rest_framework import serializers

from costtrack.serializers import StrictSerializer


class Body(StrictSerializer):
    name = serializers.CharField(required=False)
    count = serializers.IntegerField(required=False)


@pytest.mark.parametrize(
    ("data", "at_fault"),
    [({"nmae": "x"}, "nmae"), ({"name": 5}, "name"), ({"name": 0.5}, "name"), ({"name": True}, "name")],
)
def test_what_is_not_known_or_no_text_is_refused_by_name(data: dict[str, Any], at_fault: str) -> None:
    body = Body(data=data)
    assert not body.is_valid()
    assert list(body.errors) == [at_fault]


def test_the_rest_is_taken() -> None:
    body = Body(data={"name": "5", "count": 5})
    assert body.is_valid()


@pytest.mark.parametrize("data", [[], "x", 5, None])
def test_a_body_that_is_no_object_is_refused(data: Any) -> None:
    assert not Body(data=data).is_valid()
