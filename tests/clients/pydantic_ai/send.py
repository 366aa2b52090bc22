"""Pydantic AI's instrumentation: agents with models of OpenAI (chats and responses) and Anthropic, and a tool."""

from contextlib import suppress

from anthropic import AsyncAnthropic
from calls import CHAT_MODEL, CONTENT, MESSAGE_MODEL, MESSAGES, PROVIDER
from openai import AsyncOpenAI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic_ai import Agent, UsageLimits
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


def run(model: Model) -> None:
    """The provider calls the tool each time, so the second call is the last one that the limit allows."""
    agent = Agent(model, name="clerk", instructions=MESSAGES[0]["content"])

    @agent.tool_plain
    def look_up(word: str) -> str:
        return f"{CONTENT} {word}"

    with suppress(UsageLimitExceeded):
        agent.run_sync(MESSAGES[1]["content"], usage_limits=UsageLimits(request_limit=2))


def main() -> None:
    spans = TracerProvider()
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(spans)
    Agent.instrument_all()
    openai = OpenAIProvider(openai_client=AsyncOpenAI(api_key="none", base_url=f"{PROVIDER}/v1", max_retries=0))
    anthropic = AsyncAnthropic(api_key="none", base_url=PROVIDER, max_retries=0)
    run(OpenAIChatModel(CHAT_MODEL, provider=openai))
    run(OpenAIResponsesModel(CHAT_MODEL, provider=openai))
    run(AnthropicModel(MESSAGE_MODEL, provider=AnthropicProvider(anthropic_client=anthropic)))
    spans.shutdown()


if __name__ == "__main__":
    main()
