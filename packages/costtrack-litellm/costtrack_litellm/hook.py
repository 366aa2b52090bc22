"""The callback of LiteLLM: authorizes each call before it is made, and reports it afterwards.

It requests one authorization per *attempt*, because retries and fallbacks may use models with other prices. An
authorization is settled by the usage that LiteLLM reports, released if the attempt fails, and expires if this process
dies. If LiteLLM does not report an attempt (it was canceled, or a program abandoned its stream), the authorization is
settled with an estimate.
"""

import asyncio
import atexit
import logging
import signal
import threading
import time
import weakref
from collections import deque
from decimal import Decimal
from typing import Any

import httpx
import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from costtrack_litellm.calls import Call, annotated, count_tokens, with_retries_inside
from costtrack_litellm.payloads import Release, Usage
from costtrack_litellm.refusals import CallRefusedError
from costtrack_litellm.reporter import Reporter, body_of
from costtrack_litellm.settings import Settings
from costtrack_litellm.users import MESSAGES, object_of, user_id_of

logger = logging.getLogger("costtrack")

Json = dict[str, Any]

_SECONDS_BETWEEN_OUTAGES = 1.0
_MAX_RESPONSE_SECONDS = 5.0
_MAX_LOGGING_SECONDS = 3.0
_TOO_MANY = "too_many_requests"
_REFUSALS = {"spend_limit_exceeded", _TOO_MANY, "plan_without_api"}
_PASSED_ON = ("retry-after", "x-ratelimit-reset", "x-should-retry", "cache-control")
# Calls whose input and output are text, so that tokens can be counted before the call.
_TEXT_CALLS = {
    *("acompletion", "atext_completion", MESSAGES, "aresponses"),
    *("agenerate_content", "agenerate_content_stream", "aembedding"),
}
_OTHER_CALLS = {"aimage_generation", "aimage_edit", "atranscription", "aspeech", "arerank", "avideo_generation", "aocr"}
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class CosttrackCallback(CustomLogger):
    """Authorizes each attempt, and reports it afterwards. Can be used by any number of event loops and threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.headers = {"Authorization": f"Bearer {self.settings.token}"}
        self.reporter = Reporter(self.settings, self.headers)
        self._open: dict[str, Call] = {}
        self._reported_ids: deque[str] = deque(maxlen=1000)
        self._clients: weakref.WeakKeyDictionary[Any, httpx.AsyncClient] = weakref.WeakKeyDictionary()
        self._retry_at = 0.0
        self._is_in_proxy = False
        atexit.register(self._at_exit)

    # --- Before the call -------------------------------------------------------------------------------------------

    async def async_pre_call_deployment_hook(self, kwargs: Json, call_type: Any) -> Json | None:
        """LiteLLM runs this for each attempt, when the deployment is chosen, in SDK, Router and proxy alike."""
        kind = getattr(call_type, "value", "")
        if kind not in _TEXT_CALLS | _OTHER_CALLS or kwargs["litellm_call_id"] in self._open:
            return None  # a call without a cost, or the same attempt in another form (Responses API by chat completion)
        if "proxy_server_request" in kwargs and not self._is_in_proxy:
            self._is_in_proxy = True
            _let_uvicorn_return()
        call = Call.of(kwargs, kind, self.settings)
        in_router = "model_group" in call.metadata
        if kind in _TEXT_CALLS:
            call.prompt_tokens = await asyncio.to_thread(count_tokens, call.model, kwargs)
        if self.settings.authorizes:
            call.authorization_id = await self._authorize(self._request(call, kwargs), in_router=in_router)
        self._open[call.id] = call
        call.unreported = weakref.finalize(kwargs["litellm_logging_obj"], self._settle_unreported, call.id)
        call.unreported.atexit = False  # LiteLLM may still report the call then
        return None if in_router else with_retries_inside(kwargs)

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
            self._in_outage("it did not respond a moment ago", in_router=in_router)
            return None
        response_future = asyncio.ensure_future(self._client().post("/usage/authorizations", json=request_body))
        try:
            answer = await asyncio.wait_for(asyncio.shield(response_future), self.settings.timeout)
        except asyncio.CancelledError:
            response_future.add_done_callback(self._release_late_grant)
            raise
        except (TimeoutError, httpx.HTTPError) as error:
            response_future.add_done_callback(self._release_late_grant)
            self._in_outage(type(error).__name__, in_router=in_router)
            return None
        body = body_of(answer)
        if answer.is_success:
            return str(body["id"])
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY or body.get("code") in _REFUSALS:
            headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            message = str(body.get("error", "costtrack refused the call."))
            if body.get("code") != _TOO_MANY:
                headers.setdefault("x-should-retry", "false")
            raise CallRefusedError(message, status=answer.status_code, body=body, headers=headers, in_router=in_router)
        self._in_outage(f"HTTP {answer.status_code}: {body.get('error')}", in_router=in_router)
        return None

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
            self.reporter.put(Release(str(body_of(response_future.result())["id"])))

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
            self.reporter.put(Release(call.authorization_id))

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
            self.reporter.put(Usage.of(payload))

    def _annotate(self, kwargs: Json) -> None:
        """Name the authorization and the user in the payload, where costtrack reads them, so that both are those of the
        authorization. A caller cannot name an authorization that another call has."""
        call, payload = self._open.get(kwargs.get("litellm_call_id", "")), kwargs.get("standard_logging_object")
        if not payload:
            return
        metadata = payload["metadata"]
        # Without an open call it is a synchronous function, or of a kind that needs no authorization.
        user_id = call.user_id if call is not None else self._reported_user(kwargs, payload)
        metadata["spend_logs_metadata"] = annotated(metadata, call, user_id)

    def _reported_user(self, kwargs: Json, payload: Json) -> str | None:
        return user_id_of(
            object_of(kwargs.get("litellm_params")),
            end_user=payload.get("end_user") or object_of(payload.get("model_parameters")).get("user"),
            settings=self.settings,
            is_messages=payload.get("call_type") == MESSAGES,
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
        caller_metadata = {**(annotated(call.metadata, call, call.user_id) or {}), "estimated": True}
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
        self.reporter.put(Usage.of(payload))

    # --- At the end ------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Wait for LiteLLM's background logging, and send the rest. To be called by programs before they end."""
        deadline = time.monotonic() + _MAX_LOGGING_SECONDS
        while self._open and time.monotonic() < deadline:  # noqa: ASYNC110 - LiteLLM has no signal for it
            await asyncio.sleep(0.01)
        await asyncio.to_thread(self.close)

    def _at_exit(self) -> None:
        """Flush LiteLLM's background logging first, which otherwise would report calls after this hook has closed."""
        getattr(GLOBAL_LOGGING_WORKER, "_flush_on_exit", lambda: None)()
        self.close()

    def close(self) -> None:
        """Settle open calls with estimates, and send pending items for up to ten seconds."""
        for call_id in list(self._open):
            self._settle_unreported(call_id)
        self.reporter.flush(seconds=10)


def _let_uvicorn_return() -> None:
    """Let uvicorn, which serves the proxy, return after SIGTERM. It would end the process by that signal, so that no
    function of `atexit` runs, neither LiteLLM's nor ours, and the last calls would not be reported."""
    server: Any = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not hasattr(server, "should_exit") or threading.current_thread() is not threading.main_thread():
        return  # another server

    def stop(*_: Any) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
