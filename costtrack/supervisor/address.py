"""Where the web server listens: is the address free, and is costtrack ready behind it?"""

import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus

from costtrack import web_server
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
        """The host as an IP address. Raises OSError when it has none."""
        return web_server.numeric_address(self.host, self.port)

    @property
    def allowed_hosts(self) -> list[str]:
        """Names in requests' Host header that mean this address."""
        if self.host in _LOOPBACK:
            return [_bracketed(_LOOPBACK[self.host]), socket.gethostname()]
        return list(dict.fromkeys([_bracketed(self.host), _bracketed(self.numeric)]))

    def ensure_free(self) -> None:
        """Raises StackError when nothing can listen here."""
        try:
            web_server.ensure_free(self.host, self.port)
        except web_server.AddressError as error:
            raise StackError(str(error)) from error

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
