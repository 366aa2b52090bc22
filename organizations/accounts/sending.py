"""E-mails about accounts are sent by workers, so that no page waits for a mail server, or tells by how long it takes
whether an address is known."""

from django.contrib.auth.base_user import AbstractBaseUser

from costtrack.jobs import enqueue, enqueue_on_commit


def enqueue_password_reset(email: str) -> bool:
    """A link for whoever has this address, if anybody has. False: nobody can be told now, the queue is away."""
    return enqueue("organizations.send_password_reset", email=email)


def enqueue_notice(user: AbstractBaseUser, notice: str, *, address: str) -> None:
    enqueue_on_commit("organizations.send_notice", user_id=user.pk, notice=notice, address=address)
