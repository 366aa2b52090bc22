"""Where the web server listens: is the address free, and is costtrack ready behind it?"""

import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus

from costtrack.supervisor.folder import StackError

# Who listens on all addresses is reached on this machine by these.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on
_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Address:
    """The host and port of `costtrack up`, as the user gave them."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{_bracketed(self.host)}:{self.port}"

    @property
    def numeric(self) -> str:
        """The host as an IP address, of version 4 where there is a choice. Raises OSError when it has none."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])

    @property
    def allowed_hosts(self) -> list[str]:
        """Names in requests' Host header that mean this address."""
        if self.host in _LOOPBACK:
            return [_bracketed(_LOOPBACK[self.host]), socket.gethostname()]
        return list(dict.fromkeys([_bracketed(self.host), _bracketed(self.numeric)]))

    def ensure_free(self) -> None:
        """Raises StackError when nothing can listen here."""
        try:
            family = socket.AF_INET6 if ":" in self.numeric else socket.AF_INET
            with socket.socket(family) as probe:
                # As servers do: connections that are only waiting for their end do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self.numeric, self.port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StackError(
                f"cannot listen on {self.host}, port {self.port}: {reason}; try --port or --host"
            ) from error

    def what_is_missing(self) -> str | None:
        """None when /readyz answers 200; otherwise what it says is not ready yet."""
        host = _bracketed(_LOOPBACK.get(self.host, self.numeric))
        # Never through a proxy: this is our own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{host}:{self.port}/readyz", timeout=_TIMEOUT_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                return f"/readyz answers {error.code}"
            checks = json.load(error)["checks"]
            return ", ".join(f"{name} is {check['state']}" for name, check in checks.items() if not check["ok"])
        except OSError:
            return "the web server does not answer"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
