"""Response bodies as msgspec structs. The JSON renderer encodes them directly, and `costtrack.openapi_structs` adds
them to the OpenAPI document as components.

    class SpendTag(ResponseBody):
        individual_request_tag: str
        total_spend: Annotated[float, about("In USD.", 0.000224)]

A view returns `Response(SpendTag(...))` and documents `responses=SpendTag`, or `responses=list[SpendTag]`. The
component has the name of the class, without `Body` at its end, which avoids confusion with the value that it shows.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from costtrack.money import plain

DECIMAL_STRING: dict[str, Any] = {"format": "decimal", "pattern": r"^-?\d+(\.\d+)?$"}
"""What `costtrack.money.plain` returns."""


class Amount(str):
    """US dollars as an exact decimal string."""

    __slots__ = ()

    @classmethod
    def of(cls, amount: Decimal) -> Self:
        return cls(plain(amount))


def about(description: str, *examples: object) -> Meta:
    return Meta(description=description, examples=list(examples) or None)


def choice(choices: object, description: str | None = None) -> Meta:
    """Describe a text as one of some choices, which are given in Django's form: `Status.choices`."""
    return Meta(description=description, extra={"choices": choices})


NextCursor = Annotated[str | None, about("Cursor of the next page; null on the last page.")]

LocalTime = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time with the offset of a time zone, already formatted. (A datetime in UTC needs no formatting.)"""


class ResponseBody(msgspec.Struct):
    @classmethod
    def of(cls, *sources: object, **values: Any) -> Self:
        """Build the body from `values` and, for the other fields, from the attributes of the same name of the first
        source that has one. Decimals become amounts. Raises ValidationError if a value has the wrong type."""
        for source in sources:
            for name in cls.__struct_fields__:
                if name not in values and (value := getattr(source, name, msgspec.UNSET)) is not msgspec.UNSET:
                    values[name] = value
        given = {name: value for name, value in values.items() if value is not msgspec.UNSET}
        return msgspec.convert(given, cls, from_attributes=True, dec_hook=_to_custom)


def _to_custom(custom: type, value: Any) -> Any:
    """Convert to a type that msgspec does not know: an amount, or one of Django's choices."""
    return Amount.of(value) if isinstance(value, Decimal) else custom(value)


@dataclass(frozen=True)
class OneOf:
    """A response that is one of several structs or lists of structs, and the name of its component. Also the items of a
    list: `Meta(extra={"items": OneOf(...)})`."""

    name: str
    options: tuple[Any, ...]
