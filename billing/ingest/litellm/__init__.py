"""What LiteLLM's generic API logger sends (docs/litellm.md). Pure: bytes in, events out.

`payload` says what is read of a record and what may be kept of it, `mapping`, `usage` and `users` what it becomes.
"""

from billing.ingest.litellm.mapping import SOURCE, parse
from billing.ingest.litellm.payload import mark_end_user_as_user, short_text, without_prompts
from billing.ingest.tolerant import split_tolerantly as split

__all__ = ["SOURCE", "mark_end_user_as_user", "parse", "short_text", "split", "without_prompts"]
