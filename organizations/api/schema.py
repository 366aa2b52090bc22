"""What the OpenAPI document says about authentication and about organizations."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter


class OrganizationSchema(AutoSchema):
    """Where a path names no organization, the query may (`organizations.selectors.access_without_url`)."""

    def get_override_parameters(self) -> list[Any]:
        if "{slug}" in self.path:
            return []
        text = "The organization's slug. Needed by operators and by people who are members of several."
        return [OpenApiParameter("organization", str, description=text)]


class CredentialScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "organizations.api.authentication.CredentialAuthentication"
    name = ["bearerAuth", "apiKeyAuth", "alphaneuralKeyAuth"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        """Any one of them is enough."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "An API key, or a token from /oauth2/token."},
            {"type": "apiKey", "in": "header", "name": "x-api-key"},
            {"type": "apiKey", "in": "header", "name": "x-alphaneural-api-key"},
        ]


class BasicScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "organizations.api.authentication.BasicCredentialAuthentication"
    name = "basicAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "basic", "description": "Client id and secret."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "organizations.api.authentication.MemberSessionAuthentication"
    name = "cookieAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Signed in to the admin."}
