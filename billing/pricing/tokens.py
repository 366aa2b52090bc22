"""Token counts of prompts before a call, computed offline in linear time.

OpenAI's vocabularies are public, so the count for its models is the billed one. The vocabularies of other providers are
not available: their prompts are counted with OpenAI's latest one, and the result is an estimate (docs/prices.md has its
accuracy). Pure: no Django, no database.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any

from billing.pricing.token_counting import Prompt, read_prompt

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
# Published comparisons of Anthropic's counts with o200k_base find 16 % (English) to 30 % (code) more tokens.
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
