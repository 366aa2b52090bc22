"""Content negotiation of the APIs, where most requests accept the only format that there is."""

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class ContentNegotiation(DefaultContentNegotiation):
    """Like Django REST framework, without parsing an Accept header that the only renderer satisfies."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first, *others = renderers
        media_type = str(first.media_type)
        if not others and request.META.get("HTTP_ACCEPT", "*/*") in ("*/*", media_type):
            return first, media_type
        chosen: tuple[Any, str] = super().select_renderer(request, [first, *others], format_suffix)
        return chosen
