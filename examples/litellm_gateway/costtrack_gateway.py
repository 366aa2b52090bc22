"""A hook for LiteLLM's proxy and SDK that sends usage to costtrack and enforces its spend limits: each call is
authorized before it is made and settled afterwards (`COSTTRACK_MODE=authorize`), or only reported
(`COSTTRACK_MODE=report`).

README.md describes the settings, docs/gateway.md how each kind of call is settled. LiteLLM loads a hook from a single
file, so everything is in this file. It needs only litellm and httpx.

    proxy   litellm_settings: {callbacks: costtrack_gateway.gateway}
    SDK     litellm.callbacks = [costtrack_gateway.gateway]

The hook requests one authorization per *attempt*, because retries and fallbacks may use models with other prices. An
authorization is settled by the usage that LiteLLM reports, released if the attempt fails, and expires if this process
dies. If LiteLLM does not report an attempt (it was canceled, or a program abandoned its stream), the authorization is
settled with an estimate.
"""

import asyncio
import atexit
import hashlib
import json
import logging
import os
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx
import litellm
from litellm.exceptions import BudgetExceededError, GuardrailRaisedException
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

logger = logging.getLogger("costtrack")

Json = dict[str, Any]

_SECONDS_BETWEEN_OUTAGES = 1.0
_MAX_RESPONSE_SECONDS = 5.0
_MAX_LOGGING_SECONDS = 3.0
_TOO_MANY = "too_many_requests"
_REFUSALS = {"spend_limit_exceeded", _TOO_MANY, "plan_without_api"}
_PASSED_ON = ("retry-after", "x-ratelimit-reset", "x-should-retry", "cache-control")
_MESSAGES = "anthropic_messages"
# Calls whose input and output are text, so that tokens can be counted before the call.
_TEXT_CALLS = {"acompletion", "atext_completion", _MESSAGES, "aresponses", "agenerate_content"}
_TEXT_CALLS |= {"agenerate_content_stream", "aembedding"}
_OTHER_CALLS = {"aimage_generation", "aimage_edit", "atranscription", "aspeech", "arerank", "avideo_generation", "aocr"}
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
# LiteLLM's placeholders for an unknown user, in calls with its master key.
_PLACEHOLDERS = {"default_user_id", "litellm_proxy_master_key"}
_USER_HEADER = "x-costtrack-user"
_MAX_TEXT = 255


def _setting(name: str, default: str) -> str:
    """Return the variable or, if it is unset or empty, the default."""
    return os.environ.get(name, "").strip() or default


