"""Check the network addresses that webhooks are sent to (protection against server-side request forgery).

A user who adds a webhook chooses where this server sends requests. They must not reach internal services, such as
the cloud's metadata or the database. Addresses are checked instead of names, because a name can be spelled in many ways
and may resolve to another address a second later (DNS rebinding).
"""

import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from queue import Empty, SimpleQueue

from django.conf import settings

Resolve = Callable[[str, int], Sequence[str]]
"""Resolves a host name and a port to addresses, the preferred ones first. Raises OSError or UnicodeError if there are
none."""

_MAPPED_BY_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is allocated so far
# Ranges that `ipaddress` considers global in some versions of Python, although they are tunnels or not routed.
_REFUSED = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)


class UnknownHostError(Exception):
    """A name has no address, or was not resolved in time."""


class PrivateAddressError(Exception):
    """A host is not on the public internet."""


def private_addresses_are_allowed() -> bool:
    """COSTTRACK_WEBHOOK_PRIVATE_ADDRESSES: for installations whose webhooks stay inside their own network."""
    return bool(settings.WEBHOOK_PRIVATE_ADDRESSES)


def is_public(address: str) -> bool:
    """Whether an IP address is public. An IPv6 address that embeds an IPv4 address is checked as that."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = _embedded(ip) or ip
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    if ip.is_multicast or ip.is_reserved or not ip.is_global:
        return False
    return not any(ip in network for network in _REFUSED)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address of `::ffff:10.0.0.1`, or of a NAT64 address (RFC 6052)."""
    if ip in _MAPPED_BY_NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped


def system_addresses(host: str, port: int) -> list[str]:
    """Resolve a host as the system does, including its hosts file and every notation of numbers (`127.1`)."""
    results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in results))


def permitted_addresses(host: str, port: int, *, resolve: Resolve, seconds: float) -> Sequence[str]:
    """Return a host's addresses. Connect to one of exactly these.

    Raises UnknownHostError if there are none within the given seconds, and PrivateAddressError if any of them is not
    public, because a name with both kinds is likely an attack.
    """
    addresses = _resolve_within(host, port, resolve=resolve, seconds=seconds)
    if not private_addresses_are_allowed() and not all(map(is_public, addresses)):
        raise PrivateAddressError(f"{host} is not a public address.")
    return addresses


def _resolve_within(host: str, port: int, *, resolve: Resolve, seconds: float) -> Sequence[str]:
    """Resolve in a thread, because the system's resolver has no timeout."""
    results: SimpleQueue[Sequence[str] | None] = SimpleQueue()

    def look_up() -> None:
        try:
            results.put(resolve(host, port))
        except (OSError, UnicodeError):
            results.put(None)

    threading.Thread(target=look_up, name="webhook-resolver", daemon=True).start()
    try:
        addresses = results.get(timeout=seconds)
    except Empty:
        raise UnknownHostError(f"{host} could not be resolved in time.") from None
    if not addresses:
        raise UnknownHostError(f"{host} has no address.")
    return addresses
