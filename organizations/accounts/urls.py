"""The sign-in pages: allauth's views, except those for sign-up, under allauth's names."""

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.urls import path

from costtrack.secret_links import secret_path
from organizations.accounts import memberships, views

urlpatterns = [
    path("login", account.login, name="account_login"),
    path("logout", account.logout, name="account_logout"),
    path("confirm", account.reauthenticate, name="account_reauthenticate"),
    path("password", account.password_change, name="account_change_password"),
    path("password/new", account.password_set, name="account_set_password"),
    path("password/reset", account.password_reset, name="account_reset_password"),
    path("password/reset/sent", account.password_reset_done, name="account_reset_password_done"),
    secret_path(
        "password/choose/<str:uidb36>/<str:key>",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("password/chosen", account.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    path("organizations", memberships.own_organizations, name="account_organizations"),
    path("security", mfa.index, name="mfa_index"),
    path("login/second-factor", mfa.authenticate, name="mfa_authenticate"),
    path("confirm/code", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("security/app", totp.activate_totp, name="mfa_activate_totp"),
    path("security/app/remove", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("security/recovery-codes", recovery_codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("security/recovery-codes/new", recovery_codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("security/recovery-codes.txt", recovery_codes.download_recovery_codes, name="mfa_download_recovery_codes"),
    path("security/passkeys", webauthn.list_webauthn, name="mfa_list_webauthn"),
    path("security/passkeys/add", webauthn.add_webauthn, name="mfa_add_webauthn"),
    path("security/passkeys/<int:pk>", webauthn.edit_webauthn, name="mfa_edit_webauthn"),
    path("security/passkeys/<int:pk>/remove", webauthn.remove_webauthn, name="mfa_remove_webauthn"),
    path("login/passkey", webauthn.login_webauthn, name="mfa_login_webauthn"),
    path("confirm/passkey", webauthn.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("sso/<slug:provider_id>/login", views.single_sign_on, name="openid_connect_login"),
    path("sso/<slug:provider_id>/callback", views.single_sign_on_callback, name="openid_connect_callback"),
]
