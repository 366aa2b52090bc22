"""What every request body has in common."""

from typing import Any

from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know, by name: a misspelled one must not be ignored in silence."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = [name for name in data if name not in self.fields] if isinstance(data, dict) else []
        if unknown:
            raise serializers.ValidationError({str(name): ["Unknown field."] for name in unknown}, code="unknown_field")
        return super().to_internal_value(data)
