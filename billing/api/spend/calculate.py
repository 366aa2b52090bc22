"""Document 004 (AlphaNeural): the cost of a call, as LiteLLM's `POST /spend/calculate`."""

from typing import Annotated, Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_field
from msgspec import UNSET, UnsetType
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import response_header
from billing.api.spend.params import SpendView
from billing.reports.spend.estimate import (
    MAX_NAME_LENGTH,
    Conditions,
    Counted,
    Estimate,
    cost_of_response,
    estimate_prompt,
)
from billing.types import CostBasis
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from costtrack.money import number, plain
from costtrack.parsers import JSONParser
from costtrack.responses import Amount, ResponseBody, about, choice
from costtrack.serializers import StrictSerializer, validated

COST = response_header("X-Costtrack-Cost", "The exact cost in USD, as a decimal string.")
TOKENS = response_header(
    "X-Costtrack-Tokens",
    "The tokens that the cost covers: of the prompt, or of prompt (including caches) and completion.",
    OpenApiTypes.INT,
)
COUNTED = response_header(
    "X-Costtrack-Token-Count",
    "exact: counted with the tokenizer of the model. estimated: counted with another one, or the prompt has images or "
    "tool calls. reported: taken from the completion response.",
    enum=[str(counted) for counted in Counted],
)
TOKENIZER = response_header(
    "X-Costtrack-Tokenizer", "The tokenizer, for example o200k_base. Absent for a completion response."
)

_MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"type": "string"},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
        "name": {"type": ["string", "null"]},
        "tool_calls": {"type": ["array", "null"], "items": {"type": "object"}},
        "function_call": {"type": ["object", "null"]},
    },
    "required": ["role"],
}
_BEFORE = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hey, how's it going?"}]}
_AFTER = {
    "completion_response": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
    }
}


class NothingToCalculateError(DomainError):
    """The body is valid but lacks what the calculation needs."""


class PromptParser(JSONParser):
    """Allows about a million tokens, because long prompts are the ones whose cost users check in advance."""

    max_bytes = 4 * 1024 * 1024


