"""The charges of a month in the format of FOCUS, the FinOps Open Cost and Usage Specification (Cost and Usage).

The columns of each version are data: a new version is an entry of `VERSIONS`, and a new column one of `_COLUMNS`.
https://focus.finops.org/focus-specification
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial

import msgspec

from billing.exports.table_files import FileTable, Part
from billing.pricing.kinds import KINDS, Unit
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.charges.charge import Charge, ChargeCategory
from billing.reports.charges.charge_reader import ChargeReader
from billing.reports.statements.month_commitments import MonthCommitment
from billing.reports.statements.months import StatementMonth, month_of
from billing.reports.usage.ledger_usage import count_events
from billing.types import AllocationTarget, CommitmentKind, SplitMeasure
from costtrack.calendar import Window
from costtrack.clock import utc_now
from costtrack.file_columns import FileColumn, FileFormat, Kind
from costtrack.money import ZERO, plain
from organizations.models import Organization, User
from organizations.permissions import USAGE, Resource

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
_DOLLARS = "US Dollars"
_MEASURES = {SplitMeasure.COST: _DOLLARS, SplitMeasure.REQUESTS: "Requests", SplitMeasure.TOKENS: "Tokens"}
"""The units of measures that shared cost is split by."""


@dataclass(frozen=True, slots=True)
class FocusCharge:
    """A charge with what is the same for all charges of a file."""

    organization: Organization
    month: StatementMonth
    basis: AllocationBasis
    charge: Charge

    @property
    def is_correction(self) -> bool:
        return bool(self.charge.key.corrected_month)

    @property
    def is_usage(self) -> bool:
        return self.charge.key.category is ChargeCategory.USAGE

    @property
    def has_quantity(self) -> bool:
        return self.charge.key.category is not ChargeCategory.CREDIT and self.charge.figures.quantity is not None

    @property
    def provider(self) -> str:
        return self.charge.key.provider or _UNKNOWN

    @property
    def sku_id(self) -> str | None:
        """The provider, the model and what is counted; None for amounts that are not of a kind of usage."""
        key = self.charge.key
        if not self.has_quantity:
            return None
        if self.charge.is_fee:
            return f"commitment-{key.commitment}"
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
        """A correction of an amount consumes nothing; a fee is no usage."""
        return (self.charge.figures.quantity or ZERO) if self.is_usage and not self.charge.is_fee else None

    @property
    def consumed_unit(self) -> str | None:
        if not self.is_usage or self.charge.is_fee:
            return None
        return _UNITS[KINDS[self.charge.key.kind].unit] if self.charge.key.kind else "Requests"

    @property
    def pricing_unit(self) -> str | None:
        """`1000000 Tokens`; amounts without a unit price are priced in dollars."""
        if not self.has_quantity:
            return None
        if not self.charge.key.kind:
            return _DOLLARS
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
        if self.charge.is_fee and self.charge.committed is not None:
            return f"{self.charge.committed.commitment.name}: {key.meter.lower()}"
        parts = [text for text in (self.provider, key.model, key.meter) if text]
        text = " ".join(parts)
        if self.is_correction:
            reason = f", {key.reason}" if key.reason else ""
            text += f" (correction of {key.corrected_month}, event {key.corrects}{reason})"
        return text

    @property
    def tags(self) -> str | None:
        return tags_json(self.charge.key.tags)

    @property
    def commitment(self) -> MonthCommitment | None:
        return self.charge.committed.commitment if self.charge.committed is not None else None

    @property
    def commitment_id(self) -> str | None:
        return f"commitment-{self.commitment.id}" if self.commitment is not None else None

    @property
    def commitment_status(self) -> str | None:
        """Of usage; a fee itself has none."""
        committed = self.charge.committed
        if committed is None or committed.is_used is None:
            return None
        return "Used" if committed.is_used else "Unused"

    @property
    def commitment_quantity(self) -> Decimal | None:
        return self.charge.committed.quantity if self.charge.committed is not None else None

    @property
    def commitment_unit(self) -> str | None:
        if self.commitment is None or self.commitment_quantity is None:
            return None
        return _DOLLARS if self.commitment.capacity is None else _UNITS[Unit.TOKENS]

    @property
    def has_capacity(self) -> bool:
        return self.commitment is not None and self.commitment.kind is CommitmentKind.PROVISIONED

    @property
    def frequency(self) -> str:
        by_category = {ChargeCategory.USAGE: "Usage-Based", ChargeCategory.PURCHASE: "Recurring"}
        return by_category.get(self.charge.key.category, "One-Time")

    @property
    def pricing_category(self) -> str | None:
        """The purchase of a commitment is no committed price."""
        if not self.has_quantity:
            return None
        return "Committed" if self.is_usage and self.commitment is not None else "Standard"

    @property
    def allocated_tags(self) -> str | None:
        """The tag that the charge was allocated to, unless the charge has it."""
        allocation = self.charge.allocation
        if allocation is None or self.basis.target is not AllocationTarget.TAG:
            return None
        return tags_json([allocation.target]) if allocation.target not in self.charge.key.tags else None

    @property
    def allocated_details(self) -> str | None:
        """The ratio, and what it is in proportion to, with the rule and its version."""
        allocation = self.charge.allocation
        if allocation is None:
            return None
        element: dict[str, object] = {"AllocatedRatio": float(allocation.ratio)}
        if allocation.measured is not None:
            element |= {
                "UsageUnit": _MEASURES[SplitMeasure(allocation.measure)],
                "UsageQuantity": float(allocation.measured),
            }
        details = {"x_Rule": allocation.rule, "x_RuleVersion": allocation.version, "x_By": self.basis.target.value}
        return _json({"Elements": [element], **details})

    @property
    def allocated_to(self) -> str | None:
        return self.charge.allocation.target if self.charge.allocation is not None else None


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


_NULL_TEXT = FocusColumn(Kind.TEXT, _null)


def _of_commitment(value: Callable[[MonthCommitment], str]) -> FocusColumn:
    return _text(lambda row: value(row.commitment) if row.commitment is not None else None)


_ALLOCATED: Mapping[str, FocusColumn] = {
    "AllocatedMethodDetails": _text(lambda row: row.allocated_details),
    "AllocatedMethodId": _text(lambda row: row.charge.allocation.method_id if row.charge.allocation else None),
    "AllocatedResourceId": _text(lambda row: row.allocated_to),
    "AllocatedResourceName": _text(lambda row: row.allocated_to),
    "AllocatedTags": _text(lambda row: row.allocated_tags),
}
"""Of FOCUS since 1.3. Files of earlier versions have them as columns of our own."""


_COLUMNS: Mapping[str, FocusColumn] = {
    **_ALLOCATED,
    "AvailabilityZone": _NULL_TEXT,
    "BilledCost": _amount(lambda row: row.charge.billed_usd),
    "BillingAccountId": _text(lambda row: f"organization-{row.organization.pk}"),
    "BillingAccountName": _text(lambda row: row.month.organization_name),
    "BillingAccountType": _text(lambda _: "Organization"),
    "BillingCurrency": _text(lambda _: CURRENCY),
    "BillingPeriodEnd": FocusColumn(Kind.TIME, lambda row: row.month.span.end),
    "BillingPeriodStart": FocusColumn(Kind.TIME, lambda row: row.month.span.start),
    "CapacityReservationId": _text(lambda row: row.commitment_id if row.has_capacity else None),
    "CapacityReservationStatus": _text(lambda row: row.commitment_status if row.has_capacity else None),
    "ChargeCategory": _text(lambda row: row.charge.key.category.value),
    "ChargeClass": _text(lambda row: "Correction" if row.is_correction else None),
    "ChargeDescription": _text(lambda row: row.description),
    "ChargeFrequency": _text(lambda row: row.frequency),
    "ChargePeriodEnd": FocusColumn(Kind.TIME, lambda row: row.charge.key.end),
    "ChargePeriodStart": FocusColumn(Kind.TIME, lambda row: row.charge.key.start),
    "CommitmentDiscountCategory": _of_commitment(lambda row: "Spend" if row.capacity is None else "Usage"),
    "CommitmentDiscountId": _text(lambda row: row.commitment_id),
    "CommitmentDiscountName": _of_commitment(lambda row: row.name),
    "CommitmentDiscountQuantity": _amount(lambda row: row.commitment_quantity),
    "CommitmentDiscountStatus": _text(lambda row: row.commitment_status),
    "CommitmentDiscountType": _of_commitment(lambda row: row.kind.label),
    "CommitmentDiscountUnit": _text(lambda row: row.commitment_unit),
    "ConsumedQuantity": _amount(lambda row: row.consumed_quantity),
    "ConsumedUnit": _text(lambda row: row.consumed_unit),
    "ContractedCost": _amount(lambda row: row.charge.contracted_usd),
    "ContractedUnitPrice": _amount(lambda row: row.unit_price(row.charge.key.contracted_unit_price_usd)),
    "EffectiveCost": _amount(lambda row: row.charge.effective_usd),
    "HostProviderName": _text(lambda row: row.provider),
    "InvoiceId": _NULL_TEXT,
    "InvoiceIssuerName": _text(lambda row: row.provider),
    "ListCost": _amount(lambda row: row.charge.list_usd),
    "ListUnitPrice": _amount(lambda row: row.unit_price(row.charge.key.list_unit_price_usd)),
    "PricingCategory": _text(lambda row: row.pricing_category),
    "PricingCurrency": _text(lambda _: CURRENCY),
    "PricingCurrencyContractedUnitPrice": _amount(lambda row: row.unit_price(row.charge.key.contracted_unit_price_usd)),
    "PricingCurrencyEffectiveCost": _amount(lambda row: row.charge.effective_usd),
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
    **{f"x_{name}": column for name, column in _ALLOCATED.items()},
    "x_AllocatedTo": _text(lambda row: row.charge.bearer),
    "x_Capability": _text(lambda row: row.charge.key.capability),
    "x_CorrectedEventId": _text(lambda row: row.charge.key.corrects),
    "x_CorrectedMonth": _text(lambda row: row.charge.key.corrected_month),
    "x_EndUser": _text(lambda row: row.charge.key.end_user),
    "x_Environment": _text(lambda row: row.charge.key.environment),
    "x_LedgerCost": _amount(lambda row: row.charge.figures.cost_usd),
    "x_Model": _text(lambda row: row.charge.key.model),
    "x_Requests": FocusColumn(Kind.COUNT, lambda row: row.charge.figures.requests),
    "x_Team": _text(lambda row: row.charge.key.team),
    "x_UserId": _text(lambda row: row.charge.key.user_id),
}
"""All columns of all versions by their ids."""

_SINCE_1_3 = frozenset({*_ALLOCATED, "HostProviderName", "ServiceProviderName"})
_UNTIL_1_3 = frozenset({"ProviderName", "PublisherName", *(f"x_{name}" for name in _ALLOCATED)})


def _columns_without(left_out: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in _COLUMNS if name not in left_out)


VERSIONS: Mapping[str, tuple[str, ...]] = {
    "1.2": _columns_without(_SINCE_1_3),
    "1.4": _columns_without(_UNTIL_1_3),
}
"""The columns of each version, in the order of the file."""
DEFAULT_VERSION = "1.2"
FOCUS_FORMATS = ((FileFormat.CSV, "CSV"), (FileFormat.PARQUET, "Parquet"))
"""With their labels."""


class FocusFile(msgspec.Struct, frozen=True, tag="focus", kw_only=True):
    """The charges of the month that begins on `month`. Rules that split by `by` apply; `tag_prefix` is that of tags."""

    month: date
    version: str = DEFAULT_VERSION
    by: AllocationTarget = AllocationTarget.TEAM
    tag_prefix: str = ""

    @property
    def resource(self) -> Resource:
        return USAGE

    @property
    def title(self) -> str:
        return f"FOCUS {self.version} of {self.month:%B %Y}"

    def table(self, organization: Organization, user: User) -> FileTable:
        """Reading raises ConflictError if events were dropped."""
        columns = [(name, _COLUMNS[name]) for name in VERSIONS[self.version]]
        month, basis = month_of(organization, self.month), AllocationBasis(self.by, self.tag_prefix)
        reader = ChargeReader(organization=organization, month=month, basis=basis, now=utc_now())

        def read(position: str) -> Part:
            charges, next_position = reader.read(position)
            given = (FocusCharge(organization, month, basis, charge) for charge in charges)
            return Part([[column.value(row) for _, column in columns] for row in given], next_position)

        return FileTable(
            [FileColumn(name, column.kind) for name, column in columns],
            read,
            lambda _limit: 0,
            reads_first=True,
            count_events=partial(count_events, organization, [Window(*month.span)]),
        )

    def file_name(self, organization: Organization) -> str:
        return f"focus-{self.version}-{organization.slug}-{self.month:%Y-%m}"
