"""The charges of a month in the format of FOCUS, the FinOps Open Cost and Usage Specification (Cost and Usage).

The columns of each version are data: a new version is an entry of `VERSIONS`, and a new column one of `_COLUMNS`.
https://focus.finops.org/focus-specification
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.http import StreamingHttpResponse

from billing.exports.table_files import FileTable, Part, file_response
from billing.pricing.kinds import KINDS, Unit
from billing.reports.statements.charges import Charge, ChargeCategory, read_charges
from billing.reports.statements.months import StatementMonth
from costtrack.file_columns import FileColumn, FileFormat, Kind
from costtrack.money import ZERO, plain
from organizations.models import Organization

CURRENCY = "USD"
_UNKNOWN = "Unknown"
_ONE = Decimal(1)
_UNITS = {
    Unit.TOKENS: "Tokens",
    Unit.REQUESTS: "Requests",
    Unit.CALLS: "Calls",
    Unit.IMAGES: "Images",
    Unit.PAGES: "Pages",
    Unit.CHARACTERS: "Characters",
    Unit.SECONDS: "Seconds",
    Unit.STORAGE: "Token-Hours",
}
_HOURS = 3600


@dataclass(frozen=True, slots=True)
class FocusCharge:
    """A charge with what is the same for all charges of a file."""

    organization: Organization
    month: StatementMonth
    charge: Charge

    @property
    def is_correction(self) -> bool:
        return bool(self.charge.key.corrected_month)

    @property
    def is_usage(self) -> bool:
        return self.charge.key.category is ChargeCategory.USAGE

    @property
    def has_quantity(self) -> bool:
        return self.is_usage and self.charge.figures.quantity is not None

    @property
    def provider(self) -> str:
        return self.charge.key.provider or _UNKNOWN

    @property
    def sku_id(self) -> str | None:
        """The provider, the model and what is counted; None for amounts that are not of a kind of usage."""
        key = self.charge.key
        if not self.has_quantity:
            return None
        return "/".join((self.provider, key.model or _UNKNOWN, key.kind or key.meter.lower().replace(" ", "-")))

    @property
    def sku_price_id(self) -> str | None:
        """The SKU with the price version and the list's unit price, which depends on tiers and conditions."""
        key, sku_id = self.charge.key, self.sku_id
        if sku_id is None or not key.kind:
            return sku_id
        return f"{sku_id}@{key.price_version_id}:{plain(key.list_unit_price_usd)}"

    @property
    def sku_price_details(self) -> str | None:
        key = self.charge.key
        if self.sku_id is None:
            return None
        details = {"x_Model": key.model, "x_TokenKind": key.kind, "x_PricedAs": key.priced_as}
        return _json({name: value for name, value in details.items() if value}) if key.model or key.kind else None

    @property
    def consumed_quantity(self) -> Decimal | None:
        """A correction of an amount consumes nothing."""
        return (self.charge.figures.quantity or ZERO) if self.is_usage else None

    @property
    def consumed_unit(self) -> str | None:
        if not self.is_usage:
            return None
        return _UNITS[KINDS[self.charge.key.kind].unit] if self.charge.key.kind else "Requests"

    @property
    def pricing_unit(self) -> str | None:
        """`1000000 Tokens`; amounts without a unit price are priced in dollars."""
        if not self.has_quantity:
            return None
        if not self.charge.key.kind:
            return "US Dollars"
        kind = KINDS[self.charge.key.kind]
        if kind.unit is Unit.SECONDS and kind.per == _HOURS:
            return "Hours"
        unit = _UNITS[kind.unit]
        return unit if kind.per == 1 else f"{kind.per} {unit}"

    def unit_price(self, unit_price_usd: Decimal) -> Decimal | None:
        if not self.has_quantity:
            return None
        return unit_price_usd if self.charge.key.kind else _ONE

    @property
    def description(self) -> str:
        key = self.charge.key
        if key.category is ChargeCategory.CREDIT:
            return f"Credit: {key.reason}" if key.reason else "Credit"
        parts = [text for text in (self.provider, key.model, key.meter) if text]
        text = " ".join(parts)
        if self.is_correction:
            reason = f", {key.reason}" if key.reason else ""
            text += f" (correction of {key.corrected_month}, event {key.corrects}{reason})"
        return text

    @property
    def tags(self) -> str | None:
        return tags_json(self.charge.key.tags)


