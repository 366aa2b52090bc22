"""What a webhook's URL must be like."""

import pytest
from pytest_django import Settings

from billing.notifications.webhook_urls import WebhookUrl, check_url, display_url, parse_url
from costtrack.errors import InvalidError

PUBLIC = "93.184.216.34"


def refused(url: str, found: str = PUBLIC) -> str:
    """The reason."""
    with pytest.raises(InvalidError) as caught:
        check_url(url, resolve=lambda *_: [found])
    assert caught.value.param == "url"
    return caught.value.message


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://hooks.example", WebhookUrl("https", "hooks.example", 443, "hooks.example", "/")),
        ("https://Hooks.example/a?b=c", WebhookUrl("https", "hooks.example", 443, "Hooks.example", "/a?b=c")),
        ("https://hooks.example:8443/", WebhookUrl("https", "hooks.example", 8443, "hooks.example:8443", "/")),
        (
            "https://[2606:4700::1111]:2000/%20",
            WebhookUrl("https", "2606:4700::1111", 2000, "[2606:4700::1111]:2000", "/%20"),
        ),
        (
            "HTTPS://xn--bcher-kva.example./",
            WebhookUrl("https", "xn--bcher-kva.example.", 443, "xn--bcher-kva.example.", "/"),
        ),
    ],
)
def test_a_good_url_is_taken_apart(url: str, parts: WebhookUrl) -> None:
    check_url(url, resolve=lambda *_: [PUBLIC])
    assert parse_url(url) == parts


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "characters"),
        ("hooks.example", "Must begin with https://"),
        ("//hooks.example", "Must begin with https://"),
        ("http://hooks.example/", "Must begin with https://"),
        ("ftp://hooks.example/", "Must begin with https://"),
        ("file:///etc/passwd", "Must begin with https://"),
        ("gopher://hooks.example:6379/_FLUSHALL", "Must begin with https://"),
        ("https://", "Must have a valid host"),
        ("https:///path", "Must have a valid host"),
        ("https://:443/", "Must have a valid host"),
        ("https://.example/", "Must have a valid host"),
        ("https://a..b/", "Must have a valid host"),
        ("https://%6c%6fcalhost/", "Must have a valid host"),
        ("https://[::1%25eth0]/", "Must have a valid host"),
        ("https://[127.0.0.1]/", "Invalid URL"),
        ("https://[::1/", "Invalid URL"),
        (f"https://{'a' * 64}.example/", "Must have a valid host"),
        (f"https://{'a.' * 130}example/", "Must have a valid host"),
        ("https://ada:pass@hooks.example/", "user name or a password"),
        ("https://ada@hooks.example/", "user name or a password"),
        ("https://hooks.example@127.0.0.1/", "user name or a password"),
        ("https://hooks.example\\@127.0.0.1/", "characters"),
        ("https://hooks.example/#part", "characters"),
        ("https://hooks.example/ a", "characters"),
        ("https://hooks.example/\n", "characters"),
        ("https://hooks.example/\r\nHost: other", "characters"),
        ("https://hooks.\texample/", "characters"),
        ("https://h\u00f6oks.example/", "characters"),
        ("https://hooks.example/\x00", "characters"),
        ("https://hooks.example:0/", "from 1 to 65535"),
        ("https://hooks.example:65536/", "from 1 to 65535"),
        ("https://hooks.example:-1/", "from 1 to 65535"),
        ("https://hooks.example:x/", "from 1 to 65535"),
        ("https://hooks.example:22/", "Port 22"),
        ("https://hooks.example:80/", "Port 80"),
        ("https://hooks.example:1023/", "Port 1023"),
        ("https://hooks.example/" + "a" * 500, "at most 500"),
    ],
)
def test_a_bad_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    assert reason in refused(url)


@pytest.mark.parametrize("found", ["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fd00::1"])
def test_a_name_with_a_private_address_is_refused(found: str) -> None:
    assert refused("https://hooks.example/", found) == ("url: hooks.example is not a public address.")


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_a_private_host_is_refused_as_the_system_reads_it(host: str) -> None:
    with pytest.raises(InvalidError, match="not a public address"):
        check_url(f"https://{host}/")


def test_a_name_without_an_address_yet_may_be_saved() -> None:
    check_url("https://hooks.example/", resolve=lambda *_: [])


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:80/", "https://localhost:22/", "http://[::1]/", "http://db.internal/"]
)
def test_inside_ones_own_network_more_is_allowed(settings: Settings, url: str) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    check_url(url)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://ada:pass@127.0.0.1/", "http://127.0.0.1:0/"])
def test_but_not_everything(settings: Settings, url: str) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    refused(url)


def test_what_is_shown_has_neither_path_nor_query() -> None:
    assert display_url("https://hooks.example:8443/services/T0/B0/token?key=1") == "https://hooks.example:8443/\u2026"
