"""Settings of django-allauth for signing in. docs/settings.md lists the environment variables."""

from datetime import timedelta
from typing import Any

from costtrack.env import Environment
from costtrack.mail.address import parse_public_url

_ACCOUNTS = "organizations.accounts"
_INVITATION_LIFETIME = timedelta(days=7)

# Per client address, and per email address or user. An office, or a proxy that is not configured, may share one
# address, so the limits per address are higher than one user needs.
RATE_LIMITS = {
    "login": "60/m/ip",
    "login_failed": "30/m/ip,5/5m/key",  # the key is the user and the client address
    "login_by_user": "100/h/key",
    "reset_password": "20/m/ip",
    "reset_password_by_client": "3/10m/key",  # the key is the address as entered and the client address
    "reset_password_by_user": "20/h/key",
    "reset_password_from_key": "30/m/ip",
    "change_password": "10/m/user",
    "reauthenticate": "10/m/user",
}


def sign_in_settings(env: Environment, *, https: bool) -> dict[str, Any]:
    return {
        "LOGIN_URL": "account_login",
        "LOGIN_REDIRECT_URL": "admin:index",
        # For invitations; password reset links expire earlier (organizations.accounts.password_links).
        "PASSWORD_RESET_TIMEOUT": int(_INVITATION_LIFETIME.total_seconds()),
        # How many proxies in front of the server append to X-Forwarded-For. Others are not trusted.
        "ALLAUTH_TRUSTED_PROXY_COUNT": env.integer("COSTTRACK_TRUSTED_PROXIES", 0),
        "OPERATORS_NEED_SECOND_FACTOR": env.boolean("COSTTRACK_OPERATORS_NEED_SECOND_FACTOR", default=False),
        "ACCOUNT_ADAPTER": f"{_ACCOUNTS}.adapter.AccountAdapter",
        "ACCOUNT_USER_MODEL_USERNAME_FIELD": None,
        "ACCOUNT_LOGIN_METHODS": {"email"},
        "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*"],  # there is no sign-up, but allauth requires it
        "ACCOUNT_EMAIL_VERIFICATION": "none",  # links are sent to the user's only address
        "ACCOUNT_PREVENT_ENUMERATION": "strict",
        "ACCOUNT_SESSION_REMEMBER": True,
        "ACCOUNT_LOGIN_ON_PASSWORD_RESET": True,
        "ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR": f"{_ACCOUNTS}.password_links.PasswordLinkTokens",
        "ACCOUNT_RATE_LIMITS": RATE_LIMITS,
        "ACCOUNT_FORMS": {
            "login": f"{_ACCOUNTS}.forms.LoginForm",
            "reset_password": f"{_ACCOUNTS}.forms.ResetPasswordForm",
            "reset_password_from_key": f"{_ACCOUNTS}.forms.ResetPasswordKeyForm",
            "change_password": f"{_ACCOUNTS}.forms.ChangePasswordForm",
            "set_password": f"{_ACCOUNTS}.forms.SetPasswordForm",
            "reauthenticate": f"{_ACCOUNTS}.forms.ReauthenticateForm",
        },
        "MFA_ADAPTER": f"{_ACCOUNTS}.adapter.MFAAdapter",
        "MFA_SUPPORTED_TYPES": ["totp", "webauthn", "recovery_codes"],
        "MFA_PASSKEY_LOGIN_ENABLED": True,
        "MFA_ALLOW_UNVERIFIED_EMAIL": True,  # addresses are never verified
        "MFA_TOTP_ISSUER": "costtrack",
        "MFA_TOTP_TOLERANCE": 1,
        "MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN": not https,  # browsers offer passkeys there on localhost only
        "MFA_FORMS": {
            "authenticate": f"{_ACCOUNTS}.forms.AuthenticateForm",
            "reauthenticate": f"{_ACCOUNTS}.forms.ReauthenticateWithCodeForm",
            "activate_totp": f"{_ACCOUNTS}.forms.ActivateTOTPForm",
            "add_webauthn": f"{_ACCOUNTS}.forms.AddWebAuthnForm",
            "edit_webauthn": f"{_ACCOUNTS}.forms.EditWebAuthnForm",
        },
        **_single_sign_on(env),
    }


def _single_sign_on(env: Environment) -> dict[str, Any]:
    issuer = env.optional("COSTTRACK_OIDC_ISSUER", "", "For example https://login.acme.example.", _issuer)
    name = env.text("COSTTRACK_OIDC_NAME", "single sign-on") if issuer else ""
    providers: dict[str, Any] = {}
    if issuer:
        hint = "The provider issues it when you register costtrack there."
        app = {
            "provider_id": "oidc",
            "name": name,
            "client_id": env.required("COSTTRACK_OIDC_CLIENT_ID", "", hint, str),
            "secret": env.required("COSTTRACK_OIDC_CLIENT_SECRET", "", hint, str),
            "settings": {"server_url": issuer, "oauth_pkce_enabled": True},
        }
        providers = {"openid_connect": {"APPS": [app]}}
    return {
        "OIDC_NAME": name,
        "SOCIALACCOUNT_ADAPTER": f"{_ACCOUNTS}.single_sign_on.SocialAccountAdapter",
        "SOCIALACCOUNT_PROVIDERS": providers,
        # The sign-in starts with a link; its state is bound to the browser.
        "SOCIALACCOUNT_LOGIN_ON_GET": True,
    }


def _issuer(url: str) -> str:
    return parse_public_url(url) if url else ""
