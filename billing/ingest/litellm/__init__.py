"""What LiteLLM's generic API logger sends (docs/litellm.md).

`payload` says what is read of a record and what may be kept of it, `mapping` and `usage` what it becomes; all pure.
`collisions` asks the ledger which ids are taken.
"""

from billing.ingest.litellm.collisions import tell_apart
from billing.ingest.litellm.mapping import SOURCE, parse
from billing.ingest.litellm.payload import without_prompts
from billing.ingest.tolerant import split_tolerantly as split

__all__ = ["SOURCE", "parse", "split", "tell_apart", "without_prompts"]
