"""Second factors: who must have one, and who has one (an authenticator app or a passkey, not recovery codes alone)."""

from allauth.mfa.models import Authenticator

from organizations.models import Organization, User

_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def lacks_second_factor(user: User) -> bool:
    """Whether a second factor is required of the user and missing."""
    return is_second_factor_required(user) and not has_second_factor(user)


def is_second_factor_required(user: User) -> bool:
    """Whether an organization that the user may see requires it. Operators see all organizations."""
    if user.is_superuser:
        return Organization.objects.filter(requires_second_factor=True).exists()
    return user.must_have_second_factor


def has_second_factor(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type__in=_FACTORS).exists()


def remove_all(user: User) -> None:
    """Remove all second factors of a user who has lost them, including recovery codes."""
    Authenticator.objects.filter(user=user).delete()
