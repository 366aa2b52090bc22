"""Notices about models without a price and flagged usage: each model once for each reason."""

from datetime import timedelta
from typing import Any

import pytest

from billing.models import Notice, UsageIssue
from billing.notifications.usage_issues import MAX_LISTED, notify_all_usage_issues, notify_usage_issues
from billing.rollups.fold import fold
from billing.types import NoticeKind
from organizations.models import Organization
from tests.usage import NOW, Send, set_price

UNPRICED, FLAGGED = NoticeKind.UNPRICED_USAGE.value, NoticeKind.FLAGGED_USAGE.value
CALL = {"service": "openai", "model": "new-model", "input_tokens": 10}
UNREAD: dict[str, Any] = {
    "service": "openai",
    "model": "gpt-4o",
    "usage": {"prompt_tokens": 10, "completion_tokens": 0, "mystery_tokens": 3},
}
LATER = NOW + timedelta(hours=2)


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


def notices() -> list[tuple[str, str]]:
    return list(Notice.objects.order_by("pk").values_list("kind", "subject"))


def listed(notice: Notice) -> list[tuple[str, str, str]]:
    return [(issue["model"], issue["code"], issue["detail"]) for issue in notice.data["issues"]]


def test_a_model_without_a_price_is_one_notice(send: Send, organization: Organization) -> None:
    send(CALL, {**CALL, "id": "again"})
    fold(now=NOW)
    assert notify_all_usage_issues(now=NOW) == 1
    send({**CALL, "id": "later"})
    fold(now=LATER)
    assert notify_all_usage_issues(now=LATER) == 0
    assert notices() == [(UNPRICED, "Acme Research: new-model has no price")]
    notice = Notice.objects.get()
    assert listed(notice) == [("new-model", "no_price", "")]
    assert notice.data["organization"] == organization.slug


def test_flagged_usage_is_one_notice_for_each_flag_and_model(send: Send) -> None:
    send(UNREAD, {**UNREAD, "id": "again"})
    fold(now=NOW)
    assert notify_all_usage_issues(now=NOW) == 1
    send({**UNREAD, "usage": {**UNREAD["usage"], "total_tokens": 99}})
    fold(now=LATER)
    notify_all_usage_issues(now=LATER)
    first, second = Notice.objects.order_by("pk")
    assert first.subject == "Acme Research: usage of gpt-4o needs a review"
    assert listed(first) == [("gpt-4o", "unread_usage", "mystery_tokens")]
    assert [code for _, code, _ in listed(second)] == ["total_mismatch"]


def test_priced_calls_and_estimates_are_no_notice(send: Send) -> None:
    send({**CALL, "model": "gpt-4o"}, {**CALL, "model": "gpt-4o", "cache_read_tokens": 5})
    fold(now=NOW)
    assert notify_all_usage_issues(now=NOW) == 0


def test_what_is_found_within_the_hour_is_collected(send: Send, organization: Organization) -> None:
    for number in range(4):
        send({**CALL, "model": f"model-{number}"})
        now = NOW + timedelta(minutes=10 * number)
        fold(now=now)
        notify_usage_issues(organization=organization, now=now)
    assert notices() == [(UNPRICED, "Acme Research: model-0 has no price")]
    notify_usage_issues(organization=organization, now=LATER)
    assert notices()[1:] == [(UNPRICED, "Acme Research: 3 models have no price")]


def test_a_notice_lists_a_limited_number(send: Send, organization: Organization) -> None:
    send(*({**CALL, "model": f"model-{number}"} for number in range(MAX_LISTED + 5)))
    fold(now=NOW)
    notify_usage_issues(organization=organization, now=NOW)
    notice = Notice.objects.get()
    assert (len(notice.data["issues"]), notice.data["more"]) == (MAX_LISTED, 5)


def test_organizations_have_notices_of_their_own(
    send: Send, organization: Organization, other_organization: Organization
) -> None:
    send(CALL)
    send({**CALL, "model": "theirs"}, to=other_organization)
    fold(now=NOW)
    assert notify_all_usage_issues(now=NOW) == 2
    (issue,) = UsageIssue.objects.of(organization)
    assert issue.model == "new-model"
    assert [listed(notice)[0][0] for notice in Notice.objects.of(other_organization)] == ["theirs"]


def test_what_is_found_is_rolled_back_with_its_fold(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    send(CALL)
    with monkeypatch.context() as patched:
        patched.setattr("billing.rollups.fold.bump_ledger_version", _fail)
        fold(now=NOW)
    assert not UsageIssue.objects.exists()
    fold(now=NOW)
    assert UsageIssue.objects.count() == 1


def _fail(*_: object) -> None:
    raise RuntimeError
