"""Token counts of prompts before a call, computed offline in linear time.

`read_prompt` extracts the text and the images of chat messages. They are OpenAI's (`role`, `content`, `name`,
`tool_calls`, `function_call`); content parts may also be those of OpenAI's Responses and Anthropic's Messages APIs,
which gateways accept. Other keys of a message (`tool_call_id`, `cache_control`, ...) are not part of the prompt.

OpenAI's vocabularies are public, so the count for its models is the billed one. The vocabularies of other providers are
not available: their prompts are counted with OpenAI's latest one, and the result is an estimate (docs/prices.md has its
accuracy). Pure: no Django, no database.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any

from costtrack.errors import field_error

# Tokens that OpenAI counts for an image of 1024 x 1024 pixels, and for any image at low detail.
_TOKENS_PER_IMAGE = 765
_TOKENS_PER_IMAGE_AT_LOW_DETAIL = 85

# The key of the text in each type of part.
_TEXTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
_IMAGES = frozenset({"image_url", "input_image", "image"})
_FILES = frozenset({"input_audio", "audio", "file", "input_file", "document", "video_url", "video"})


@dataclass(slots=True)
class Prompt:
    """The content of a prompt. `is_guessed`: the token count of some content is not published (images, tool calls)."""

    texts: list[str] = field(default_factory=list)
    messages: int = 0
    names: int = 0
    tokens_of_images: int = 0
    is_guessed: bool = False


def read_prompt(messages: list[Any]) -> Prompt:
    """Read the messages. Raises InvalidError with the path as its param, for example `messages.0.content.2.type`."""
    prompt = Prompt()
    for number, message in enumerate(messages):
        _read_message(prompt, message, f"messages.{number}")
    return prompt


def _read_message(prompt: Prompt, message: Any, path: str) -> None:
    data = _object(message, path)
    prompt.messages += 1
    prompt.texts.append(_text(data.get("role"), f"{path}.role"))
    if data.get("name") is not None:
        prompt.names += 1
        prompt.texts.append(_text(data["name"], f"{path}.name"))
    _read_content(prompt, data.get("content"), f"{path}.content")
    if data.get("function_call") is not None:
        _read_call(prompt, data["function_call"], f"{path}.function_call")
    for number, call in enumerate(_list(data.get("tool_calls"), f"{path}.tool_calls")):
        call_path = f"{path}.tool_calls.{number}"
        kind = "custom" if "custom" in _object(call, call_path) else "function"
        _read_call(prompt, call.get(kind), f"{call_path}.{kind}")


def _read_call(prompt: Prompt, call: Any, path: str) -> None:
    """Add the name and arguments of a tool call (custom tools have an input instead).

    OpenAI does not publish the format of a call in the prompt; these are most of it.
    """
    data = _object(call, path)
    prompt.is_guessed = True
    prompt.texts.append(_text(data.get("name"), f"{path}.name"))
    key = "input" if "input" in data else "arguments"
    prompt.texts.append(_text_or_json(data.get(key), f"{path}.{key}"))


def _read_content(prompt: Prompt, content: Any, path: str, *, in_tool_result: bool = False) -> None:
    """Add content: a text, null (a message that only calls tools), or a list of parts."""
    if isinstance(content, str):
        prompt.texts.append(content)
        return
    for number, part in enumerate(_list(content, path, or_a="a string")):
        _read_part(prompt, part, f"{path}.{number}", in_tool_result=in_tool_result)


def _read_part(prompt: Prompt, part: Any, path: str, *, in_tool_result: bool) -> None:
    data = _object(part, path)
    kind = _text(data.get("type"), f"{path}.type")
    if kind in _TEXTS:
        prompt.texts.append(_text(data.get(_TEXTS[kind]), f"{path}.{_TEXTS[kind]}"))
    elif kind in _IMAGES:
        prompt.is_guessed = True
        prompt.tokens_of_images += _TOKENS_PER_IMAGE_AT_LOW_DETAIL if _is_low_detail(data) else _TOKENS_PER_IMAGE
    elif kind == "tool_use":
        prompt.is_guessed = True
        prompt.texts.append(_text(data.get("name"), f"{path}.name"))
        prompt.texts.append(_text_or_json(data.get("input"), f"{path}.input"))
    elif kind == "tool_result" and not in_tool_result:
        prompt.is_guessed = True
        _read_content(prompt, data.get("content"), f"{path}.content", in_tool_result=True)
    elif kind in _FILES:
        raise field_error(
            path,
            "The tokens of audio, video and files are only known after the call. "
            "Omit them, or calculate from the completion_response.",
        )
    else:
        raise field_error(f"{path}.type", "Tokens of this type cannot be counted.")


def _is_low_detail(part: dict[str, Any]) -> bool:
    image = part.get("image_url")
    return part.get("detail") == "low" or (isinstance(image, dict) and image.get("detail") == "low")


# --- Types -----------------------------------------------------------------------------------------------------


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise field_error(path, "Must be an object.")
    return value


def _list(value: Any, path: str, or_a: str = "null") -> list[Any]:
    """Return the list; an empty list for null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise field_error(path, f"Must be a list or {or_a}.")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise field_error(path, "Must be a string.")
    return value


