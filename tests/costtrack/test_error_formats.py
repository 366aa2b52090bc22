"""Each family's form of errors, and what the one handler does with any exception."""

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from costtrack.error_formats import DETAIL, LITELLM, NATIVE, Dialect
from costtrack.errors import ConflictError, DomainError, InvalidError, NotFoundError


class LimitSerializer(serializers.Serializer[None]):
    limit = serializers.IntegerField(max_value=200)
    tags = serializers.ListField(child=serializers.CharField(max_length=3), required=False)


def answer(error: Exception | dict[str, Any], dialect: Dialect | None = None, method: str = "get") -> Response:
    """What a view answers that raises the error, or that reads the given input."""

    class Failing(APIView):
        authentication_classes = ()
        permission_classes = ()

        def get(self, request: Request) -> Response:
            if isinstance(error, Exception):
                raise error
            LimitSerializer(data=error).is_valid(raise_exception=True)
            return Response()

        post = get

    if dialect is not None:
        Failing.dialect = dialect  # type: ignore[attr-defined]
    response = Failing.as_view()(getattr(APIRequestFactory(), method)("/"))
    assert isinstance(response, Response)
    return response


def test_native_errors_have_a_message_a_code_and_details() -> None:
    error = ConflictError("Taken.", extra={"by": "x"}, headers={"Retry-After": "3"})
    response = answer(error)
    assert response.status_code == 409
    assert response.data == {"error": "Taken.", "code": "conflict", "by": "x"}
    assert response.headers["Retry-After"] == "3"


def test_native_errors_name_the_fields_of_invalid_input() -> None:
    response = answer({"limit": 500, "tags": ["ok", "long"]})
    assert response.status_code == 422
    assert response.data == {
        "error": "limit: Ensure this value is less than or equal to 200.",
        "code": "invalid",
        "fields": {
            "limit": ["Ensure this value is less than or equal to 200."],
            "tags.1": ["Ensure this field has no more than 3 characters."],
        },
    }


def test_native_errors_name_the_field_of_a_domain_error() -> None:
    response = answer(InvalidError("plan: unknown.", param="plan"))
    assert response.data == {"error": "plan: unknown.", "code": "invalid", "fields": {"plan": ["plan: unknown."]}}


def test_an_error_of_the_whole_input_has_no_fields() -> None:
    response = answer(exceptions.ValidationError("Nothing fits."))
    assert response.data == {"error": "Nothing fits.", "code": "invalid"}


def test_detail_is_one_sentence() -> None:
    assert answer(NotFoundError("Run r1 not found"), DETAIL).data == {"detail": "Run r1 not found"}


@pytest.mark.parametrize(("method", "location"), [("get", "query"), ("post", "body")])
def test_detail_lists_wrong_input_as_fastapi_does(method: str, location: str) -> None:
    response = answer({"limit": 500}, DETAIL, method)
    assert response.status_code == 422
    message = "Ensure this value is less than or equal to 200."
    assert response.data == {"detail": [{"loc": [location, "limit"], "msg": message, "type": "less_than_equal"}]}
    assert answer({}, DETAIL).data["detail"][0]["type"] == "missing"


def test_detail_lists_a_domain_error_too() -> None:
    response = answer(InvalidError("The end lies before the start.", param="end_date"), DETAIL)
    assert response.data == {
        "detail": [{"loc": ["query", "end_date"], "msg": "The end lies before the start.", "type": "value_error"}]
    }


def test_litellm_wraps_its_four_fields() -> None:
    response = answer({"limit": "x"}, LITELLM)
    assert response.status_code == 422
    assert response.data == {
        "error": {
            "message": "limit: A valid integer is required.",
            "type": "bad_request",
            "param": "limit",
            "code": "422",
        }
    }
    assert answer(NotFoundError("No."), LITELLM).data["error"] == {
        "message": "No.",
        "type": "not_found",
        "param": None,
        "code": "404",
    }


def test_litellm_has_a_type_of_its_own_for_a_model_without_a_price() -> None:
    unknown = DomainError("No price.", code="model_not_priced", param="model")
    error = {"message": "No price.", "type": "model_not_priced", "param": "model", "code": "400"}
    assert answer(unknown, LITELLM).data["error"] == error
    assert answer(DomainError("No.", code="another"), LITELLM).data["error"]["type"] == "bad_request"


class LimitReachedError(DomainError):
    status = 429
    code = "budget_exceeded"


def test_litellm_names_a_limit_by_its_code() -> None:
    assert answer(LimitReachedError("Over."), LITELLM).data["error"]["type"] == "budget_exceeded"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404("secret detail"), 404, "not_found"),
        (PermissionDenied(), 403, "forbidden"),
        (RequestDataTooBig(), 413, "too_large"),
        (SuspiciousOperation("secret detail"), 400, "bad_request"),
        (exceptions.NotAuthenticated(), 403, "unauthorized_missing_authorization"),
        (exceptions.ParseError("Not JSON."), 400, "bad_request"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.UnsupportedMediaType("text/x"), 415, "unsupported_media_type"),
        (exceptions.Throttled(7.4), 429, "too_many_requests"),
    ],
)
def test_exceptions_of_the_frameworks_get_a_code(error: Exception, status: int, code: str) -> None:
    response = answer(error)
    assert (response.status_code, response.data["code"]) == (status, code)
    assert "secret" not in response.data["error"]


def test_throttling_says_when_to_come_back() -> None:
    assert answer(exceptions.Throttled(7.4)).headers["Retry-After"] == "8"


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back() -> None:
    response = answer(OperationalError("connection refused to host secret"))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "secret" not in str(response.data)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (NATIVE, {"error": "Something went wrong on our side.", "code": "internal_error"}),
        (DETAIL, {"detail": "Something went wrong on our side."}),
        (
            LITELLM,
            {
                "error": {
                    "message": "Something went wrong on our side.",
                    "type": "internal_server_error",
                    "param": None,
                    "code": "500",
                }
            },
        ),
    ],
)
def test_an_unexpected_error_is_a_500_in_the_format_of_the_family_and_in_the_log(
    dialect: Dialect, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    response = answer(ZeroDivisionError("secret detail"), dialect)
    assert response.status_code == 500
    assert response.data == body
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].exc_info is not None
