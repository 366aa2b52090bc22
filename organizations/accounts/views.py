"""allauth's views of single sign-on, which show an error if the provider is unavailable or misbehaves."""

from collections.abc import Callable
from functools import wraps

from allauth.socialaccount.providers.openid_connect import views
from django.http import HttpRequest, HttpResponse
from requests import RequestException

from organizations.accounts.adapter import refuse
from organizations.accounts.single_sign_on import FAILED

View = Callable[[HttpRequest, str], HttpResponse]


def _with_error_message(view: View) -> View:
    @wraps(view)
    def wrapper(request: HttpRequest, provider_id: str) -> HttpResponse:
        try:
            return view(request, provider_id)
        except (RequestException, KeyError, ValueError):
            return refuse(request, FAILED)

    return wrapper


single_sign_on = _with_error_message(views.login)
single_sign_on_callback = _with_error_message(views.callback)
