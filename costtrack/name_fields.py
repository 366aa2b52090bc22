"""Names (`costtrack.names`) in serializers, forms and URLs."""

from typing import Any

from django import forms
from django.urls import register_converter
from django.urls.converters import PathConverter
from rest_framework import serializers

from costtrack.names import MAX_LENGTH, clean_name

NAME_CONVERTER = "name"


class NameField(serializers.CharField):
    """A name in a query string or a body. It may have any characters besides NUL."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": MAX_LENGTH, **options}, trim_whitespace=False)

    def to_internal_value(self, data: Any) -> str:
        return clean_name(super().to_internal_value(data))


class NameFormField(forms.CharField):
    """A name in a form."""

    def to_python(self, value: Any) -> str:
        return clean_name(super().to_python(value) or "")


class NameConverter(PathConverter):
    """A name in a URL, with slashes and line breaks."""

    regex = r"[\s\S]+"

    def to_python(self, value: str) -> str:
        return clean_name(value)


register_converter(NameConverter, NAME_CONVERTER)
