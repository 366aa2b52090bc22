"""Only addresses of the public internet are connected to, however they are written."""

import threading
import time
from collections.abc import Sequence

import pytest
from pytest_django import Settings

from billing.notifications.webhook_urls import (
    PrivateAddressError,
    UnknownHostError,
    is_public,
    permitted_addresses,
    system_addresses,
)

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    "address",
    [
        PUBLIC,
        "8.8.8.8",
        "1.1.1.1",
        "172.15.255.255",
        "172.32.0.0",
        "2606:4700:4700::1111",
        "2a00:1450:4001:82a::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),  # noqa: S104
        *("192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "100::1"),
        *("2001:db8::1", "3fff::1", "2001::1", "2001:0:7f00:1::", "2002:7f00:1::1", "2002:a00:1::"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "5f00::1", "4000::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001", "0177.0.0.1"),
        *("0", "0.0.0.0", "localhost", "LOCALHOST", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1"),  # noqa: S104
        *("10.1", "0xa9fea9fe", "169.254.169.254", "192.168.257"),
    ],
)
def test_however_a_private_host_is_spelled_it_is_refused(host: str) -> None:
    with pytest.raises(PrivateAddressError):
        permitted_addresses(host, 443, resolve=system_addresses, seconds=5)


def test_a_name_that_leads_to_a_private_address_is_refused() -> None:
    with pytest.raises(PrivateAddressError, match=r"internal\.example is not a public address"):
        permitted_addresses("internal.example", 443, resolve=lambda *_: ["10.0.0.7"], seconds=5)


@pytest.mark.parametrize("found", [[PUBLIC, "127.0.0.1"], ["::1", PUBLIC], [PUBLIC, "fe80::1%eth0"]])
def test_a_name_that_leads_both_ways_is_refused(found: list[str]) -> None:
    with pytest.raises(PrivateAddressError):
        permitted_addresses("both.example", 443, resolve=lambda *_: found, seconds=5)


def test_a_public_name_is_its_addresses_in_order() -> None:
    found = ["2606:4700:4700::1111", PUBLIC]
    assert permitted_addresses("hooks.example", 443, resolve=lambda *_: found, seconds=5) == found


def test_private_addresses_can_be_allowed(settings: Settings) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    assert permitted_addresses("127.1", 443, resolve=system_addresses, seconds=5) == ["127.0.0.1"]


@pytest.mark.parametrize("error", [OSError(-2, "Name or service not known"), UnicodeError("label too long")])
def test_a_name_without_an_address_is_unknown(error: Exception) -> None:
    def nowhere(_host: str, _port: int) -> Sequence[str]:
        raise error

    with pytest.raises(UnknownHostError, match=r"nowhere\.example has no address"):
        permitted_addresses("nowhere.example", 443, resolve=nowhere, seconds=5)


def test_name_servers_are_not_waited_for_longer_than_said() -> None:
    forever = threading.Event()

    def slow(_host: str, _port: int) -> Sequence[str]:
        forever.wait(30)
        return [PUBLIC]

    began = time.monotonic()
    with pytest.raises(UnknownHostError, match="in time"):
        permitted_addresses("slow.example", 443, resolve=slow, seconds=0.1)
    assert time.monotonic() - began < 5
    forever.set()
