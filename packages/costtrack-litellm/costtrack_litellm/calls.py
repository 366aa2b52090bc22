"""An attempt of a call that LiteLLM is making."""

import time
from dataclasses import dataclass, field
from typing import Any

import litellm

from costtrack_litellm.settings import Settings
from costtrack_litellm.users import MESSAGES, key_user, metadata_of, object_of, requester_of, text_of, user_id_of

Json = dict[str, Any]


@dataclass
class Call:
    """An attempt in progress, without its prompt."""

    id: str
    kind: str
    model: str
    provider: str
    metadata: Json
    user_id: str | None = None
    started: float = field(default_factory=time.time)
    prompt_tokens: int = 0
    authorization_id: str | None = None
    unreported: Any = None

    @classmethod
    def of(cls, kwargs: Json, kind: str, settings: Settings) -> "Call":
        model = str(kwargs.get("model") or kwargs["litellm_logging_obj"].model)
        metadata = metadata_of(kwargs)
        user_id = user_id_of(kwargs, end_user=kwargs.get("user"), settings=settings, is_messages=kind == MESSAGES)
        try:
            model, provider, *_ = litellm.get_llm_provider(
                model, custom_llm_provider=kwargs.get("custom_llm_provider"), api_base=kwargs.get("api_base")
            )
        except Exception:  # noqa: BLE001 - a model that LiteLLM does not know; the call itself will fail
            provider = str(kwargs.get("custom_llm_provider") or "")
        return cls(
            id=kwargs["litellm_call_id"],
            kind=kind,
            model=model,
            provider=provider,
            metadata=metadata,
            user_id=user_id,
        )

    @property
    def dimensions(self) -> Json:
        caller_metadata = {**requester_of(self.metadata), **object_of(self.metadata.get("spend_logs_metadata"))}
        names = ("run_id", "workflow_id", "session_id")
        known = {"service": self.provider, "model": self.model, "user_id": self.user_id}
        known |= {name: text_of(caller_metadata.get(name)) for name in names}
        tags = list(filter(None, self.metadata.get("tags") or []))[:50]
        return {**{name: value for name, value in known.items() if value}, **({"tags": tags} if tags else {})}


def annotated(metadata: Json, call: Call | None, user_id: str | None) -> Json | None:
    """`spend_logs_metadata` with the user, unless costtrack reads it from the key, and with the authorization."""
    caller_metadata = object_of(metadata.get("spend_logs_metadata"))
    if call is not None:
        caller_metadata = {name: value for name, value in caller_metadata.items() if name != "authorization_id"}
        caller_metadata |= {"authorization_id": call.authorization_id} if call.authorization_id else {}
    if user_id and user_id != key_user(metadata):
        caller_metadata = {**caller_metadata, "user_id": user_id}
    return caller_metadata or None


def with_retries_inside(kwargs: Json) -> Json | None:
    """Move `num_retries` into the attempt: LiteLLM would retry a direct call without calling hooks and loggers, so the
    provider's client retries it instead (`max_retries`). The global setting can only be turned off."""
    if litellm.num_retries:
        return {**kwargs, "num_retries": 0}
    if not kwargs.get("num_retries"):
        return None
    others = {name: value for name, value in kwargs.items() if name != "num_retries"}
    return {**others, "max_retries": kwargs.get("max_retries") or kwargs["num_retries"]}


def count_tokens(model: str, kwargs: Json) -> int:
    """Count the tokens of the prompt locally, so that the prompt does not leave this process."""
    messages, text = kwargs.get("messages"), kwargs.get("input") or kwargs.get("prompt") or kwargs.get("contents")
    try:
        if messages:
            return int(litellm.token_counter(model, messages=messages, tools=kwargs.get("tools")))
        return int(litellm.token_counter(model, text=text if isinstance(text, str) else str(text or "")))
    except Exception:  # noqa: BLE001 - content that LiteLLM cannot count; a token has about four characters
        return len(str(messages or text)) // 4
