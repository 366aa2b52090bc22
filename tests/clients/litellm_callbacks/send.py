"""LiteLLM's callbacks `otel` and `openmeter`: `send.py otel` or `send.py openmeter`."""

import asyncio
import sys
from typing import Any

import litellm
from calls import CHAT, CHAT_MODEL, CONTENT, EMBEDDING_MODEL, MESSAGES, PROVIDER
from litellm.integrations.custom_logger import CustomLogger

CALLS = 5
OPENAI: dict[str, Any] = {"api_key": "none", "api_base": f"{PROVIDER}/v1", "max_retries": 0, "user": "ada"}
ANTHROPIC: dict[str, Any] = {"api_key": "none", "api_base": PROVIDER, "max_retries": 0, "user": "ada"}


class Ended(CustomLogger):
    """Says when the callbacks before it have reported all calls: LiteLLM runs them in the background, one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.all = asyncio.Event()

    async def async_log_success_event(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        if self.calls == CALLS:
            self.all.set()


async def main(callback: str) -> None:
    ended = Ended()
    litellm.callbacks = [callback, ended]
    chat = {**CHAT, "model": f"openai/{CHAT_MODEL}"}
    message = {"model": "anthropic/claude-sonnet-4-5", "messages": MESSAGES, "max_tokens": 1000}
    await litellm.acompletion(**chat, **OPENAI)
    async for _ in await litellm.acompletion(**chat, **OPENAI, stream=True, stream_options={"include_usage": True}):
        pass
    await litellm.aembedding(model=f"openai/{EMBEDDING_MODEL}", input=[CONTENT], **OPENAI)
    await litellm.acompletion(**message, **ANTHROPIC)
    async for _ in await litellm.acompletion(**message, **ANTHROPIC, stream=True):
        pass
    await asyncio.wait_for(ended.all.wait(), 60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
