"""OpenInference's instrumentations of OpenAI and Anthropic, with OpenTelemetry's exporter."""

import anthropic
import openai
from calls import CONTENT, PROVIDER, call_anthropic, call_openai
from openinference.instrumentation import using_attributes
from openinference.instrumentation.anthropic import AnthropicInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def main() -> None:
    spans = TracerProvider()
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    for instrumentor in (OpenAIInstrumentor(), AnthropicInstrumentor()):
        instrumentor.instrument(tracer_provider=spans)
    trace.set_tracer_provider(spans)  # Anthropic's own library sends its calls too
    with using_attributes(
        session_id="s-1", user_id="ada", metadata={"note": CONTENT, "run_id": "r-1"}, tags=["team:search"]
    ):
        call_openai(openai.OpenAI(api_key="none", base_url=f"{PROVIDER}/v1", max_retries=0))
        call_anthropic(anthropic.Anthropic(api_key="none", base_url=PROVIDER, max_retries=0))
    spans.shutdown()


if __name__ == "__main__":
    main()