def _choice(name: str, *choices: str) -> str:
    """Return one of the choices; the first one is the default. Raises ValueError."""
    value = _setting(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, but must be one of: {', '.join(choices)}.")
    return value


def _number(name: str, default: str) -> Decimal:
    value = _setting(name, default)
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise ValueError(f"{name} is {value!r}, but must be a number that is not negative.")
    return number


@dataclass(frozen=True)
class Settings:
    """The settings, from environment variables `COSTTRACK_...`. Raises ValueError that names the invalid variable."""

    url: str = field(default_factory=lambda: _setting("COSTTRACK_URL", "http://127.0.0.1:8000").rstrip("/"))
    token: str = field(default_factory=lambda: _setting("COSTTRACK_TOKEN", ""), repr=False)
    authorizes: bool = field(default_factory=lambda: _choice("COSTTRACK_MODE", "authorize", "report") == "authorize")
    """If False, calls are reported but never authorized."""
    timeout: float = field(default_factory=lambda: float(_number("COSTTRACK_TIMEOUT_MS", "500")) / 1000)
    refuses_in_outage: bool = field(
        default_factory=lambda: _choice("COSTTRACK_IN_OUTAGE", "allow", "refuse") == "refuse"
    )
    max_tokens: int = field(default_factory=lambda: int(_number("COSTTRACK_MAX_TOKENS", "4096")))
    """Output tokens to reserve if the call does not limit its output."""
    other_usd: str = field(default_factory=lambda: f"{_number('COSTTRACK_OTHER_CALLS_USD', '0.05'):f}")
    """The amount to reserve for a call whose tokens cannot be counted: an image, speech, a rerank."""
    ttl_seconds: int = field(default_factory=lambda: int(_number("COSTTRACK_TTL_SECONDS", "600")))
    end_user_as_user: bool = field(
        default_factory=lambda: _choice("COSTTRACK_END_USER_AS_USER", "false", "true") == "true"
    )
    """Whether the end user (OpenAI's parameter `user`) is the user of a call without another user."""


class CallRefusedError(BudgetExceededError, GuardrailRaisedException, ImportError):
    """costtrack refused the call; nothing was sent to the provider.

    `body` and `headers` are those of costtrack's response: the limit, the amounts, and `resets_at`. The base classes
    keep LiteLLM from making the call anyway. Callers handle the first one. For the second one, with a status other than
    429, the Router does not retry, fall back, or cool down a deployment that others use. With `num_retries`, the
    wrapper around every call retries all exceptions except the third one, without calling any hook.
    """

    def __init__(self, message: str, *, status: int, body: Json, headers: dict[str, str], in_router: bool) -> None:
        limit = body.get("limit") or {}
        BudgetExceededError.__init__(self, float(body.get("spent_usd") or 0), float(limit.get("amount_usd") or 0))
        self.args = (message,)
        self.message = self.msg = message
        self.http_status = status
        self.status_code = 403 if in_router else status
        self.code, self.body, self.headers = body.get("code"), body, headers
        self.resets_at: str | None = body.get("resets_at")
        self.guardrail_name, self.blocked_content = "costtrack", False


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
        metadata = _metadata(kwargs)
        user_id = _user_id(kwargs, end_user=kwargs.get("user"), settings=settings, is_messages=kind == _MESSAGES)
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
        caller_metadata = {**_requester(self.metadata), **_object(self.metadata.get("spend_logs_metadata"))}
        names = ("run_id", "workflow_id", "session_id")
        known = {"service": self.provider, "model": self.model, "user_id": self.user_id}
        known |= {name: _text(caller_metadata.get(name)) for name in names}
        tags = list(filter(None, self.metadata.get("tags") or []))[:50]
        return {**{name: value for name, value in known.items() if value}, **({"tags": tags} if tags else {})}


# --- The user of a call --------------------------------------------------------------------------------------------


def _user_id(given: Json, *, end_user: Any, settings: Settings, is_messages: bool) -> str | None:
    """Return the user of a call, from its arguments or from LiteLLM's `litellm_params`, by the rules in
    docs/litellm.md, which costtrack also applies to the payloads of LiteLLM's own logger. A caller cannot replace the
    user of its key."""
    metadata = _metadata(given)
    requester = _requester(metadata)
    if not requester and not given.get("proxy_server_request"):
        requester = metadata  # a program's own
    route = str(metadata.get("user_api_key_request_route") or "")
    if is_messages or route.endswith("/messages"):
        requester = {}  # Anthropic's `metadata.user_id` is an end user, as OpenAI's `user` is
    caller_metadata = _object(metadata.get("spend_logs_metadata"))
    known = [_key_user(metadata), _identity(caller_metadata.get("user_id")), _identity(requester.get("user_id"))]
    known.append(_identity(_object(metadata.get("headers")).get(_USER_HEADER)))
    if settings.end_user_as_user:
        named = {**_requester(metadata), **caller_metadata}.get("end_user")
        known += map(_identity, (metadata.get("user_api_key_end_user_id"), end_user, named))
    return next(filter(None, known), None)


def _key_user(metadata: Json) -> str | None:
    """Return the user to whom the key belongs in LiteLLM's database."""
    return _identity(metadata.get("user_api_key_user_id"))


def _metadata(given: Json) -> Json:
    return {**_object(given.get("litellm_metadata")), **_object(given.get("metadata"))}


def _requester(metadata: Json) -> Json:
    """Return the `metadata` of a request to the proxy. Programs may have one inside their metadata."""
    return _object(metadata.get("requester_metadata")) or _object(metadata.get("metadata"))


def _object(given: Any) -> Json:
    return given if isinstance(given, dict) else {}


def _identity(value: Any) -> str | None:
    text = _text(value)
    return None if text in _PLACEHOLDERS else text


def _text(value: Any) -> str | None:
    """Return the text as costtrack stores it: if it is too long, its beginning and a digest of the whole."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).replace("\0", "")
    if len(text) <= _MAX_TEXT:
        return text or None
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{text[: _MAX_TEXT - len(digest) - 1]}~{digest}"


# --- Reports to costtrack ------------------------------------------------------------------------------------------

# The fields of LiteLLM's payload that `POST /integrations/litellm` reads. Prompts and completions are not sent.
_PAYLOAD_FIELDS = (
    "id",
    "litellm_call_id",
    "trace_id",
    "session_id",
    "call_type",
    "status",
    "custom_llm_provider",
    "model",
)
_PAYLOAD_FIELDS += (
    "model_group",
    "model_id",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "endTime",
    "response_cost",
)
_PAYLOAD_FIELDS += ("response_cost_failure_debug_info", "cache_hit", "request_tags", "end_user")
_METADATA_FIELDS = ("user_api_key_hash", "user_api_key_alias", "user_api_key_user_id", "user_api_key_end_user_id")
_METADATA_FIELDS += ("user_api_key_team_id", "user_api_key_team_alias", "user_api_key_org_id")
_METADATA_FIELDS += ("user_api_key_project_id", "user_api_key_request_route", "spend_logs_metadata")
_METADATA_FIELDS += ("requester_metadata", "usage_object", "mcp_tool_call_metadata")


@dataclass(frozen=True)
class Usage:
    """A call that took place."""

    payload: Json

    @classmethod
    def of(cls, payload: Any) -> "Usage":
        read = {name: payload.get(name) for name in _PAYLOAD_FIELDS}
        read["metadata"] = _some(payload.get("metadata"), _METADATA_FIELDS)
        read["model_parameters"] = _some(payload.get("model_parameters"), ("user",))
        read["error_information"] = _some(payload.get("error_information"), ("error_code", "error_class"))
        return cls(read)


@dataclass(frozen=True)
class Release:
    """An authorization whose call did not take place."""

    authorization_id: str


def _some(given: Any, names: tuple[str, ...]) -> Json:
    return {name: given[name] for name in names if name in given} if isinstance(given, dict) else {}


class Outbox:
    """Sends items in a background thread, and retries until costtrack has stored them; no call waits for that. It holds
    up to `MAX_ITEMS` items in memory. If there are more, the oldest is lost and logged."""

    MAX_ITEMS = 100_000
    BATCH = 100
    MAX_PAUSE = 30.0

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url, self._headers = url, headers
        self._pending: deque[Usage | Release] = deque()
        self._sending: list[Usage | Release] = []
        self._changed = threading.Condition()  # reentrant: the garbage collector may put something at any moment
        self._thread: threading.Thread | None = None
        self._is_urgent = False
        self.sent = 0
        """The number of items that costtrack has accepted."""

    def put(self, item: Usage | Release) -> None:
        with self._changed:
            if len(self._pending) >= self.MAX_ITEMS:
                logger.error("costtrack has been unavailable for too long; dropped %s", self._pending.popleft())
            self._pending.append(item)
            if self._thread is None or not self._thread.is_alive():  # none yet, or not in this fork
                self._thread = threading.Thread(target=self._run, name="costtrack-outbox", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is sent, for up to this many seconds. Return whether it was."""
        with self._changed:
            self._is_urgent = True
            arrived = self._changed.wait_for(lambda: not self._pending and not self._sending, seconds)
            self._is_urgent = False
            if not arrived:
                logger.error("%s calls could not be reported to costtrack", len(self._pending) + len(self._sending))
        return arrived

    def _run(self) -> None:
        pause = 0.0
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=10) as client:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._pending)
                    self._take_next()
                is_done = self._deliver(client)
                with self._changed:
                    if is_done:
                        self.sent += len(self._sending)
                    else:
                        self._pending.extendleft(reversed(self._sending))
                    self._sending = []
                    self._changed.notify_all()
                pause = 0.0 if is_done else min(max(pause * 2, 0.25), self.MAX_PAUSE)
                time.sleep(min(pause, 0.25) if self._is_urgent else pause)

    def _take_next(self) -> None:
        """Take a release, or all pending calls up to the next release."""
        self._sending = [self._pending.popleft()]
        if isinstance(self._sending[0], Usage):
            while self._pending and isinstance(self._pending[0], Usage) and len(self._sending) < self.BATCH:
                self._sending.append(self._pending.popleft())

    def _deliver(self, client: httpx.Client) -> bool:
        """Send the taken items. Return False if they must be retried. Usage that cannot be read is not retried."""
        first = self._sending[0]
        try:
            if isinstance(first, Release):
                answer = client.delete(f"/usage/authorizations/{first.authorization_id}")
            else:
                records = [item.payload for item in self._sending if isinstance(item, Usage)]
                body = json.dumps(records, default=str)
                answer = client.post(
                    "/integrations/litellm", content=body, headers={"Content-Type": "application/json"}
                )
        except httpx.HTTPError as error:
            logger.warning("cannot report to costtrack: %s", type(error).__name__)
            return False
        if answer.status_code in (401, 403, 408, 425, 429) or answer.is_server_error:
            logger.warning("cannot report to costtrack: HTTP %s %s", answer.status_code, answer.text[:200])
            return False
        if isinstance(first, Usage) and (not answer.is_success or answer.json()["rejected"]):
            logger.error("costtrack could not read usage: HTTP %s %s", answer.status_code, answer.text[:1000])
        return True