def tags_json(tags: Sequence[str]) -> str | None:
    """Return tags as an object: `key:value` is a key with its value, other tags are keys with the value true."""
    pairs = (tag.partition(":") for tag in tags)
    return _json({key: value if colon and value else True for key, colon, value in pairs if key}) if tags else None


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class FocusColumn:
    kind: Kind
    value: Callable[[FocusCharge], object]


def _text(value: Callable[[FocusCharge], str | None]) -> FocusColumn:
    """A text; an empty one is null."""
    return FocusColumn(Kind.TEXT, lambda row: value(row) or None)


def _amount(value: Callable[[FocusCharge], Decimal | None]) -> FocusColumn:
    return FocusColumn(Kind.DECIMAL, value)


def _null(row: FocusCharge) -> None:  # noqa: ARG001 - like every value
    return None


_NULL_TEXT, _NULL_AMOUNT = FocusColumn(Kind.TEXT, _null), FocusColumn(Kind.DECIMAL, _null)


def _of_allocation(value: Callable[[Charge], str | None]) -> FocusColumn:
    return FocusColumn(Kind.TEXT, lambda row: None if row.charge.allocation is None else value(row.charge))


def _allocated_details(charge: Charge) -> str | None:
    allocation = charge.allocation
    if allocation is None:
        return None
    elements = allocation.elements or ({"AllocatedRatio": float(allocation.ratio)},)
    return _json({"Elements": list(elements)})


_COLUMNS: Mapping[str, FocusColumn] = {
    "AllocatedMethodDetails": _of_allocation(_allocated_details),
    "AllocatedMethodId": _of_allocation(lambda charge: charge.allocation.method_id if charge.allocation else None),
    "AllocatedResourceId": _of_allocation(
        lambda charge: (charge.allocation.resource_id or None) if charge.allocation else None
    ),
    "AllocatedResourceName": _of_allocation(
        lambda charge: (charge.allocation.resource_name or None) if charge.allocation else None
    ),
    "AllocatedTags": _of_allocation(lambda charge: tags_json(charge.allocation.tags) if charge.allocation else None),
    "AvailabilityZone": _NULL_TEXT,
    "BilledCost": _amount(lambda row: row.charge.figures.billed_usd),
    "BillingAccountId": _text(lambda row: f"organization-{row.organization.pk}"),
    "BillingAccountName": _text(lambda row: row.month.organization_name),
    "BillingAccountType": _text(lambda _: "Organization"),
    "BillingCurrency": _text(lambda _: CURRENCY),
    "BillingPeriodEnd": FocusColumn(Kind.TIME, lambda row: row.month.span.end),
    "BillingPeriodStart": FocusColumn(Kind.TIME, lambda row: row.month.span.start),
    "CapacityReservationId": _NULL_TEXT,
    "CapacityReservationStatus": _NULL_TEXT,
    "ChargeCategory": _text(lambda row: row.charge.key.category.value),
    "ChargeClass": _text(lambda row: "Correction" if row.is_correction else None),
    "ChargeDescription": _text(lambda row: row.description),
    "ChargeFrequency": _text(lambda row: "Usage-Based" if row.is_usage else "One-Time"),
    "ChargePeriodEnd": FocusColumn(Kind.TIME, lambda row: row.charge.key.end),
    "ChargePeriodStart": FocusColumn(Kind.TIME, lambda row: row.charge.key.start),
    "CommitmentDiscountCategory": _NULL_TEXT,
    "CommitmentDiscountId": _NULL_TEXT,
    "CommitmentDiscountName": _NULL_TEXT,
    "CommitmentDiscountQuantity": _NULL_AMOUNT,
    "CommitmentDiscountStatus": _NULL_TEXT,
    "CommitmentDiscountType": _NULL_TEXT,
    "CommitmentDiscountUnit": _NULL_TEXT,
    "ConsumedQuantity": _amount(lambda row: row.consumed_quantity),
    "ConsumedUnit": _text(lambda row: row.consumed_unit),
    "ContractedCost": _amount(lambda row: row.charge.contracted_usd),
    "ContractedUnitPrice": _amount(lambda row: row.unit_price(row.charge.key.contracted_unit_price_usd)),
    "EffectiveCost": _amount(lambda row: row.charge.figures.effective_usd),
    "HostProviderName": _text(lambda row: row.provider),
    "InvoiceId": _NULL_TEXT,
    "InvoiceIssuerName": _text(lambda row: row.provider),
    "ListCost": _amount(lambda row: row.charge.list_usd),
    "ListUnitPrice": _amount(lambda row: row.unit_price(row.charge.key.list_unit_price_usd)),
    "PricingCategory": _text(lambda row: "Standard" if row.has_quantity else None),
    "PricingCurrency": _text(lambda _: CURRENCY),
    "PricingCurrencyContractedUnitPrice": _amount(lambda row: row.unit_price(row.charge.key.contracted_unit_price_usd)),
    "PricingCurrencyEffectiveCost": _amount(lambda row: row.charge.figures.effective_usd),
    "PricingCurrencyListUnitPrice": _amount(lambda row: row.unit_price(row.charge.key.list_unit_price_usd)),
    "PricingQuantity": _amount(lambda row: row.charge.pricing_quantity if row.has_quantity else None),
    "PricingUnit": _text(lambda row: row.pricing_unit),
    "ProviderName": _text(lambda row: row.provider),
    "PublisherName": _text(lambda row: row.charge.key.publisher or row.provider),
    "RegionId": _text(lambda row: row.charge.key.region),
    "RegionName": _text(lambda row: row.charge.key.region),
    "ResourceId": _NULL_TEXT,
    "ResourceName": _NULL_TEXT,
    "ResourceType": _NULL_TEXT,
    "ServiceCategory": _text(lambda _: "AI and Machine Learning"),
    "ServiceName": _text(lambda row: row.charge.key.service or _UNKNOWN),
    "ServiceProviderName": _text(lambda row: row.provider),
    "ServiceSubcategory": _text(lambda _: "Generative AI"),
    "SkuId": _text(lambda row: row.sku_id),
    "SkuMeter": _text(lambda row: row.charge.key.meter if row.sku_id is not None else None),
    "SkuPriceDetails": _text(lambda row: row.sku_price_details),
    "SkuPriceId": _text(lambda row: row.sku_price_id),
    "SubAccountId": _text(lambda row: row.charge.key.client_id),
    "SubAccountName": _text(lambda row: row.charge.credential_name),
    "SubAccountType": _text(lambda row: "Credential" if row.charge.key.client_id else None),
    "Tags": _text(lambda row: row.tags),
    "x_Capability": _text(lambda row: row.charge.key.capability),
    "x_CorrectedEventId": _text(lambda row: row.charge.key.corrects),
    "x_CorrectedMonth": _text(lambda row: row.charge.key.corrected_month),
    "x_EndUser": _text(lambda row: row.charge.key.end_user),
    "x_Environment": _text(lambda row: row.charge.key.environment),
    "x_Model": _text(lambda row: row.charge.key.model),
    "x_Requests": FocusColumn(Kind.COUNT, lambda row: row.charge.figures.requests),
    "x_Team": _text(lambda row: row.charge.key.team),
    "x_UserId": _text(lambda row: row.charge.key.user_id),
}
"""All columns of all versions by their ids."""