# Plain fields, because the list and dictionary fields of Django REST framework validate every element of a large body.
@extend_schema_field({"type": ["array", "null"], "minItems": 1, "items": _MESSAGE})
class MessagesField(serializers.Field[list[Any], Any, Any, Any]):
    """Messages are validated where they are counted (`billing.pricing.token_counting`)."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            raise serializers.ValidationError("Must be a list of messages.")
        if not data:
            raise serializers.ValidationError("There must be at least one message.", code="min_length")
        return data


@extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
class ObjectField(serializers.Field[dict[str, Any], Any, Any, Any]):
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object.")
        return data


class CalculationSerializer(StrictSerializer):
    """Either a model and messages, or a completion response. `model` takes precedence."""

    model = serializers.CharField(required=False, allow_null=True, max_length=MAX_NAME_LENGTH)
    messages = MessagesField(
        required=False,
        allow_null=True,
        help_text="The messages to send to the model, in the format of OpenAI chat messages.",
    )
    completion_response = ObjectField(
        required=False,
        allow_null=True,
        help_text="A response with its model and usage, of any provider, framework or gateway.",
    )
    provider = serializers.CharField(
        required=False, allow_null=True, max_length=MAX_NAME_LENGTH, help_text="Who bills the call, like `service`."
    )
    service_tier = serializers.CharField(required=False, allow_null=True, max_length=64)
    region = serializers.CharField(required=False, allow_null=True, max_length=64)
    details = serializers.BooleanField(
        required=False, default=False, help_text="Also return how the cost is computed, and what was not read."
    )


class CalculatedLine(ResponseBody):
    """quantity x unit price = amount. The unit price is per unit of the kind."""

    kind: str
    quantity: float
    unit_price_usd: str
    amount_usd: str
    list_amount_usd: Annotated[str, about("Without the organization's agreement.")]
    priced_as: Annotated[str, about("The kind whose unit price was taken; empty: its own.")]
    is_estimate: bool


class CalculatedCondition(ResponseBody):
    attribute: str
    value: str
    factor: Annotated[float | None, about("Null: unit prices were replaced.")]
    source: Annotated[str, about("Where the provider publishes it.")]


class CalculatedKnownCost(ResponseBody):
    basis: Annotated[str, choice(CostBasis.choices)]
    amount_usd: Amount
    counts: Annotated[bool, about("Whether this is the cost that counts.")]


class CalculationDetails(ResponseBody):
    lines: list[CalculatedLine]
    cost_basis: Annotated[str, choice(CostBasis.choices, "Which of the known costs counts.")]
    cost_why: Annotated[str, about("Why it counts.")]
    known_costs: Annotated[list[CalculatedKnownCost], about("All costs that are known, in the order of precedence.")]
    list_cost_usd: Annotated[Amount | None, about("Without the organization's agreement.")]
    conditions: list[CalculatedCondition]
    flags: list[dict[str, str]]
    unknown: Annotated[list[str], about("Kinds without a unit price, or conditions without a price.")]
    canonical_provider: str | None
    canonical_model: str | None


class CalculatedCost(ResponseBody):
    cost: Annotated[float, about("In USD.")]
    details: Annotated[CalculationDetails | UnsetType, about("Only if the request asks for them.")] = UNSET


class SpendCalculateView(SpendView):
    """`POST /spend/calculate`"""

    only_reads: ClassVar[bool] = True
    parser_classes = (PromptParser,)
    max_body_bytes: ClassVar[int] = PromptParser.max_bytes

    @extend_schema(
        operation_id="spend_calculate",
        request=CalculationSerializer,
        parameters=[COST, TOKENS, COUNTED, TOKENIZER],
        responses={
            200: CalculatedCost,
            400: OpenApiResponse(
                description="Neither prompt nor response given, or the model has no price (type model_not_priced)."
            ),
        },
        examples=[
            OpenApiExample("Before the call", _BEFORE, request_only=True),
            OpenApiExample("After the call", _AFTER, request_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        """Calculate the cost of a prompt or of a completion response at the current prices of the organization.
        Nothing is recorded."""
        options = validated(CalculationSerializer, request.data)
        has_details = options.pop("details")
        estimate = self._estimate(**options)
        headers = {
            COST.name: plain(estimate.cost_usd),
            TOKENS.name: str(estimate.tokens),
            COUNTED.name: estimate.counted.value,
        }
        if estimate.tokenizer is not None:
            headers[TOKENIZER.name] = estimate.tokenizer
        details = _details(estimate) if has_details else UNSET
        return Response(CalculatedCost(cost=number(estimate.cost_usd), details=details), headers=headers)

    def _estimate(
        self,
        model: str | None = None,
        messages: list[Any] | None = None,
        completion_response: dict[str, Any] | None = None,
        **conditions: str | None,
    ) -> Estimate:
        now, said = utc_now(), Conditions(**conditions)
        if model is not None:
            if messages is None:
                raise NothingToCalculateError("messages must be provided if 'model' is provided", param="messages")
            return estimate_prompt(
                organization=self.organization, model=model, messages=messages, conditions=said, now=now
            )
        if completion_response is not None:
            return cost_of_response(
                organization=self.organization, response=completion_response, conditions=said, now=now
            )
        raise NothingToCalculateError("Either 'model' or 'completion_response' must be provided", param="model")


def _details(estimate: Estimate) -> CalculationDetails:
    quote = estimate.quote
    return CalculationDetails(
        lines=[
            CalculatedLine(
                kind=line.kind,
                quantity=float(line.quantity),
                unit_price_usd=plain(line.unit_price_usd),
                amount_usd=plain(line.amount_usd),
                list_amount_usd=plain(line.list_amount_usd),
                priced_as=line.priced_as,
                is_estimate=line.is_estimate,
            )
            for line in quote.lines
        ],
        conditions=[
            CalculatedCondition(
                attribute=condition.attribute,
                value=condition.value,
                factor=None if condition.factor is None else float(condition.factor),
                source=condition.source,
            )
            for condition in quote.conditions
        ],
        cost_basis=estimate.basis,
        cost_why=estimate.why,
        known_costs=[CalculatedKnownCost.of(known, basis=known.basis.value) for known in estimate.known],
        list_cost_usd=None if estimate.list_cost_usd is None else Amount.of(estimate.list_cost_usd),
        flags=[dict(flag) for flag in estimate.flags],
        unknown=list(quote.unknown),
        canonical_provider=quote.model.provider if quote.model is not None else None,
        canonical_model=quote.model.model if quote.model is not None else None,
    )