def _text_or_json(value: Any, path: str) -> str:
    """Return arguments as text: OpenAI sends JSON in a string, others send objects."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False) if value is not None else ""
    except RecursionError as error:
        raise field_error(path, "Nested too deeply.") from error


_CountText = Callable[[str], int]

_O200K = "o200k_base"
_CL100K = "cl100k_base"
_WITHOUT_VOCABULARY = "bytes/4"

# OpenAI's published overhead of each message and of the start of the response.
_TOKENS_PER_MESSAGE = 3
_TOKENS_PER_NAME = 1
_TOKENS_OF_RESPONSE_START = 3

# Names may have a provider as prefix (`azure/gpt-4o`, `openai.gpt-4o`, `ft:gpt-4o:acme`) and a version as suffix.
_ENCODINGS = tuple(
    (re.compile(rf"(?:^|[/:.])(?:{names})"), encoding)
    for names, encoding in (
        (r"gpt-(?:4o|4\.1|4\.5|5)|chatgpt-4o|o[134](?:-|$)|codex-mini", _O200K),
        (r"gpt-(?:4|3\.5|35)(?:-|$)|text-embedding-(?:3|ada-002)|(?:davinci|babbage)-002", _CL100K),
    )
)
# Published comparisons of Anthropic's counts with o200k_base find 16% (English) to 30% (code) more tokens.
_ESTIMATES = ((re.compile("claude"), Fraction(6, 5)),)


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The tokens of a prompt. `is_exact`: counted with the model's own vocabulary, without estimated content."""

    tokens: int
    is_exact: bool
    tokenizer: str


def count_prompt(model: str, messages: list[Any]) -> TokenCount:
    """Count the tokens of chat messages in OpenAI's format (`billing.pricing.token_counting`). Raises InvalidError with
    the path of a part that cannot be counted."""
    return _count(model.strip().lower(), read_prompt(messages))


def _count(model: str, prompt: Prompt) -> TokenCount:
    own = _own_encoding(model)
    tokenizer, count_text = _tokenizer(own or _O200K)
    tokens_of_text = sum(map(count_text, prompt.texts)) * _factor(model)
    overhead = _TOKENS_PER_MESSAGE * prompt.messages + _TOKENS_PER_NAME * prompt.names + _TOKENS_OF_RESPONSE_START
    return TokenCount(
        tokens=ceil(tokens_of_text) + overhead + prompt.tokens_of_images,
        is_exact=tokenizer == own and not prompt.is_guessed,
        tokenizer=tokenizer,
    )


def _own_encoding(model: str) -> str | None:
    """Return the encoding of the model, if it is known."""
    return next((encoding for names, encoding in _ENCODINGS if names.search(model)), None)


def _factor(model: str) -> Fraction:
    return next((factor for names, factor in _ESTIMATES if names.search(model)), Fraction(1))


@cache
def _tokenizer(encoding: str) -> tuple[str, _CountText]:
    """Return the name of the tokenizer and its function that counts a text.

    A vocabulary takes 30 to 70 MB and up to 0.1 s, so it is loaded on first use. Without the package, bytes are
    counted.
    """
    try:
        from rs_bpe import openai
    except ImportError:
        return _WITHOUT_VOCABULARY, _count_bytes
    load = {_O200K: openai.o200k_base, _CL100K: openai.cl100k_base}[encoding]
    return encoding, load().count


def _count_bytes(text: str) -> int:
    """Estimate by UTF-8 bytes. Characters would be off by more than half for Chinese, Japanese and Korean."""
    return ceil(len(text.encode()) / 4)
