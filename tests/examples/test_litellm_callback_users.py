"""costtrack-litellm: an authorization and its event belong to the same user, wherever that user is named."""

from typing import Any

import pytest

from billing.ingest.litellm import short_text
from billing.models import Authorization, UsageEvent
from tests.examples.conftest import Programs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

LONG = "x" * 300
# The options of a call, its user, and its user where the end user is one.
CALLS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({}, "", ""),
    ({"user": "shopper"}, "", "shopper"),
    ({"metadata": {"user_id": "ada"}}, "ada", "ada"),
    ({"metadata": {"metadata": {"user_id": "ada"}}}, "ada", "ada"),
    ({"metadata": {"user_id": "no", "spend_logs_metadata": {"user_id": "ada"}}, "user": "shopper"}, "ada", "ada"),
    ({"metadata": {"user_id": "ada", "spend_logs_metadata": {"user_id": ""}}}, "ada", "ada"),
    ({"metadata": {"user_api_key_user_id": "u-1", "spend_logs_metadata": {"user_id": "ada"}}}, "u-1", "u-1"),
    ({"metadata": {"user_api_key_user_id": "default_user_id"}, "user": "shopper"}, "", "shopper"),
    ({"metadata": {"user_api_key_user_id": "default_user_id", "headers": {"x-costtrack-user": "ada"}}}, "ada", "ada"),
    ({"metadata": {"spend_logs_metadata": {"end_user": "shopper"}}}, "", "shopper"),
    ({"metadata": {"user_id": LONG}}, short_text(LONG) or "", short_text(LONG) or ""),
    ({"metadata": {"user_id": ["ada"]}}, "", ""),
)


@pytest.mark.parametrize("end_user_as_user", ["false", "true"])
def test_an_authorization_and_its_event_have_the_same_user(run: Programs, end_user_as_user: str) -> None:
    run(
        f"""
        for number, options in enumerate({[options for options, *_ in CALLS]!r}):
            tags = {{"tags": [str(number)]}}
            await call(**{{**options, "metadata": {{**options.get("metadata", {{}}), **tags}}}})
        """,
        COSTTRACK_END_USER_AS_USER=end_user_as_user,
    )
    column = 2 if end_user_as_user == "true" else 1
    for number, expected in enumerate(CALLS):
        tag = [str(number)]
        authorization, event = Authorization.objects.get(tags=tag), UsageEvent.objects.get(tags=tag)
        assert (authorization.user_ref, event.user_ref) == (expected[column], expected[column]), expected[0]
        assert (authorization.status, event.authorization_id) == ("settled", authorization.pk)


def test_what_is_not_authorized_is_reported_with_its_user(run: Programs) -> None:
    run(
        """
        options = {"messages": MESSAGES, "metadata": {"user_id": "ada"}, **where()}
        await asyncio.to_thread(litellm.completion, "openai/fine", **options)
        while not callback.reporter.sent:
            await asyncio.sleep(0.01)
        """
    )
    assert UsageEvent.objects.get().user_ref == "ada"
    assert not Authorization.objects.exists()


def test_an_estimate_has_the_user_of_its_call(run: Programs) -> None:
    run(
        """
        try:
            await call("stuck", timeout=1, metadata={"user_id": "ada"})
        except litellm.Timeout:
            pass
        """
    )
    assert Authorization.objects.get().user_ref == UsageEvent.objects.get().user_ref == "ada"
