"""LiteLLM's callbacks `otel` and `openmeter`: `send.py otel` or `send.py openmeter`."""

import asyncio
import sys
from typing import Any

import litellm
from calls import CHAT, CHAT_MODEL, CONTENT, EMBEDDING_MODEL, MESSAGES, PROVIDER

OPENAI: dict[str, Any] = {"api_key": "none", "api_base": f"{PROVIDER}/v1", "max_retries": 0, "user": "ada"}
ANTHROPIC: dict[str, Any] = {"api_key": "none", "api_base": PROVIDER, "max_retries": 0, "user": "ada"}


async def main(callback: str) -> None:
    litellm.callbacks = [callback]
    chat = {**CHAT, "model": f"openai/{CHAT_MODEL}"}
    message = {"model": "anthropic/claude-sonnet-4-5", "messages": MESSAGES, "max_tokens": 1000}
    await litellm.acompletion(**chat, **OPENAI)
    async for _ in await litellm.acompletion(**chat, **OPENAI, stream=True, stream_options={"include_usage": True}):
        pass
    await litellm.aembedding(model=f"openai/{EMBEDDING_MODEL}", input=[CONTENT], **OPENAI)
    await litellm.acompletion(**message, **ANTHROPIC)
    async for _ in await litellm.acompletion(**message, **ANTHROPIC, stream=True):
        pass
    await asyncio.sleep(2)  # callbacks run in the background, and nothing says when they have ended


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
