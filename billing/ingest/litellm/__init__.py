"""The format of LiteLLM's generic API logger (docs/litellm.md). Pure: bytes in, events out.

`payload` declares the fields that are read and stored; `mapping` converts them to events.
"""

from billing.ingest.json_records import split_tolerantly as split
from billing.ingest.litellm.mapping import SOURCE, parse
from billing.ingest.litellm.payload import mark_end_user_as_user, short_text, without_prompts

__all__ = ["SOURCE", "mark_end_user_as_user", "parse", "short_text", "split", "without_prompts"]
