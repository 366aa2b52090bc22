"""Filters of the dashboard pages."""

from collections.abc import Iterable

from django import template
from django.forms import BoundField
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def filter_fields(fields: Iterable[BoundField]) -> SafeString:
    """Render filters with their labels and errors, without a template for each: pages have up to twenty of them."""
    return format_html_join(
        "",
        '<div class="ct-filter ct-filter-{}"><label for="{}">{}</label>{}{}</div>',
        ((field.name, field.id_for_label, field.label, field, _errors(field)) for field in fields),
    )


def _errors(field: BoundField) -> SafeString:
    return format_html_join("", '<p class="ct-error" role="alert">{}</p>', ((error,) for error in field.errors))
