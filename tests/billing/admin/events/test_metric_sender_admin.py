"""The admin's pages of senders whose metrics count as usage."""

from django.urls import reverse

from billing.ingest.metric_senders import add_metric_sender
from billing.models import MetricSender
from costtrack.clock import utc_now
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn

LIST = "/admin/billing/metricsender/"


def test_an_owner_adds_and_removes_a_sender(owner: User, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    assert "Metrics are not counted as usage" in browser.get(LIST).content.decode()
    form = {"organization": organization.pk, "name": "claude-code"}
    assert browser.post(f"{LIST}add/", form).status_code == 302
    again = browser.post(f"{LIST}add/", form)
    assert "already" in again.content.decode()
    page = browser.get(LIST).content.decode()
    assert "claude-code" in page
    assert "None yet" in page
    assert "0 tokens" in page
    sender = MetricSender.objects.get()
    page = browser.get(reverse("admin:billing_metricsender_change", args=[sender.pk])).content.decode()
    assert "what was counted stays" in page
    delete = reverse("admin:billing_metricsender_delete", args=[sender.pk])
    assert browser.post(delete, {"post": "yes"}).status_code == 302
    assert not MetricSender.objects.exists()
    actions = AuditEntry.objects.of(organization).order_by("id").values_list("action", flat=True)
    assert list(actions)[-2:] == ["metric_sender.added", "metric_sender.removed"]


def test_a_viewer_sees_the_senders_and_cannot_add_one(
    viewer: User, organization: Organization, sign_in: SignIn
) -> None:
    add_metric_sender(organization=organization, name="claude-code", actor="ada", now=utc_now())
    browser = sign_in(viewer)
    assert "claude-code" in browser.get(LIST).content.decode()
    assert browser.post(f"{LIST}add/", {"organization": organization.pk, "name": "x"}).status_code == 403
