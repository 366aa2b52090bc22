"""What LiteLLM's names of calls and users mean, in its callbacks and in its database."""

# The capability of each LiteLLM call type. A leading "a" only means asynchronous.
_CAPABILITIES = {
    "completion": "chat",
    "anthropic_messages": "chat",
    "generate_content": "chat",
    "generate_content_stream": "chat",
    "text_completion": "completions",
    "responses": "responses",
    "realtime": "realtime",
    "embedding": "embeddings",
    "image_generation": "images",
    "image_edit": "images",
    "video_generation": "video",
    "transcription": "audio",
    "speech": "audio",
    "rerank": "rerank",
    "moderation": "moderation",
    "search": "search",
    "ocr": "ocr",
    "call_mcp_tool": "tools",
}
MCP_CALL = "call_mcp_tool"

# Placeholders of LiteLLM for calls with its master key: the user (LITELLM_PROXY_ADMIN_NAME), and the end user if it
# overwrites `user` with the key (LITELLM_PROXY_MASTER_KEY_ALIAS).
PLACEHOLDER_USERS = frozenset({"default_user_id", "litellm_proxy_master_key"})


def capability_of(call_type: str) -> str:
    """Return the capability of a call type, or the call type itself if it has none."""
    name = call_type.removeprefix("_")
    return _CAPABILITIES.get(name) or _CAPABILITIES.get(name.removeprefix("a")) or name
