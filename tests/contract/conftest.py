"""Two organizations to whom things happen."""

import pytest

from organizations.models import Organization
from tests.conftest import Key
from tests.contract.history import Side, Stage


@pytest.fixture
def stage(organization: Organization, other_organization: Organization, key: Key, other_key: Key) -> Stage:
    Organization.objects.update(plan="enterprise")  # shows all of the past
    return Stage(Side(organization, key), Side(other_organization, other_key))
