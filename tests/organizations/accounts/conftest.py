"""What is sent is sent at once: workers' tasks are done where they are queued."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from costtrack.celery import app
from costtrack.tenancy import owner_scope
from organizations.models import Organization, User

PASSWORD = "correct-horse-battery"
BETTER = "even-better-horse"
LOGIN = "/account/login"
INSIDE = "/o/acme/admin/billing/run/"


@pytest.fixture(autouse=True)
def worker(all_tasks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def send_task(name: str, kwargs: dict[str, Any], **_: Any) -> None:
        with owner_scope():  # as in a worker, not in the scope of the request
            app.tasks[name].apply(kwargs=kwargs, throw=True)

    monkeypatch.setattr(app, "send_task", send_task)
    monkeypatch.setattr(transaction, "on_commit", lambda callback, **_: callback())


@pytest.fixture
def strict(organization: Organization) -> Organization:
    """Acme, which asks its members for a second factor."""
    organization.requires_second_factor = True
    organization.save()
    return organization


@pytest.fixture
def browser_of() -> Callable[[User], Client]:
    def browser(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return browser


def sign_in(client: Client, email: str, password: str = PASSWORD, **more: str) -> Any:
    return client.post(LOGIN, {"login": email, "password": password, **more})
