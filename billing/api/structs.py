"""JSON schemas for the OpenAPI document of bodies that msgspec decodes, generated from the decoded types."""

from typing import Any

import msgspec

REFERENCES = "#/components/schemas/{name}"


def struct_schemas(*structs: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """Return the schema of each struct by name. Amounts may be strings or numbers."""
    components = msgspec.json.schema_components(structs, ref_template=REFERENCES)[1]
    for schema in components.values():
        for field in schema["properties"].values():
            for alternative in field.get("anyOf", [field]):
                if alternative.get("format") == "decimal":
                    alternative["type"] = ["string", "number"]
                if alternative.get("type") == "array":
                    alternative.setdefault("items", {})  # generators of clients skip operations without it
    return components
