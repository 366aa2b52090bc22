"""The OpenAPI descriptions of authentication and organizations."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from costtrack.ignored_parameters import IGNORED
from costtrack.openapi import DialectSchema
from organizations.idempotency import HEADER, MAX_KEY_LENGTH

_PATH_PARAMETERS = {
    "slug": "The organization's slug.",
    "client_id": "The credential's Client ID.",
    "event_id": "The event's id in the ledger (`id`, not the sender's `event_id`).",
    "authorization_id": "The authorization's id.",
    "run_id": "The run's id, as in events.",
    "session_id": "The session's id, as in events.",
    "execution_id": "The execution's id, as in events.",
    "id": "The object's id.",
}


IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "maxLength": MAX_KEY_LENGTH},
    OpenApiParameter.HEADER,
    description="Any text. Repeating the request with this key does nothing again, and returns the same response.",
)


class OrganizationSchema(DialectSchema):
    """Where a path names no organization, the query may (`organizations.selectors.access_without_url`)."""

    def get_override_parameters(self) -> list[Any]:
        parameters = [IDEMPOTENCY_KEY] if self._takes_idempotency_key() else []
        if getattr(self.view, "ignores_unknown_parameters", False):
            parameters.append(IGNORED)
        if "{slug}" in self.path:
            return parameters
        text = "The organization's slug. Required for operators and for users who are members of several."
        return [*parameters, OpenApiParameter("organization", str, description=text)]

    def error_statuses(self) -> set[int]:
        """Add 404: the organization in the path or the query may not exist. The Idempotency-Key may be a 422."""
        statuses = super().error_statuses() | {HTTPStatus.NOT_FOUND}
        return statuses | {HTTPStatus.UNPROCESSABLE_ENTITY} if self._takes_idempotency_key() else statuses

    def _takes_idempotency_key(self) -> bool:
        takes_it = getattr(self.view, "takes_idempotency_key", True) and not getattr(self.view, "only_reads", False)
        return self.method == "POST" and takes_it

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._resolve_path_parameters(variables)
        for parameter in parameters:
            parameter.setdefault("description", _PATH_PARAMETERS.get(parameter["name"], "Its id."))
        return parameters


class CredentialScheme(OpenApiAuthenticationExtension):
    target_class = "organizations.api.authentication.CredentialAuthentication"
    name = ["bearerAuth", "apiKeyAuth", "alphaneuralKeyAuth"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        """Any of them is sufficient."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "An API key, or a token from /oauth2/token."},
            {"type": "apiKey", "in": "header", "name": "x-api-key"},
            {"type": "apiKey", "in": "header", "name": "x-alphaneural-api-key"},
        ]


class BasicScheme(OpenApiAuthenticationExtension):
    target_class = "organizations.api.authentication.BasicCredentialAuthentication"
    name = "basicAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "basic", "description": "Client id and secret."}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "organizations.api.authentication.MemberSessionAuthentication"
    name = "cookieAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Signed in to the admin."}
