"""Who must have a second factor, and who has one: an authenticator app or a passkey. Recovery codes alone are none."""

from allauth.mfa.models import Authenticator

from organizations.models import Organization, User

_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def lacks_second_factor(user: User) -> bool:
    """Whether an organization whose rows the person may see asks for one, and there is none."""
    return is_required_of(user) and not has_one(user)


def is_required_of(user: User) -> bool:
    """Operators see every organization, so one that asks for a second factor asks them too."""
    if user.is_superuser:
        return Organization.objects.filter(requires_second_factor=True).exists()
    return user.must_have_second_factor


def has_one(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type__in=_FACTORS).exists()


def remove_all(user: User) -> None:
    """For somebody who has lost them, and their recovery codes too."""
    Authenticator.objects.filter(user=user).delete()
