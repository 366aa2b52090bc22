"""Windows of reports, from a start and an end in query strings and bodies. Windows are half-open."""

from datetime import datetime

from rest_framework import serializers

from costtrack.calendar import Window
from costtrack.clock import DAY, EPOCH
from costtrack.date_fields import EndField, StartField
from costtrack.dates import LATEST


class WindowStartField(StartField):
    """A start. There is no usage before 1970."""

    def parse(self, text: str) -> datetime:
        return _checked(super().parse(text))


class WindowEndField(EndField):
    def parse(self, text: str) -> datetime:
        return _checked(super().parse(text))


def _checked(instant: datetime) -> datetime:
    if not EPOCH <= instant < LATEST - DAY:
        raise ValueError("Not a time of usage.")
    return instant


def window_of(start: datetime | None, end: datetime | None) -> Window:
    """Build the window. Raises a ValidationError on `end_date` if it is empty."""
    if start is not None and end is not None and end <= start:
        raise serializers.ValidationError({"end_date": "The window must end after it begins."})
    return Window(start, end)
