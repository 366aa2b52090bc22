"""OpenTelemetry's SDK with its instrumentations of OpenAI and Anthropic: `send.py protobuf` or `send.py json`.

The exporters read their settings from the environment. Each call is a span and a log record.
"""

import sys
from importlib import import_module

import anthropic
import openai
from calls import PROVIDER, call_anthropic, call_openai
from opentelemetry import trace
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

MODULES = {"protobuf": "opentelemetry.exporter.otlp.proto.http", "json": "opentelemetry.exporter.otlp.json.http"}


def main(encoding: str) -> None:
    package = MODULES[encoding]
    spans, logs = TracerProvider(), LoggerProvider()
    spans.add_span_processor(BatchSpanProcessor(import_module(f"{package}.trace_exporter").OTLPSpanExporter()))
    logs.add_log_record_processor(BatchLogRecordProcessor(import_module(f"{package}._log_exporter").OTLPLogExporter()))
    trace.set_tracer_provider(spans)
    for instrumentor in (OpenAIInstrumentor(), AnthropicInstrumentor()):
        instrumentor.instrument(tracer_provider=spans, logger_provider=logs)
    with trace.get_tracer("program").start_as_current_span("work"):
        call_openai(openai.OpenAI(api_key="none", base_url=f"{PROVIDER}/v1", max_retries=0))
        call_anthropic(anthropic.Anthropic(api_key="none", base_url=PROVIDER, max_retries=0))
    spans.shutdown()
    logs.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