# --- The hook ------------------------------------------------------------------------------------------------------


class Gateway(CustomLogger):
    """Authorizes each attempt, and reports it afterwards. Can be used by any number of event loops and threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.headers = {"Authorization": f"Bearer {self.settings.token}"}
        self.outbox = Outbox(self.settings.url, self.headers)
        self._open: dict[str, Call] = {}
        self._reported_ids: deque[str] = deque(maxlen=1000)
        self._clients: weakref.WeakKeyDictionary[Any, httpx.AsyncClient] = weakref.WeakKeyDictionary()
        self._retry_at = 0.0
        atexit.register(self._at_exit)

    # --- Before the call -------------------------------------------------------------------------------------------

    async def async_pre_call_deployment_hook(self, kwargs: Json, call_type: Any) -> Json | None:
        """LiteLLM runs this for each attempt, when the deployment is chosen, in SDK, Router and proxy alike."""
        kind = getattr(call_type, "value", "")
        if kind not in _TEXT_CALLS | _OTHER_CALLS or kwargs["litellm_call_id"] in self._open:
            return None  # a call without a cost, or the same attempt in another form (Responses API by chat completion)
        call = Call.of(kwargs, kind, self.settings)
        in_router = "model_group" in call.metadata
        if kind in _TEXT_CALLS:
            call.prompt_tokens = await asyncio.to_thread(_count, call.model, kwargs)
        if self.settings.authorizes:
            call.authorization_id = await self._authorize(self._request(call, kwargs), in_router=in_router)
        self._open[call.id] = call
        call.unreported = weakref.finalize(kwargs["litellm_logging_obj"], self._settle_unreported, call.id)
        call.unreported.atexit = False  # LiteLLM may still report the call then
        return None if in_router else _with_retries_inside(kwargs)

    def _request(self, call: Call, kwargs: Json) -> Json:
        request_body = {**call.dimensions, "ttl_seconds": self.settings.ttl_seconds}
        if call.kind in _OTHER_CALLS:
            return {**request_body, "estimated_cost_usd": self.settings.other_usd}
        max_tokens = next((kwargs[name] for name in _OUTPUT_LIMITS if kwargs.get(name)), self.settings.max_tokens)
        output = 0 if call.kind == "aembedding" else int(max_tokens) * int(kwargs.get("n") or 1)
        request_body |= {"input_tokens": call.prompt_tokens, "max_tokens": output}
        try:  # the event will have LiteLLM's cost, so the higher one is reserved
            costs = litellm.cost_per_token(call.model, call.prompt_tokens, output, custom_llm_provider=call.provider)
        except Exception:  # noqa: BLE001 - LiteLLM has no price for it
            return request_body
        return {**request_body, "estimated_cost_usd": f"{Decimal(repr(sum(costs))):f}"}

    async def _authorize(self, request_body: Json, *, in_router: bool) -> str | None:
        """Return the id of an authorization, or None in an outage if calls are then allowed. Raises
        CallRefusedError."""
        if time.monotonic() < self._retry_at:
            return self._in_outage("it did not respond a moment ago", in_router=in_router)
        response_future = asyncio.ensure_future(self._client().post("/usage/authorizations", json=request_body))
        try:
            answer = await asyncio.wait_for(asyncio.shield(response_future), self.settings.timeout)
        except asyncio.CancelledError:
            response_future.add_done_callback(self._release_late_grant)
            raise
        except (TimeoutError, httpx.HTTPError) as error:
            response_future.add_done_callback(self._release_late_grant)
            return self._in_outage(type(error).__name__, in_router=in_router)
        body = _json(answer)
        if answer.is_success:
            return str(body["id"])
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY or body.get("code") in _REFUSALS:
            headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            message = str(body.get("error", "costtrack refused the call."))
            if body.get("code") != _TOO_MANY:
                headers.setdefault("x-should-retry", "false")
            raise CallRefusedError(message, status=answer.status_code, body=body, headers=headers, in_router=in_router)
        return self._in_outage(f"HTTP {answer.status_code}: {body.get('error')}", in_router=in_router)

    def _in_outage(self, reason: str, *, in_router: bool) -> None:
        """Allow or refuse the call without an authorization. No requests are sent for a moment, so that few calls wait
        for a timeout during an outage."""
        if time.monotonic() >= self._retry_at:
            logger.warning("cannot request an authorization from costtrack: %s", reason)
            self._retry_at = time.monotonic() + _SECONDS_BETWEEN_OUTAGES
        if self.settings.refuses_in_outage:
            message = "costtrack is unavailable, so the call cannot be checked against its limits and is refused."
            body, headers = {"error": message, "code": "limits_unavailable"}, {"retry-after": "5"}
            raise CallRefusedError(message, status=503, body=body, headers=headers, in_router=in_router)

    def _release_late_grant(self, response_future: "asyncio.Future[httpx.Response]") -> None:
        """Release an authorization that arrived too late for its call."""
        if (
            not response_future.cancelled()
            and response_future.exception() is None
            and response_future.result().is_success
        ):
            self.outbox.put(Release(str(_json(response_future.result())["id"])))

    def _client(self) -> httpx.AsyncClient:
        """Return the client of the running event loop, because connections belong to a loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
            max_seconds = max(_MAX_RESPONSE_SECONDS, self.settings.timeout)
            self._clients[loop] = httpx.AsyncClient(
                base_url=self.settings.url, headers=self.headers, timeout=max_seconds, limits=limits
            )
        return self._clients[loop]

    async def async_post_call_failure_hook(
        self, request_data: Json, original_exception: Exception, user_api_key_dict: Any, traceback_str: Any = None
    ) -> Any:
        """Return the proxy's response to a refused call, with costtrack's status, headers and body."""
        if not isinstance(original_exception, CallRefusedError):
            return None
        from fastapi import HTTPException  # the proxy has it, the SDK does not

        refused = original_exception
        detail = {**refused.body, "error": refused.message}
        return HTTPException(refused.http_status, detail=detail, headers=refused.headers)

    # --- After the call --------------------------------------------------------------------------------------------

    async def async_logging_hook(self, kwargs: Json, result: Any, call_type: str) -> tuple[Json, Any]:
        """Annotate the payload before all loggers run, so that LiteLLM's own logger sends the same payload if it also
        sends to costtrack."""
        self._annotate(kwargs)
        return kwargs, result

    async def async_log_success_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._report(kwargs)

    async def async_log_failure_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Also called for a stream that broke: LiteLLM counts the output so far."""
        self._report(kwargs)

    def log_success_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Called for the synchronous functions, which no hook can refuse."""
        self._report(kwargs)

    def log_failure_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._report(kwargs)

    async def async_post_call_failure_deployment_hook(
        self, request_data: Json, exception: Exception, call_type: Any, fallback_depth: int | None = None
    ) -> None:
        """Release the authorization of an attempt that failed before any output. After a timeout the prompt is reported
        instead, because the provider may have processed it."""
        call = self._close(request_data.get("litellm_call_id"))
        if call is not None and isinstance(exception, litellm.Timeout):
            self._report_estimate(call, "Timeout", 408)
        elif call is not None and call.authorization_id:
            self.outbox.put(Release(call.authorization_id))

    async def leave(self, stream: Any) -> None:
        """Close a stream that the program stops reading, and report the output so far. (The proxy does this for its
        clients.)"""
        call = self._close(stream.logging_obj.litellm_call_id)
        if call is not None:
            self._report_estimate(call, "Abandoned", 499, delivered=stream.response_uptil_now)
        await stream.aclose()

    def _report(self, kwargs: Json) -> None:
        call_id, payload = kwargs.get("litellm_call_id"), kwargs.get("standard_logging_object")
        if isinstance(kwargs.get("exception"), CallRefusedError) or call_id in self._reported_ids:
            return
        self._annotate(kwargs)
        self._close(call_id)
        if payload:
            self.outbox.put(Usage.of(payload))

    def _annotate(self, kwargs: Json) -> None:
        """Name the authorization and the user in the payload, where costtrack reads them, so that both are those of the
        authorization. A caller cannot name an authorization that another call has."""
        call, payload = self._open.get(kwargs.get("litellm_call_id", "")), kwargs.get("standard_logging_object")
        if not payload:
            return
        metadata = payload["metadata"]
        # Without an open call it is a synchronous function, or of a kind that needs no authorization.
        user_id = call.user_id if call is not None else self._reported_user(kwargs, payload)
        metadata["spend_logs_metadata"] = _annotated(metadata, call, user_id)

    def _reported_user(self, kwargs: Json, payload: Json) -> str | None:
        return _user_id(
            _object(kwargs.get("litellm_params")),
            end_user=payload.get("end_user") or _object(payload.get("model_parameters")).get("user"),
            settings=self.settings,
            is_messages=payload.get("call_type") == _MESSAGES,
        )

    def _close(self, call_id: str | None) -> Call | None:
        call = self._open.pop(call_id, None) if call_id else None
        if call is not None and call.unreported is not None:
            call.unreported.detach()
        return call

    def _settle_unreported(self, call_id: str) -> None:
        """Report an estimate for a call that LiteLLM has dropped without reporting it."""
        call = self._close(call_id)
        if call is not None:
            self._report_estimate(call, "Unreported", 499)

    def _report_estimate(self, call: Call, why: str, status: int, *, delivered: str = "") -> None:
        self._reported_ids.append(call.id)
        output = litellm.token_counter(call.model, text=delivered) if delivered else 0
        caller_metadata = {**(_annotated(call.metadata, call, call.user_id) or {}), "estimated": True}
        payload = {
            "id": f"{call.id}_estimate",
            "litellm_call_id": call.id,
            "call_type": call.kind,
            "status": "failure",
            "custom_llm_provider": call.provider,
            "model": call.model,
            "prompt_tokens": call.prompt_tokens,
            "completion_tokens": output,
            "startTime": call.started,
            "endTime": time.time(),
            "request_tags": call.metadata.get("tags"),
            "metadata": {**call.metadata, "spend_logs_metadata": caller_metadata},
            "error_information": {"error_class": why, "error_code": str(status)},
        }
        self.outbox.put(Usage.of(payload))

    # --- At the end ------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Wait for LiteLLM's background logging, and send the rest. To be called by programs before they end."""
        deadline = time.monotonic() + _MAX_LOGGING_SECONDS
        while self._open and time.monotonic() < deadline:  # noqa: ASYNC110 - LiteLLM has no signal for it
            await asyncio.sleep(0.01)
        await asyncio.to_thread(self.close)

    def _at_exit(self) -> None:
        """Flush LiteLLM's background logging first, which otherwise would report calls after the outbox is closed."""
        getattr(GLOBAL_LOGGING_WORKER, "_flush_on_exit", lambda: None)()
        self.close()

    def close(self) -> None:
        """Settle open calls with estimates, and send pending items for up to ten seconds."""
        for call_id in list(self._open):
            self._settle_unreported(call_id)
        self.outbox.flush(seconds=10)


