"""Celery tasks: e-mails about accounts. What a mail server does not take is tried again, for about half an hour."""

from typing import Any

from costtrack.admin_site import may_enter
from costtrack.celery import app
from organizations.accounts import mails
from organizations.models import Membership, User

_AGAIN: dict[str, Any] = {
    "autoretry_for": (OSError,),  # also what smtplib raises
    "retry_backoff": 30,
    "retry_kwargs": {"max_retries": 7},
}


@app.task(name="organizations.send_invitation", **_AGAIN)
def send_invitation(membership_id: int) -> None:
    """To a member who has no password yet; whoever has one meanwhile needs no link."""
    membership = Membership.objects.select_related("user", "organization").filter(pk=membership_id).first()
    if membership is None or membership.user.has_usable_password() or not membership.user.is_active:
        return
    mails.compose(mails.invitation(membership.user, membership.organization), membership.user).send()


@app.task(name="organizations.send_password_reset", **_AGAIN)
def send_password_reset(email: str) -> None:
    user = User.objects.filter(email__iexact=email).first()
    if user is not None and may_enter(user):
        mails.compose(mails.password_reset(user), user).send()


@app.task(name="organizations.send_notice", **_AGAIN)
def send_notice(user_id: int, notice: str, address: str) -> None:
    user = User.objects.filter(pk=user_id).first()
    if user is not None:
        mails.compose(mails.notice(notice, address=address), user).send()
