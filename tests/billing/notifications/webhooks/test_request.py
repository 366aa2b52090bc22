"""One request to a server that may be slow, hostile or not there."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from billing.notifications.http_request import HTTPResponse, Network, NoResponseError, send_request
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from tests.billing.notifications.webhooks.receiver import Receiver, Reply, receiving

LOOPBACK: Callable[[str, int], Sequence[str]] = lambda *_: ["127.0.0.1"]  # noqa: E731 - as short as the others


def sent(url: str, network: Network | None = None) -> HTTPResponse:
    return send_request("POST", url, headers={"webhook-id": "m1"}, body=b'{"a":1}', network=network or Network())


def failure(url: str, network: Network | None = None) -> str:
    with pytest.raises(NoResponseError) as caught:
        sent(url, network)
    return str(caught.value)


@contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that does `talk` with whoever comes first."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(30)
                    talk(connection)
            except OSError:
                """The other side has gone."""

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join()


def test_headers_and_bytes_arrive_as_they_are(receiver: Receiver) -> None:
    assert sent(receiver.url + "?token=1") == HTTPResponse(204, b"", False, "")
    (received,) = receiver.received
    assert received.path == "/hooks?token=1"
    assert received.body == b'{"a":1}'
    assert received.headers == {"host": f"127.0.0.1:{receiver.port}", "webhook-id": "m1", "content-length": "7"}


@pytest.mark.parametrize("status", [200, 202, 302, 400, 410, 429, 500, 503])
def test_any_status_is_an_answer(receiver: Receiver, status: int) -> None:
    receiver.default = Reply(status, {"Retry-After": "120"}, b"no \x1b[31mred\r\n text")
    response = sent(receiver.url)
    assert (response.status, response.text, response.retry_after) == (status, "no [31mred text", "120")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.replies.append(Reply(status, {"Location": receiver.url}))
    assert sent(receiver.url).status == status
    assert len(receiver.received) == 1


def test_only_the_beginning_of_an_answer_is_read(receiver: Receiver) -> None:
    receiver.default = Reply(500, body=b"x" * 50_000_000)
    assert sent(receiver.url).text == "x" * 200


def test_a_slow_server_is_given_up_in_time(receiver: Receiver) -> None:
    never = threading.Event()
    receiver.default = Reply(after=never)
    began = time.monotonic()
    assert failure(receiver.url, Network(timeout_seconds=0.3)) == "No response within 0.3 seconds."
    assert time.monotonic() - began < 5
    never.set()


def test_one_that_sends_a_little_again_and_again_is_given_up_too(loopback: None) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: 1\r\n")
            time.sleep(0.05)

    began = time.monotonic()
    with speaking(drip) as url:
        assert failure(url, Network(timeout_seconds=0.5)) == "No response within 0.5 seconds."
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1", b"220 mail.example ESMTP\r\n", b"\x16\x03\x01", b"HTTP/1.1 999999\r\n\r\n"]
)
def test_what_is_not_http_is_a_failure(loopback: None, said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(said)

    with speaking(talk) as url:
        reason = failure(url)
    assert reason.startswith(("The response is not HTTP", "The connection failed")), reason


def test_a_port_that_nobody_listens_to_is_a_failure(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert failure(f"http://127.0.0.1:{port}/").startswith("The connection failed: ")


def test_a_name_without_an_address_is_a_failure(loopback: None) -> None:
    assert failure("http://nowhere.example/", Network(resolve=lambda *_: [])) == "nowhere.example has no address."


def test_the_next_address_is_tried_when_one_does_not_answer(receiver: Receiver) -> None:
    network = Network(resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])
    assert sent(f"http://hooks.example:{receiver.port}/", network).status == 204


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001", "localhost", "[::ffff:127.0.0.1]", "[::1]"])
def test_private_addresses_are_never_connected_to(settings: Settings, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        reason = failure(f"https://{host}:{server.getsockname()[1]}/")
        assert reason.endswith("is not a public address.")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_name_that_was_public_when_it_was_saved_is_checked_again() -> None:
    """DNS rebinding: every look-up is answered differently, and each connection is to what was looked up for it."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        network = Network(resolve=lambda *_: next(answers), timeout_seconds=0.3)
        url = f"https://rebinding.example:{server.getsockname()[1]}/"
        failure(url, network)
        assert failure(url, network) == "rebinding.example is not a public address."
        with pytest.raises(BlockingIOError):
            server.accept()
    assert next(answers, None) is None


def test_without_tls_nothing_is_sent_to_the_internet() -> None:
    with pytest.raises(InvalidError, match="https"):
        sent("http://93.184.216.34/")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of `hooks.example`, signed by itself: a file with the key and the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = utc_now()
    built = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "hooks.pem"
    path.write_bytes(plain + built.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_spoken_with_the_urls_name_at_the_checked_address(loopback: None, certificate: Path) -> None:
    names: list[str | None] = []
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    served.sni_callback = lambda _socket, name, _context: names.append(name)
    with receiving(served) as receiver:
        network = Network(resolve=LOOPBACK, trust=lambda: ssl.create_default_context(cafile=str(certificate)))
        assert sent(f"https://hooks.example:{receiver.port}/", network).status == 204
    assert names == ["hooks.example"]
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
def test_a_certificate_of_another_name_is_not_accepted(loopback: None, certificate: Path, host: str) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    with receiving(served) as receiver:
        network = Network(resolve=LOOPBACK, trust=lambda: ssl.create_default_context(cafile=str(certificate)))
        assert "certificate" in failure(f"https://{host}:{receiver.port}/", network)
    assert receiver.received == []


def test_a_certificate_that_nobody_trusts_is_not_accepted(loopback: None, certificate: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    with receiving(served) as receiver:
        assert "certificate" in failure(f"https://hooks.example:{receiver.port}/", Network(resolve=LOOPBACK))
    assert receiver.received == []
