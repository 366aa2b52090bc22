"""Which network addresses webhooks may go to.

Whoever may add a webhook chooses where this server sends requests. So that nobody reaches what only the server can
(its own services, the cloud's metadata, the database), the addresses themselves are checked, not the names: names can
be spelled in many ways, and may lead elsewhere a second later (DNS rebinding).
"""

import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from queue import Empty, SimpleQueue

from django.conf import settings

Resolve = Callable[[str, int], Sequence[str]]
"""From a host's name and a port to its addresses, the preferred ones first. Raises OSError or UnicodeError where there
are none."""

_MAPPED_BY_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is given out so far
# What ipaddress takes for global, in some versions of Python, although packets end at a tunnel or nowhere.
_REFUSED = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)


class UnknownHostError(Exception):
    """A name has no address, or the name servers have not told it in time."""


class PrivateAddressError(Exception):
    """A host is not on the public internet."""


def private_addresses_are_allowed() -> bool:
    """COSTTRACK_WEBHOOK_PRIVATE_ADDRESSES: for installations whose webhooks stay inside their own network."""
    return bool(settings.WEBHOOK_PRIVATE_ADDRESSES)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet. An IPv6 address that stands for an IPv4 one is as that."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = _embedded(ip) or ip
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    if ip.is_multicast or ip.is_reserved or not ip.is_global:
        return False
    return not any(ip in network for network in _REFUSED)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """`::ffff:10.0.0.1`, and what networks without IPv4 make of 10.0.0.1 (RFC 6052)."""
    if ip in _MAPPED_BY_NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped


def system_addresses(host: str, port: int) -> list[str]:
    """What the system says: its name servers, its hosts file, and every way in which it reads numbers (`127.1`)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def permitted_addresses(host: str, port: int, *, resolve: Resolve, seconds: float) -> Sequence[str]:
    """A host's addresses, for a connection to exactly one of them.

    Raises UnknownHostError if there are none within so many seconds, PrivateAddressError if a single one is not public:
    a name that leads both ways is a trap.
    """
    addresses = _resolve_within(host, port, resolve=resolve, seconds=seconds)
    if not private_addresses_are_allowed() and not all(map(is_public, addresses)):
        raise PrivateAddressError(f"{host} is not an address of the public internet.")
    return addresses


def _resolve_within(host: str, port: int, *, resolve: Resolve, seconds: float) -> Sequence[str]:
    """The system's resolver cannot be told how long it may take, so a thread waits for it, however long."""
    answers: SimpleQueue[Sequence[str] | None] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(host, port))
        except (OSError, UnicodeError):
            answers.put(None)

    threading.Thread(target=ask, name="webhook-resolver", daemon=True).start()
    try:
        addresses = answers.get(timeout=seconds)
    except Empty:
        raise UnknownHostError(f"{host} could not be looked up in time.") from None
    if not addresses:
        raise UnknownHostError(f"{host} has no address.")
    return addresses
