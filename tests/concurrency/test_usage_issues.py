"""Notices about usage by many workers at once: each model is in one of them."""

import pytest

from billing.models import Notice
from billing.notifications.usage_issues import notify_usage_issues
from billing.rollups.fold import fold
from organizations.models import Organization
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db(transaction=True)


def test_many_workers_notify_each_model_once(organization: Organization, send: Send) -> None:
    send(*({"service": "openai", "model": f"model-{number}", "input_tokens": 1} for number in range(12)))
    fold(now=NOW)

    run_concurrently(lambda _: notify_usage_issues(organization=organization, now=NOW), range(6))

    (notice,) = Notice.objects.all()
    assert len(notice.data["issues"]) == 12
