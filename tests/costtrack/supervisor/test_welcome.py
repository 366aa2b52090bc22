"""The message of `costtrack up` when it is ready."""

from pathlib import Path

from django.urls import reverse

from costtrack.supervisor.address import Address
from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.welcome import welcome


def test_without_the_demo_it_says_where_organizations_are_added(tmp_path: Path) -> None:
    address = Address("127.0.0.1", 8000)
    folder = DataFolder(tmp_path)

    def lines(demo: list[str]) -> list[str]:
        return list(welcome(tmp_path, folder, address, demo, has_mail_server=False))

    page = address.url + reverse("admin:organizations_organization_changelist")
    assert [line for line in lines([]) if page in line and "adds the first one" in line]
    assert not [line for line in lines(["Owner owner@acme.example"]) if page in line]