_OWN = tuple(name for name in _COLUMNS if name.startswith("x_"))
_SINCE_1_4 = frozenset(
    {
        *("AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName"),
        *("AllocatedTags", "HostProviderName", "ServiceProviderName"),
    }
)
_UNTIL_1_3 = frozenset({"ProviderName", "PublisherName"})


def _columns_without(left_out: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in _COLUMNS if name not in left_out)


VERSIONS: Mapping[str, tuple[str, ...]] = {
    "1.2": _columns_without(_SINCE_1_4),
    "1.4": _columns_without(_UNTIL_1_3),
}
"""The columns of each version, in the order of the file."""
DEFAULT_VERSION = "1.2"


def focus_response(
    *, organization: Organization, month: StatementMonth, version: str, file_format: FileFormat
) -> StreamingHttpResponse:
    """Return a response that streams the charges of a month. Raises ConflictError if events were dropped."""
    name = f"focus-{version}-{organization.slug}-{month.name}"
    return file_response(focus_table(organization=organization, month=month, version=version), name, file_format)


def focus_table(*, organization: Organization, month: StatementMonth, version: str) -> FileTable:
    """Return the charges of a month."""
    columns = [(name, _COLUMNS[name]) for name in VERSIONS[version]]

    def read(position: str) -> Part:
        charges, next_position = read_charges(organization=organization, month=month, position=position)
        given = (FocusCharge(organization, month, charge) for charge in charges)
        return Part([[column.value(row) for _, column in columns] for row in given], next_position)

    return FileTable(
        [FileColumn(name, column.kind) for name, column in columns], read, lambda _limit: 0, reads_first=True
    )
