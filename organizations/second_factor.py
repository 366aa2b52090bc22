"""Second factors: who must have one, and who has one (an authenticator app or a passkey, not recovery codes alone).

An organization that requires one asks for it where the organization itself is used, so it cannot lock its members out
of their other organizations. For operators the installation decides (`COSTTRACK_OPERATORS_NEED_SECOND_FACTOR`).
"""

from allauth.mfa.models import Authenticator
from django.conf import settings

from organizations.models import User

_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def lacks_second_factor(user: User, *, slug: str | None = None) -> bool:
    """Whether a second factor is required of the user in the organization `slug` and missing. Without a slug, for
    pages of all organizations of the user."""
    return is_second_factor_required(user, slug=slug) and not has_second_factor(user)


def is_second_factor_required(user: User, *, slug: str | None = None) -> bool:
    """Whether the organization, or one of the user's, requires it; of operators, whether the installation does."""
    if user.is_superuser:
        return bool(settings.OPERATORS_NEED_SECOND_FACTOR)
    return user.must_have_second_factor(slug)


def has_second_factor(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type__in=_FACTORS).exists()


def remove_all(user: User) -> None:
    """Remove all second factors of a user who has lost them, including recovery codes."""
    Authenticator.objects.filter(user=user).delete()
