"""The golden files: for each example of the five documents a request, what was used before it, and the answer.

    document   its number
    example    what of it this is, in its words where it has any
    usage      events, or lists of them, which are sent before (`POST /usage/events`)
    elsewhere  the same for another organization, which must not show
    prices     what models cost the organization: `{"model", "input", "output"}` in USD per million tokens
    limits     the organization's spend limits: `{"amount_usd", "window"}`
    plan       the organization's; if it is not said, pay_as_you_go for document 001, which has plans, else enterprise
    caller     `key`: a credential with every right. `person`: a member of both organizations, in a browser. `nobody`
    fault      every statement for the database that has this text in it fails
    first      a pair that is asked before and must match, too
    request    method, path, query, headers and body (JSON)
    response   status, headers (those that matter), and body (JSON, `tests.contract.matching`) or text

`{{client_id}}`, `{{key_hash}}` and `{{api_key}}` stand for what the caller's credential has, anywhere in a file.
The time is `NOW` (`tests.usage`) in all of them.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import Key

FOLDER = Path(__file__).parent / "golden"
FILES = tuple(sorted(FOLDER.iterdir()))

Event = dict[str, Any]


@dataclass(frozen=True)
class GoldenRequest:
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class GoldenResponse:
    status: int
    headers: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    text: Any = None


@dataclass(frozen=True)
class Pair:
    request: GoldenRequest
    response: GoldenResponse

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Pair":
        return cls(GoldenRequest(**content.pop("request")), GoldenResponse(**content.pop("response")))


@dataclass(frozen=True)
class Golden:
    document: str
    example: str
    pairs: tuple[Pair, ...]
    usage: tuple[list[Event], ...] = ()
    elsewhere: tuple[list[Event], ...] = ()
    prices: tuple[dict[str, str], ...] = ()
    limits: tuple[dict[str, str], ...] = ()
    plan: str = ""
    caller: str = "key"
    fault: str = ""


def read(file: Path, key: Key | None = None) -> Golden:
    """Raises TypeError for a file that says something else than the fields above."""
    content = json.loads(_filled_in(file.read_text(), key) if key is not None else file.read_text())
    first = [Pair.of(content.pop("first"))] if "first" in content else []
    pairs = (*first, Pair.of(content))
    for name in ("usage", "elsewhere"):
        content[name] = _batches(content.get(name, []))
    plan = "pay_as_you_go" if file.name.startswith("001") else "enterprise"
    return Golden(**{"plan": plan, **content, "pairs": pairs})


def key_hash(client_id: str) -> str:
    """What stands for a credential where LiteLLM shows a key."""
    return hashlib.sha256(client_id.encode()).hexdigest()


def _filled_in(text: str, key: Key) -> str:
    client_id = key.credential.client_id
    for name, value in {
        "client_id": client_id,
        "key_hash": key_hash(client_id),
        "api_key": key.api_key,
    }.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _batches(usage: list[Any]) -> tuple[list[Event], ...]:
    if usage and isinstance(usage[0], list):
        return tuple(usage)
    return (usage,) if usage else ()