def _annotated(metadata: Json, call: Call | None, user_id: str | None) -> Json | None:
    """`spend_logs_metadata` with the user, unless costtrack reads it from the key, and with the authorization."""
    caller_metadata = _object(metadata.get("spend_logs_metadata"))
    if call is not None:
        caller_metadata = {name: value for name, value in caller_metadata.items() if name != "authorization_id"}
        caller_metadata |= {"authorization_id": call.authorization_id} if call.authorization_id else {}
    if user_id and user_id != _key_user(metadata):
        caller_metadata = {**caller_metadata, "user_id": user_id}
    return caller_metadata or None


def _with_retries_inside(kwargs: Json) -> Json | None:
    """Move `num_retries` into the attempt: LiteLLM would retry a direct call without calling hooks and loggers, so the
    provider's client retries it instead (`max_retries`). The global setting can only be turned off."""
    if litellm.num_retries:
        return {**kwargs, "num_retries": 0}
    if not kwargs.get("num_retries"):
        return None
    others = {name: value for name, value in kwargs.items() if name != "num_retries"}
    return {**others, "max_retries": kwargs.get("max_retries") or kwargs["num_retries"]}


def _count(model: str, kwargs: Json) -> int:
    """Count the tokens of the prompt locally, so that the prompt does not leave this process."""
    messages, text = kwargs.get("messages"), kwargs.get("input") or kwargs.get("prompt") or kwargs.get("contents")
    try:
        if messages:
            return litellm.token_counter(model, messages=messages, tools=kwargs.get("tools"))
        return litellm.token_counter(model, text=text if isinstance(text, str) else str(text or ""))
    except Exception:  # noqa: BLE001 - content that LiteLLM cannot count; a token has about four characters
        return len(str(messages or text)) // 4


def _json(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


gateway = Gateway()
