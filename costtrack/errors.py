"""The hierarchy of errors that a caller can cause. Each API family renders them in its own dialect."""

from collections.abc import Mapping


class DomainError(Exception):
    """A request that cannot be fulfilled.

    `code` is stable and machine-readable, `message` is for users, `param` names the invalid field (if any), and `extra`
    contains further JSON-ready details. Subclasses are defined next to the code that raises them.
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
    """The input is well-formed and invalid; `param` names the field."""

    status = 422
    code = "invalid"


def field_error(
    param: str, reason: str, *, code: str | None = None, extra: Mapping[str, object] | None = None
) -> InvalidError:
    """Return the error of an invalid field, with a message such as `amount_usd: Must be at least 0.`"""
    return InvalidError(f"{param}: {reason}", code=code, param=param, extra=extra)


class NotFoundError(DomainError):
    """It does not exist, or belongs to another organization: both give the same response."""

    status = 404
    code = "not_found"


class ForbiddenError(DomainError):
    """The caller is known, but the role, the scope or the plan does not allow this."""

    status = 403
    code = "forbidden"


class ConflictError(DomainError):
    """The request conflicts with the current state, for example removing an organization's last owner."""

    status = 409
    code = "conflict"


class TooManyRequestsError(DomainError):
    """The caller has done this too often lately."""

    status = 429
    code = "too_many_requests"


class TooLargeError(DomainError):
    """The request body is too large."""

    status = 413
    code = "too_large"
