"""What of a chat's messages the model reads, taken apart for counting. Pure.

Messages are OpenAI's (`role`, `content`, `name`, `tool_calls`, `function_call`); parts of their content may also be
those of OpenAI's Responses and of Anthropic's Messages API, which gateways take as well. Other keys of a message
(`tool_call_id`, `cache_control`, ...) are no part of the prompt.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from costtrack.errors import InvalidError

# What OpenAI counts for an image of 1024 x 1024 pixels, and for any image at low detail.
_TOKENS_PER_IMAGE = 765
_TOKENS_PER_IMAGE_AT_LOW_DETAIL = 85

# Where a part of the type has its text.
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
    """`is_guessed`: the tokens of something in it are not published (images, calls of tools)."""

    texts: list[str] = field(default_factory=list)
    messages: int = 0
    names: int = 0
    tokens_of_images: int = 0
    is_guessed: bool = False


def read_prompt(messages: list[Any]) -> Prompt:
    """Raises InvalidError; its param leads to what is wrong, for example `messages.0.content.2.type`."""
    prompt = Prompt()
    for number, message in enumerate(messages):
        _read_message(prompt, message, f"messages.{number}")
    return prompt


def _read_message(prompt: Prompt, message: Any, path: str) -> None:
    given = _object(message, path)
    prompt.messages += 1
    prompt.texts.append(_text(given.get("role"), f"{path}.role"))
    if given.get("name") is not None:
        prompt.names += 1
        prompt.texts.append(_text(given["name"], f"{path}.name"))
    _read_content(prompt, given.get("content"), f"{path}.content")
    if given.get("function_call") is not None:
        _read_call(prompt, given["function_call"], f"{path}.function_call")
    for number, call in enumerate(_list(given.get("tool_calls"), f"{path}.tool_calls")):
        place = f"{path}.tool_calls.{number}"
        kind = "custom" if "custom" in _object(call, place) else "function"
        _read_call(prompt, call.get(kind), f"{place}.{kind}")


def _read_call(prompt: Prompt, call: Any, path: str) -> None:
    """OpenAI does not publish how a call stands in the prompt; its name and arguments are most of it. (Custom tools
    have an input instead.)"""
    given = _object(call, path)
    prompt.is_guessed = True
    prompt.texts.append(_text(given.get("name"), f"{path}.name"))
    key = "input" if "input" in given else "arguments"
    prompt.texts.append(_text_or_json(given.get(key), f"{path}.{key}"))


def _read_content(prompt: Prompt, content: Any, path: str, *, in_tool_result: bool = False) -> None:
    """Text, nothing (a message that only calls tools), or a list of parts."""
    if isinstance(content, str):
        prompt.texts.append(content)
        return
    for number, part in enumerate(_list(content, path, or_a="a text")):
        _read_part(prompt, part, f"{path}.{number}", in_tool_result=in_tool_result)


def _read_part(prompt: Prompt, part: Any, path: str, *, in_tool_result: bool) -> None:
    given = _object(part, path)
    kind = _text(given.get("type"), f"{path}.type")
    if kind in _TEXTS:
        prompt.texts.append(_text(given.get(_TEXTS[kind]), f"{path}.{_TEXTS[kind]}"))
    elif kind in _IMAGES:
        prompt.is_guessed = True
        prompt.tokens_of_images += _TOKENS_PER_IMAGE_AT_LOW_DETAIL if _is_low_detail(given) else _TOKENS_PER_IMAGE
    elif kind == "tool_use":
        prompt.is_guessed = True
        prompt.texts.append(_text(given.get("name"), f"{path}.name"))
        prompt.texts.append(_text_or_json(given.get("input"), f"{path}.input"))
    elif kind == "tool_result" and not in_tool_result:
        prompt.is_guessed = True
        _read_content(prompt, given.get("content"), f"{path}.content", in_tool_result=True)
    elif kind in _FILES:
        raise InvalidError(
            f"{path}: how many tokens audio, video or a file has is only known after the call; "
            "leave it out, or calculate from the completion_response.",
            param=path,
        )
    else:
        raise InvalidError(f"{path}.type: no part of a message that can be counted.", param=f"{path}.type")


def _is_low_detail(part: dict[str, Any]) -> bool:
    image = part.get("image_url")
    return part.get("detail") == "low" or (isinstance(image, dict) and image.get("detail") == "low")


# --- Types -----------------------------------------------------------------------------------------------------


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidError(f"{path}: must be an object.", param=path)
    return value


def _list(value: Any, path: str, or_a: str = "null") -> list[Any]:
    """An empty one for null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidError(f"{path}: must be a list or {or_a}.", param=path)
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidError(f"{path}: must be a text.", param=path)
    return value


def _text_or_json(value: Any, path: str) -> str:
    """Arguments are JSON in a string at OpenAI, and plain objects elsewhere."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False) if value is not None else ""
    except RecursionError as error:
        raise InvalidError(f"{path}: is nested too deeply.", param=path) from error
