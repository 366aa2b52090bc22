"""The one hierarchy of errors that a caller can cause. Each HTTP family renders them in its own dialect."""

from collections.abc import Mapping


class DomainError(Exception):
    """Something the caller asked for cannot be done.

    `code` is for machines and stable, `message` for people, `param` names the field at fault (if one is), `extra`
    holds further JSON-ready details. Subclasses stand beside the code that raises them.
    """

    status: int = 400
    code: str = "bad_request"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        extra: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


class InvalidError(DomainError):
    """The input is understood and wrong; `param` names the field."""

    status = 422
    code = "invalid"


class NotFoundError(DomainError):
    """No such thing, or one of another organization: the answers are the same."""

    status = 404
    code = "not_found"


class ForbiddenError(DomainError):
    """Known caller, but the role, the scope or the plan does not allow this."""

    status = 403
    code = "forbidden"


class ConflictError(DomainError):
    """The request contradicts what exists, for example the last owner of an organization would leave."""

    status = 409
    code = "conflict"


class TooLargeError(DomainError):
    """The body is larger than what one request may bring."""

    status = 413
    code = "too_large"
