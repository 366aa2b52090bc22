"""Validators shared by the API and the forms of the admin."""

from datetime import datetime

from django.core.exceptions import ValidationError

from costtrack.clock import utc_now


def validate_in_the_future(instant: datetime) -> None:
    if instant <= utc_now():
        raise ValidationError("Choose a time in the future.", code="not_in_the_future")
