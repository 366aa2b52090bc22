"""The address of the web server: whether it is free, and whether costtrack is ready there."""

import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus

from costtrack.supervisor.folder import StackError
from costtrack.web_server.serve import AddressError, ensure_free, numeric_address

# How to reach a server that listens on all addresses, from this machine.
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
        return numeric_address(self.host, self.port)

    @property
    def allowed_hosts(self) -> list[str]:
        """Values of the Host header that mean this address."""
        if self.host in _LOOPBACK:
            return [_bracketed(_LOOPBACK[self.host]), socket.gethostname()]
        return list(dict.fromkeys([_bracketed(self.host), _bracketed(self.numeric)]))

    def ensure_free(self) -> None:
        """Raise StackError if the address cannot be used."""
        try:
            ensure_free(self.host, self.port)
        except AddressError as error:
            raise StackError(str(error)) from error

    def what_is_missing(self) -> str | None:
        """Return None if /readyz responds with 200, otherwise what is not ready yet."""
        host = _bracketed(_LOOPBACK.get(self.host, self.numeric))
        # Never through a proxy: this is our own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{host}:{self.port}/readyz", timeout=_TIMEOUT_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                return f"/readyz responds with {error.code}"
            checks = json.load(error)["checks"]
            return ", ".join(f"{name} is {check['state']}" for name, check in checks.items() if not check["ok"])
        except OSError:
            return "the web server does not respond"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
