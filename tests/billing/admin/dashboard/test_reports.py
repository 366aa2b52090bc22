"""The pages of the reports that a member gets by email."""

import pytest

from billing.models import Notice, ReportSubscription
from organizations.models import User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import plain

pytestmark = pytest.mark.usefixtures("whole_history")

PAGE = "/o/acme/admin/reports/"
TEAM = {"frequency": "weekly", "scope": "team", "value": "search"}


def test_a_member_subscribes_and_sees_sends_and_ends_the_report(
    viewer: User, operator: User, owner: User, sign_in: SignIn
) -> None:
    browser = sign_in(viewer)
    assert "You get no reports yet" in browser.get(PAGE).content.decode()
    refused = browser.post(f"{PAGE}new/", {"frequency": "weekly", "scope": "team", "value": ""})
    assert "The team is required." in refused.content.decode()
    browser.post(f"{PAGE}new/", TEAM)
    subscription = ReportSubscription.objects.get()
    assert "Weekly report of team search" in browser.get(PAGE).content.decode()
    own = f"{PAGE}{subscription.pk}/"
    assert "No usage of team search" in plain(browser.get(own).content.decode())
    assert sign_in(owner).get(own).status_code == 404
    assert "as an operator" in sign_in(operator).get(PAGE).content.decode()
    browser = sign_in(viewer)
    assert browser.post(own, {"action": "send"}).status_code == 302
    assert Notice.objects.get().deliveries.get().recipient == viewer.email
    assert browser.post(own, {"action": "unsubscribe"}).status_code == 302
    assert not ReportSubscription.objects.exists()
