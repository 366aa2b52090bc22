"""The Content Security Policy: a page loads nothing from anywhere else, and runs no script that is written in it.

Two of its words are weaker than they might be, because of the admin's theme:

- `'unsafe-eval'`: the theme's Alpine.js compiles the expressions in its templates' attributes. Alpine's build without
  that cannot read them (they are objects, assignments and conditions), so it would take a copy of every template.
  What runs is still only what our templates say: everything that people wrote is escaped.
- `'unsafe-inline'` for styles: the theme writes its colors into each page, and Alpine shows and hides with the
  attribute `style`. E-mails are previewed with their own styles, which mail programs want inline.
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
    """The setting `CONTENT_SECURITY_POLICY`. Where a form's answer leads to another server, as a single sign-on's does,
    browsers want that server's origin among the `form_targets`."""
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
    """Pages have the policy. Whatever else is answered is no page, and may load nothing."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            return super().process_response(request, response)
        response.headers.setdefault(_HEADER, _NO_PAGE)
        return response
