"""The comparison of answers with golden ones can fail."""

from typing import Any

import pytest

from tests.contract.matching import Matcher

ONE, OTHER = "6f1c3b6e-6f4c-4a3e-9a49-0b9a3a4f0a01", "6f1c3b6e-6f4c-4a3e-9a49-0b9a3a4f0a02"


def differences(expected: Any, actual: Any) -> list[str]:
    return list(Matcher().differences(expected, actual))


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1, "b": [True, None, "x", 0.5]}, {"b": [True, None, "x", 0.5], "a": 1}),
        ({"$any": "string"}, ""),
        ({"$any": ["string", "null"]}, None),
        ({"$number": 1450}, 1450),
        ({"$number": 1450}, 1450.0),
        ({"$between": [1, 2]}, 1.0),
        ({"$decimal": "0.0123"}, "0.0123"),
        ({"$decimal": "0"}, "0"),
        ({"$decimal": "-10"}, "-10"),
        ({"$decimal": True}, "0.000000000000000000000001"),
        ({"$datetime": "2025-01-15T09:00:00Z"}, "2025-01-15T10:00:00.000000+01:00"),
        ({"$datetime": True}, "2025-01-15T10:00:00Z"),
        ({"$uuid": True}, ONE),
        ([{"$uuid": "a"}, {"$uuid": "b"}, {"$uuid": "a"}], [ONE, OTHER, ONE]),
        ({"id": {"$uuid": "a"}, "by_id": {"$uuid:a": {"name": "A"}}}, {"id": ONE, "by_id": {ONE: {"name": "A"}}}),
        ({"$pattern": "a+"}, "aaa"),
        ({"$each": {"n": {"$any": "int"}}}, [{"n": 1}, {"n": 2}]),
        ({"$each": 1}, []),
    ],
)
def test_what_is_as_it_must_be(expected: Any, actual: Any) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, 1.0),
        (1.0, 1),
        (1, True),
        (0, False),
        ("1", 1),
        (None, 0),
        (None, ""),
        ([], None),
        ({}, []),
        (0.45, 0.44999999999999996),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": None}}),
        ([1, 2], [1]),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ({"$any": "int"}, True),
        ({"$any": "int"}, 1.0),
        ({"$any": "float"}, 1),
        ({"$any": "string"}, None),
        ({"$any": ["string", "null"]}, 0),
        ({"$number": 1}, True),
        ({"$number": 1}, "1"),
        ({"$number": 1}, 2),
        ({"$between": [1, 2]}, 3.0),
        ({"$between": [1, 2]}, 1),
        ({"$decimal": "0.0123"}, 0.0123),
        ({"$decimal": "0.0123"}, "0.0124"),
        ({"$decimal": "0.0123"}, "0.01230"),
        ({"$decimal": "0.0000001"}, "1E-7"),
        ({"$decimal": "1"}, "1."),
        ({"$decimal": "1"}, "01"),
        ({"$decimal": "0"}, "-0"),
        ({"$decimal": True}, ""),
        ({"$decimal": True}, "NaN"),
        ({"$datetime": "2025-01-15T09:00:00Z"}, "2025-01-15T09:00:01Z"),
        ({"$datetime": True}, "2025-01-15T09:00:00"),
        ({"$datetime": True}, "2025-01-15 09:00:00+00:00"),
        ({"$datetime": True}, "2025-01-15"),
        ({"$datetime": True}, None),
        ({"$uuid": True}, "6f1c3b6e"),
        ({"$uuid": True}, ONE.upper()),
        ({"$uuid": True}, None),
        ([{"$uuid": "a"}, {"$uuid": "a"}], [ONE, OTHER]),
        ([{"$uuid": "a"}, {"$uuid": "b"}], [ONE, ONE]),
        ({"id": {"$uuid": "a"}, "by_id": {"$uuid:a": 1}}, {"id": ONE, "by_id": {OTHER: 1}}),
        ({"$uuid:unheard-of": 1}, {ONE: 1}),
        ({"$pattern": "a+"}, "aab"),
        ({"$pattern": "a+"}, None),
        ({"$each": {"n": 1}}, [{"n": 1}, {"n": 2}]),
        ({"$each": {"n": 1}}, [{"n": 1}, {"n": 1, "m": 1}]),
        ({"$each": 1}, {}),
    ],
)
def test_what_is_not(expected: Any, actual: Any) -> None:
    assert differences(expected, actual)
    assert differences({"deep": [expected]}, {"deep": [actual]})


def test_each_difference_says_where() -> None:
    expected = {"a": [{"b": "1", "c": 1}], "d": 1}
    assert differences(expected, {"a": [{"b": 1, "c": 1}], "e": 1}) == [
        "a[0].b: string '1' expected, not int 1",
        "the answer: the key d is missing",
        "the answer: unknown key e",
    ]


@pytest.mark.parametrize(
    "wrong", [{"$some": 1}, {"$any": "text"}, {"$uuid": True, "$any": "string"}, {"$any": 1, "b": 1}]
)
def test_a_matcher_that_there_is_none_of_matches_nothing(wrong: Any) -> None:
    with pytest.raises((LookupError, TypeError)):
        differences(wrong, "x")


def test_words_stand_for_the_same_uuids_in_the_next_request() -> None:
    matcher = Matcher()
    assert list(matcher.differences({"id": {"$uuid": "a"}}, {"id": ONE})) == []
    assert matcher.filled_in({"ids": ["$uuid:a", "b"]}) == {"ids": [ONE, "b"]}
    assert list(matcher.differences({"$uuid": "a"}, OTHER)) != []
