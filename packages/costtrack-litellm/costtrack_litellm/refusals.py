"""The exception of a refused call."""

from typing import Any

from litellm.exceptions import BudgetExceededError, GuardrailRaisedException

Json = dict[str, Any]


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
