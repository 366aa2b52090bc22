"""The attributes of OpenTelemetry spans and log records that are read, by meaning. Data; the first name with a value
counts.

Only these attributes and numbers of usage are ever decoded, so prompts, answers and arguments of tools are never stored
or logged. Sources: the GenAI conventions now and before, OpenInference, OpenLLMetry, the Vercel AI SDK, Pydantic AI,
LangSmith, Langfuse, LiteLLM, Claude, Codex, Gemini CLI, Copilot, OpenRouter.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

# Metadata that frameworks put before names which their callers choose.
_CALLER_PREFIXES = (
    "traceloop.association.properties.",
    "ai.telemetry.metadata.",
    "langfuse.trace.metadata.",
    "langfuse.observation.metadata.",
    "langsmith.metadata.",
    "metadata.",
    "costtrack.",
    "trace.metadata.",
)


def _with_prefixes(*names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{name}" for prefix in _CALLER_PREFIXES for name in names)


TEXT_FIELDS: Mapping[str, tuple[str, ...]] = {
    # What kind of work a span is.
    "operation": ("gen_ai.operation.name",),
    "openinference_kind": ("openinference.span.kind",),
    "langfuse_type": ("langfuse.observation.type",),
    "langsmith_kind": ("langsmith.span.kind",),
    "traceloop_kind": ("traceloop.span.kind",),
    "request_type": ("llm.request.type",),
    "vercel_operation": ("ai.operationId",),
    "logfire_type": ("logfire.span_type",),
    "event_name": ("event.name",),
    "event_kind": ("event.kind",),
    "event_timestamp": ("event.timestamp",),
    "error": ("error.type",),
    # What was called.
    "provider": (
        "gen_ai.provider.name",
        "gen_ai.system",
        "llm.provider",
        "llm.system",
        "ai.model.provider",
        "langsmith.metadata.ls_provider",
    ),
    "response_model": ("gen_ai.response.model", "llm.response.model_name", "llm.response.model", "ai.response.model"),
    "model": (
        "langfuse.observation.model.name",
        "gen_ai.request.model",
        "llm.model_name",
        "embedding.model_name",
        "llm.request.model_name",
        "llm.request.model",
        "ai.model.id",
        "langsmith.metadata.ls_model_name",
        "model",
    ),
    "endpoint": ("url.path", "http.route"),
    # Who called.
    "session_id": (
        "gen_ai.conversation.id",
        "session.id",
        "langfuse.session.id",
        "langsmith.trace.session_id",
        "conversation.id",
        "anthropic.session.id",
        *_with_prefixes("session_id", "sessionId", "session.id", "thread_id", "conversation_id"),
    ),
    "user_id": (
        "user.email",
        "langfuse.user.id",
        "user.id",
        "enduser.id",
        "user.account_uuid",
        "user.account_id",
        *_with_prefixes("user_id", "userId", "user.id"),
    ),
    "agent_id": ("gen_ai.agent.id", "agent_id", *_with_prefixes("agent_id")),
    "agent_name": ("gen_ai.agent.name", "agent.name", *_with_prefixes("agent_name")),
    "workflow_id": ("gen_ai.workflow.name", "traceloop.workflow.name", *_with_prefixes("workflow_id")),
    "tool": ("gen_ai.tool.name", "tool.name", "ai.toolCall.name"),
    "prompt_id": ("prompt.id", "prompt_id"),
    "run_id": _with_prefixes("run_id"),
    "execution_id": _with_prefixes("execution_id"),
    "phase_id": _with_prefixes("phase_id"),
    "workspace_id": _with_prefixes("workspace_id"),
    "group_id": _with_prefixes("group_id"),
    "group_name": _with_prefixes("group_name"),
    "end_user": _with_prefixes("end_user"),
    "capability": _with_prefixes("capability"),
    "cost_group": _with_prefixes("cost_group"),
    "authorization_id": _with_prefixes("authorization_id"),
    # Conditions of the call.
    "service_tier": (
        "openai.response.service_tier",
        "anthropic.response.service_tier",
        "gen_ai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "anthropic.usage.service_tier",
        "service_tier",
    ),
    "requested_tier": (
        "openai.request.service_tier",
        "anthropic.request.service_tier",
        "gen_ai.request.service_tier",
        "gen_ai.openai.request.service_tier",
    ),
    "speed": ("anthropic.response.speed", "anthropic.usage.speed", "gen_ai.response.speed", "speed"),
    "address": ("server.address",),
    "region": ("anthropic.response.inference_geo", "anthropic.usage.inference_geo", "inference_geo"),
    "auth_mode": ("auth_mode", "auth_type"),
    "environment": ("deployment.environment.name", "deployment.environment", "langfuse.environment"),
    "sender": ("service.name",),
}
# The provider's ids of a call. All of them identify it.
CALL_IDS = (
    "gen_ai.response.id",
    "ai.response.id",
    "openai.response.id",
    "anthropic.message.id",
    "llm.response.id",
    "anthropic.request.id",
    "gen_ai.request.id",
    "openai.request.id",
    "aws.request_id",
    "aws.bedrock.request.id",
    "openrouter.generation_id",
    "generation_id",
    "response_id",
    "request_id",
    "litellm.call_id",
)
# Lists of tags, also as text with commas or as JSON.
TAGS = ("tag.tags", "langfuse.trace.tags", "langsmith.span.tags", *_with_prefixes("tags"))
# JSON objects with usage.
USAGE_DETAILS = "langfuse.observation.usage_details"
COST_DETAILS = "langfuse.observation.cost_details"
PROVIDER_METADATA = "ai.response.providerMetadata"
# Costs in USD, of which the first one counts. They are estimates, except the one of a provider about itself.
COSTS = (
    "gen_ai.usage.cost",
    "gen_ai.usage.total_cost",
    "gen_ai.cost.total_cost",
    "gen_ai.cost.total",
    "litellm.cost.total_cost",
    "litellm.cost.total",
    "litellm.response_cost",
    "litellm.response-cost",
    "llm.cost.total",
    "operation.cost",
    "langsmith.usage.total_cost",
    "cost_usd",
    "openrouter.cost",
)
# Costs of caches, which LiteLLM names also where it does not say how many tokens were cached.
CACHE_COSTS = ("gen_ai.cost.cache_read_cost", "gen_ai.cost.cache_creation_cost")


class Rule(NamedTuple):
    """How an attribute is read: as `text` of a field, whose first name with a value counts, as `id`, as `tags`, as
    `json`, or as a `number`. `is_usage`: it is a number of a call's usage.
    """

    role: str
    field: str = ""
    position: int = 0
    is_usage: bool = False


_USAGE = re.compile(
    r"(?:gen_ai\.usage\.|llm\.(?:token_count|usage)\.|ai\.usage\.|anthropic\.usage\.).+"
    r"|(?:input|output|cache_read|cache_creation|reasoning|tool|thoughts|cached|cached_content|total)_(?:token_count|tokens)"
)
_OTHER_NUMBERS = ("duration_ms", "http.status_code", "http.response.status_code", "status_code")
_RULES: Mapping[str, Rule] = {
    **{name: Rule("text", field, index) for field, names in TEXT_FIELDS.items() for index, name in enumerate(names)},
    **dict.fromkeys(CALL_IDS, Rule("id")),
    **dict.fromkeys(TAGS, Rule("tags")),
    **dict.fromkeys((*COSTS, *CACHE_COSTS, *_OTHER_NUMBERS), Rule("number")),
    **dict.fromkeys((USAGE_DETAILS, COST_DETAILS, PROVIDER_METADATA), Rule("json")),
}
_MAX_KEY_LENGTH = 200


@lru_cache(maxsize=8192)
def rule_of(name: str) -> Rule | None:
    """Return how an attribute is read; None if it is not read."""
    if len(name) > _MAX_KEY_LENGTH:
        return None
    return _RULES.get(name) or (Rule("number", is_usage=True) if _USAGE.fullmatch(name) else None)


@lru_cache(maxsize=8192)
def is_usage(name: str) -> bool:
    """Whether an attribute is a number of a call's usage."""
    rule = rule_of(name)
    return rule is not None and rule.is_usage
