"""The settings of django-unfold, the admin's theme."""

from typing import Any

from django.templatetags.static import static

from costtrack.organization_paths import sign_in_url

ADMIN_THEME: dict[str, Any] = {
    "SITE_TITLE": "costtrack",
    "SITE_HEADER": "costtrack",
    "SITE_SUBHEADER": "Exact AI costs",
    "SITE_ICON": lambda _request: static("costtrack/logo.svg"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("costtrack/logo.svg")},
    ],
    "SITE_URL": None,
    "SHOW_HISTORY": False,  # the audit log has all changes, also those by API
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "STYLES": [
        lambda _request: static("costtrack/admin.css"),
    ],
    "COLORS": {
        "primary": {
            "50": "oklch(98.4% .014 180.7)",
            "100": "oklch(95.3% .051 180.8)",
            "200": "oklch(91% .096 180.4)",
            "300": "oklch(85.5% .138 181.1)",
            "400": "oklch(77.7% .152 181.9)",
            "500": "oklch(66% .128 183.5)",
            "600": "oklch(51.1% .096 186.4)",
            "700": "oklch(43.7% .078 188.2)",
            "800": "oklch(38.6% .063 188.4)",
            "900": "oklch(33% .055 190)",
            "950": "oklch(27.7% .046 192.5)",
        },
    },
    "DASHBOARD_CALLBACK": "billing.admin.dashboard.operator_overview.overview",
    "COMMAND": {"search_callback": "billing.admin.palette.search"},
    "ACCOUNT": {
        "navigation": [
            {"title": "Your organizations", "link": lambda _request: sign_in_url("account_organizations")},
            {"title": "Sign-in and security", "link": lambda _request: sign_in_url("mfa_index")},
            {"title": "Change password", "link": lambda _request: sign_in_url("account_change_password")},
        ]
    },
}
