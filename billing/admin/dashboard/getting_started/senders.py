"""Snippets for programs that send by a protocol of their own: OpenTelemetry, Langfuse, CloudEvents, OpenMeter, Lago.

They use the variables `COSTTRACK_URL` and `COSTTRACK_TOKEN` of the page, so they contain no key.
"""

from collections.abc import Iterator

from billing.admin.dashboard.getting_started.types import Integration, Snippet
from organizations.types import Scope

_SCOPES = (Scope.USAGE_WRITE.value,)
_EXPORTER = """\
export OTEL_EXPORTER_OTLP_ENDPOINT="$COSTTRACK_URL/otlp"
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer $COSTTRACK_TOKEN"
"""
_OPENTELEMETRY = """\
import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
OpenAIInstrumentor().instrument()

openai.OpenAI().chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "Hello"}])
provider.shutdown()  # before the program ends, to send the rest of the queue
"""
_OPENINFERENCE = _OPENTELEMETRY.replace(
    "opentelemetry.instrumentation.genai.openai", "openinference.instrumentation.openai"
)
_TRACELOOP = """\
import openai
from traceloop.sdk import Traceloop

Traceloop.init(app_name="my-app", disable_batch=True)
openai.OpenAI().chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "Hello"}])
"""
_TRACELOOP_SETTINGS = """\
pip install traceloop-sdk httpx openai
export TRACELOOP_BASE_URL="$COSTTRACK_URL/otlp"
export TRACELOOP_HEADERS="Authorization=Bearer%20$COSTTRACK_TOKEN"
"""
_LANGFUSE = """\
from langfuse import get_client
from langfuse.openai import OpenAI

OpenAI().chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "Hello"}])
get_client().shutdown()  # before the program ends, to send the rest of the queue
"""
_LANGFUSE_SETTINGS = """\
pip install langfuse openai
export LANGFUSE_BASE_URL="$COSTTRACK_URL"
export LANGFUSE_PUBLIC_KEY="${COSTTRACK_TOKEN%%.*}"
export LANGFUSE_SECRET_KEY="${COSTTRACK_TOKEN#*.}"
"""
_CLAUDE_CODE = """\
export CLAUDE_CODE_ENABLE_TELEMETRY=1 OTEL_LOGS_EXPORTER=otlp
"""
_CODEX = """\
mkdir -p ~/.codex
cat >> ~/.codex/config.toml <<EOF

[otel.exporter.otlp-http]
endpoint = "$COSTTRACK_URL/otlp/v1/logs"
protocol = "binary"

[otel.exporter.otlp-http.headers]
Authorization = "Bearer $COSTTRACK_TOKEN"
EOF
"""
_GEMINI_CLI = """\
export GEMINI_TELEMETRY_ENABLED=true GEMINI_TELEMETRY_TARGET=local
export GEMINI_TELEMETRY_OTLP_ENDPOINT="$COSTTRACK_URL/otlp" GEMINI_TELEMETRY_OTLP_PROTOCOL=http
export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer $COSTTRACK_TOKEN"
"""
_CLOUDEVENT = """\
curl -X POST "$COSTTRACK_URL/events" \\
  -H "Authorization: Bearer $COSTTRACK_TOKEN" \\
  -H "Content-Type: application/cloudevents+json" \\
  -d '{
    "specversion": "1.0", "id": "first-cloudevent", "source": "my-app", "type": "llm.usage", "subject": "ada",
    "data": {"provider": "openai", "model": "gpt-4.1-mini", "input_tokens": 1200, "output_tokens": 300}
  }'
"""
_OPENMETER = """\
pip install 'openmeter>=1.0.0b236,<2' # all of its releases are previews
cat > program.py <<'EOF'
import os

from openmeter import Client
from openmeter.models import Event

data = {"provider": "openai", "model": "gpt-4.1-mini", "input_tokens": 1200, "output_tokens": 300}
event = Event(id="first-event", source="my-app", specversion="1.0", type="tokens", subject="ada", data=data)
client = Client(endpoint=os.environ["COSTTRACK_URL"], token=os.environ["COSTTRACK_TOKEN"])
client.events.ingest_event(event)
EOF
python program.py
"""
_LAGO = """\
curl -X POST "$COSTTRACK_URL/api/v1/events" \\
  -H "Authorization: Bearer $COSTTRACK_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"event": {
    "transaction_id": "first-transaction", "external_subscription_id": "ada", "code": "tokens",
    "properties": {"provider": "openai", "model": "gpt-4.1-mini", "input_tokens": 1200, "output_tokens": 300}
  }}'
"""


def senders() -> Iterator[Integration]:
    """Return the integrations whose senders need no more than an address and a key."""
    yield _program(
        "opentelemetry",
        "OpenTelemetry",
        "Any exporter of OpenTelemetry (OTLP over HTTP). Calls of models become events. Prompts are not stored.",
        "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http openai\n"
        "pip install opentelemetry-instrumentation-genai-openai\n" + _EXPORTER,
        _OPENTELEMETRY,
    )
    yield _program(
        "openinference",
        "OpenInference",
        "The instrumentations of Arize Phoenix, sent to this server by OpenTelemetry.",
        "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http openai\n"
        "pip install openinference-instrumentation-openai\n" + _EXPORTER,
        _OPENINFERENCE,
    )
    yield _program(
        "traceloop",
        "Traceloop",
        "Traceloop's SDK (OpenLLMetry), sent to this server.",
        _TRACELOOP_SETTINGS,
        _TRACELOOP,
    )
    yield _program(
        "langfuse",
        "Langfuse",
        "Langfuse's SDK, sent to this server. The Client ID is the public key, and the secret is the secret key.",
        _LANGFUSE_SETTINGS,
        _LANGFUSE,
    )
    yield _agent("claude-code", "Claude Code", _CLAUDE_CODE + _EXPORTER, "claude")
    yield _agent("codex", "Codex", _CODEX, "codex")
    yield _agent("gemini-cli", "Gemini CLI", _GEMINI_CLI, "gemini")
    yield _commands("cloudevents", "CloudEvents", "An event of CloudEvents 1.0, single or in a batch.", _CLOUDEVENT)
    yield _commands("openmeter", "OpenMeter", "OpenMeter's SDK, with this server's address.", _OPENMETER)
    yield _commands("lago", "Lago", "Lago's events, with this server's address.", _LAGO)


def _program(name: str, label: str, about: str, settings: str, program: str) -> Integration:
    snippets = (
        Snippet(f"snippet-{name}-settings", "Install it, and set where it sends:", settings, "Copy commands"),
        Snippet(f"snippet-{name}-program", "Call a model, for example in program.py:", program, "Copy program"),
    )
    return Integration(name, label, about, _SCOPES, snippets)


def _agent(name: str, label: str, settings: str, command: str) -> Integration:
    about = f"Each call that {label} makes, with its session and user. Prompts are not stored."
    text = f"Set where it sends, and then start {command} in the same shell:"
    return Integration(name, label, about, _SCOPES, (Snippet(f"snippet-{name}", text, settings, "Copy commands"),))


def _commands(name: str, label: str, about: str, commands: str) -> Integration:
    snippet = Snippet(f"snippet-{name}", "Send the first event:", commands, "Copy commands")
    return Integration(name, label, about, _SCOPES, (snippet,))
