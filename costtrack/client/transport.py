"""HTTP to a costtrack server, over one keep-alive connection.

Redirects are not followed: they could send the API key to another server.
"""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self
from urllib.parse import SplitResult, unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from costtrack import __version__
from costtrack.client.errors import CannotConnectError, ClientError
from costtrack.client.instance import Instance, is_loopback


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with any status."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's successes

    def header(self, name: str) -> str:
        """Return the header's value, or an empty string."""
        return next((value for header, value in self.headers if header.lower() == name.lower()), "")

    def data(self) -> Any:
        """Parse the body as JSON, with exact numbers. Raises ClientError if it is invalid."""
        try:
            return json.loads(self.body, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise ClientError("the response is not JSON: is this the URL of a costtrack server?") from error

    def data_or_none(self) -> Any:
        """Like `data`, but None if it is not JSON, as in errors of proxies."""
        with suppress(ClientError):
            return self.data()
        return None


class Transport:
    """Sends requests to one instance. Not thread-safe."""

    def __init__(self, instance: Instance, *, timeout: float) -> None:
        self._instance = instance
        self._timeout = timeout
        self._address = urlsplit(instance.url)
        self._proxy = _proxy_for(self._address)
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; `path` is quoted. Raises CannotConnectError without a response, ClientError on a redirect."""
        try:
            answer = self._exchange(
                method, self._target(path, query or {}), body, {**self._headers(), **(headers or {})}
            )
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise self._no_answer(error) from error
            raise
        if 300 <= answer.status < 400:  # noqa: PLR2004 - HTTP's redirects
            to = answer.header("Location") or "another address"
            raise ClientError(f"{self._instance.url} redirects to {to} (HTTP {answer.status}): use the right --url")
        return answer

    def _exchange(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        if self._connection is None:
            self._connection = self._new_connection()
        self._connection.request(method, target, body=body, headers=dict(headers))
        response = self._connection.getresponse()
        return Answer(response.status, response.reason, response.getheaders(), response.read())

    def _target(self, path: str, query: Mapping[str, str]) -> str:
        parameters = dict(query)
        if self._instance.organization is not None:
            parameters["organization"] = self._instance.organization
        target = f"{self._address.path}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        is_through_proxy = self._proxy is not None and self._address.scheme == "http"
        return f"http://{self._address.netloc}{target}" if is_through_proxy else target

    def _headers(self) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self._instance.token}",
            "Accept": "application/json",
            "User-Agent": f"costtrack/{__version__}",
        }
        if self._proxy is not None and self._address.scheme == "http":
            headers |= _proxy_authorization(self._proxy)
        return headers

    def _new_connection(self) -> http.client.HTTPConnection:
        to = self._proxy or self._address
        host = to.hostname or ""
        if self._address.scheme == "http":
            return http.client.HTTPConnection(host, to.port or 80, timeout=self._timeout)
        tls = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            host, to.port or (80 if self._proxy else 443), timeout=self._timeout, context=tls
        )
        if self._proxy is not None:
            connection.set_tunnel(
                self._address.hostname or "", self._address.port or 443, headers=_proxy_authorization(self._proxy)
            )
        return connection

    def _no_answer(self, error: OSError | http.client.HTTPException) -> CannotConnectError:
        url = self._instance.url
        match error:
            case ssl.SSLCertVerificationError():
                return CannotConnectError(f"{url} has no valid certificate: {error.verify_message}", is_final=True)
            case TimeoutError():
                return CannotConnectError(f"no response from {url} within {self._timeout:g} seconds")
            case http.client.RemoteDisconnected() | http.client.IncompleteRead():
                return CannotConnectError(f"{url} closed the connection before the response was complete")
            case http.client.HTTPException():
                return CannotConnectError(f"{url} does not speak HTTP", is_final=True)
            case _:
                return CannotConnectError(f"cannot connect to {url}: {error.strerror or error}")


def _proxy_for(address: SplitResult) -> SplitResult | None:
    """Return the proxy of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY); none for this machine."""
    host = address.hostname or ""
    proxy = getproxies().get(address.scheme)
    if not proxy or is_loopback(host) or proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts if parts.hostname else None


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
