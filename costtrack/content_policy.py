"""The Content Security Policy: pages load nothing from other origins and run no inline scripts.

The admin's theme needs two exceptions:

- `'unsafe-eval'`: the theme's Alpine.js compiles the expressions in its templates' attributes. Alpine's CSP
  build cannot parse them (they are objects, assignments and conditions), so it would take a copy of every template.
  Only expressions of our own templates run: user input is escaped.
- `'unsafe-inline'` for styles: the theme writes its colors into each page, and Alpine shows and hides with the
  attribute `style`. Email previews contain inline styles, as mail clients require.
"""

from collections.abc import Sequence
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

_HEADER = "Content-Security-Policy"
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


def content_policy(*, form_targets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the setting `CONTENT_SECURITY_POLICY`. Where a form redirects to another server, as single sign-on does,
    browsers require that server's origin in `form_targets`."""
    return {
        "DIRECTIVES": {
            "default-src": [NONE],
            "script-src": [SELF, UNSAFE_EVAL],
            "style-src": [SELF, UNSAFE_INLINE],
            "img-src": [SELF, "data:"],
            "font-src": [SELF],
            "connect-src": [SELF],
            "object-src": [NONE],
            "base-uri": [NONE],
            "form-action": [SELF, *form_targets],
            "frame-ancestors": [NONE],
        }
    }


class ContentPolicyMiddleware(CSPMiddleware):
    """Adds the policy to pages. Other responses may load nothing at all."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            return super().process_response(request, response)
        response.headers.setdefault(_HEADER, _NO_PAGE)
        return response
