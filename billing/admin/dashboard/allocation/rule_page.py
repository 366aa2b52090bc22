"""The page of a rule that splits shared cost: a new rule or a new version, previewed before it is saved."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.source_fields import add_source_fields, other_fields, source_fields, source_in
from billing.admin.components.urls import admin_url
from billing.admin.dashboard.allocation.allocation_page import (
    BY_CHOICES,
    allocation_figures,
    rule_cards,
    targets_card,
)
from billing.allocation_rules import MAX_NAME_LENGTH, NewRule, create_rule, end_rule, validate_rule
from billing.models import AllocationRule
from billing.reports.allocation.allocation import allocations
from billing.reports.allocation.rules import AllocationBasis
from billing.reports.months import month_of, this_month
from billing.types import AllocationTarget, SplitMeasure, SplitMethod
from costtrack.admin_site import register_page
from costtrack.dates import parse_month
from costtrack.errors import DomainError, ForbiddenError
from costtrack.money import is_amount, plain
from organizations.admin_actions import add_service_error


class MonthFormField(forms.CharField):
    """A month such as `2026-11`, cleaned to its first day."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            widget=UnfoldAdminTextInputWidget(attrs={"type": "month", "placeholder": "2026-11"}), **options
        )

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return parse_month(text)
        except ValueError:
            raise ValidationError("Enter a month such as 2026-11.") from None

    def prepare_value(self, value: Any) -> Any:
        return f"{value:%Y-%m}" if isinstance(value, date) else value


class RuleForm(forms.Form):
    """The fields of a version. The services validate them."""

    name = forms.CharField(
        max_length=MAX_NAME_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="A stored name: this is a new version of that rule.",
    )
    by = forms.ChoiceField(choices=BY_CHOICES, label="Split between", widget=UnfoldAdminSelectWidget())
    tag_prefix = forms.CharField(
        required=False,
        max_length=255,
        label="Tags that begin with",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "project:"}),
        help_text="Only for tags. Usage belongs to the first of these tags.",
    )
    starts = MonthFormField(label="First month", help_text="Earlier months stay as they are.")
    without_target_only = forms.BooleanField(
        required=False,
        label="Only usage without a target",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="For example usage without a team. Off: all usage with the values below.",
    )
    method = forms.ChoiceField(choices=SplitMethod.choices, label="How", widget=UnfoldAdminSelectWidget())
    measure = forms.ChoiceField(
        required=False,
        choices=[("", "-"), *SplitMeasure.choices],
        label="In proportion to",
        widget=UnfoldAdminSelectWidget(),
    )
    measures_source = forms.BooleanField(
        required=False,
        label="Measure only the split usage",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Off: all usage of each target in the month.",
    )
    targets = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One on each line; for fixed percentages with its percentage: core = 25. Empty: all that have usage "
        "in the month.",
    )
    position = forms.IntegerField(
        min_value=1,
        initial=1,
        label="Order",
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text="If several rules match, the one with the lowest number applies.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        add_source_fields(self)

    @property
    def rule_fields(self) -> list[forms.BoundField]:
        return other_fields(self)

    @property
    def source_fields(self) -> list[forms.BoundField]:
        return source_fields(self)

    def clean_targets(self) -> Mapping[str, Decimal | None]:
        targets: dict[str, Decimal | None] = {}
        for line in filter(None, map(str.strip, self.cleaned_data["targets"].splitlines())):
            name, share = _target_in(line, is_fixed=self.cleaned_data.get("method") == SplitMethod.FIXED)
            if name in targets:
                raise ValidationError(f"{name} is there twice.")
            targets[name] = share
        return targets

    def rule(self) -> NewRule:
        given = self.cleaned_data
        return NewRule(
            basis=AllocationBasis(AllocationTarget(given["by"]), given["tag_prefix"].strip()),
            name=given["name"],
            starts=given["starts"],
            method=SplitMethod(given["method"]),
            source=source_in(given),
            without_target_only=given["without_target_only"],
            position=given["position"],
            measure=SplitMeasure(given["measure"]) if given["measure"] else None,
            measures_source=given["measures_source"],
            targets=given["targets"],
        )


def _target_in(line: str, *, is_fixed: bool) -> tuple[str, Decimal | None]:
    if not is_fixed:
        return line, None
    name, _, text = line.rpartition("=")
    text = text.strip().removesuffix("%").strip()
    if not name.strip() or not is_amount(text):
        raise ValidationError(f"Enter a percentage, for example {line.partition('=')[0].strip()} = 25.")
    try:
        return name.strip(), Decimal(text)
    except InvalidOperation:
        raise ValidationError("Enter a smaller percentage.") from None


class EndForm(forms.Form):
    ends = MonthFormField(label="First month without the rule")


class RulePage(OrganizationPage):
    title: ClassVar[str] = "Rule for shared cost"
    template_name: ClassVar[str] = "admin/dashboard/allocation_rule.html"
    stylesheets = ("costtrack/breakdowns.css",)
    refresh_seconds: ClassVar[int] = 0

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self._check_role()
        return self._show(RuleForm(initial=self._initial()))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self._check_role()
        if "end" in request.POST:
            return self._end()
        form = RuleForm(request.POST)
        if form.is_valid():
            try:
                if "save" in request.POST:
                    rule = form.rule()
                    create_rule(organization=self.organization, rule=rule, actor=self.user.email, now=self.now)
                    messages.success(request, f"Rule saved. It applies from {rule.starts:%B %Y} on.")
                    return HttpResponseRedirect(self._list_url(rule.basis, rule.starts))
                return self._show(form, preview=self._preview(form.rule()))
            except DomainError as error:
                add_service_error(form, error)
        return self._show(form)

    def _end(self) -> HttpResponseBase:
        version = self._version()
        form = EndForm(self.request.POST)
        if version is not None and form.is_valid():
            basis = AllocationBasis(AllocationTarget(version.target), version.tag_prefix)
            starts = form.cleaned_data["ends"]
            try:
                end_rule(
                    organization=self.organization,
                    basis=basis,
                    name=version.name,
                    starts=starts,
                    actor=self.user.email,
                    now=self.now,
                )
            except DomainError as error:
                form.add_error("ends", error.message.removeprefix("starts: "))
            else:
                messages.success(self.request, f"Rule ended. It does not apply from {starts:%B %Y} on.")
                return HttpResponseRedirect(self._list_url(basis, starts))
        return self._show(RuleForm(initial=self._initial()), end_form=form)

    def _preview(self, rule: NewRule) -> dict[str, Any]:
        """Return the figures and tables of a month with the rule."""
        draft = validate_rule(organization=self.organization, rule=rule, now=self.now)
        month = min(rule.starts, this_month(self.organization, self.now))
        (allocation,) = allocations(
            organization=self.organization,
            basis=rule.basis,
            months=[month_of(self.organization, month, rights=self.plan_rights, now=self.now)],
            draft=draft,
        )
        return {
            "month": f"{month:%B %Y}",
            "figures": allocation_figures(allocation),
            "cards": [targets_card(allocation), *rule_cards(allocation)],
        }

    def _show(
        self, form: RuleForm, *, preview: dict[str, Any] | None = None, end_form: EndForm | None = None
    ) -> HttpResponseBase:
        version = self._version()
        context: dict[str, Any] = {
            "form": form,
            "media": form.media,
            "version": version,
            "end_form": (end_form or EndForm()) if version is not None and not version.is_ended else None,
            "preview": preview,
            "back": admin_url("allocation"),
        }
        return self._respond(self.template_name, context)

    def _version(self) -> AllocationRule | None:
        """Return the stored version that the page begins with. Raises NotFoundError."""
        text = self.request.GET.get("version", "")
        if not text:
            return None
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0  # noqa: PLR2004 - digits of a bigint
        return AllocationRule.objects.of(self.organization).get_or_not_found("rule", pk=number)

    def _initial(self) -> dict[str, Any]:
        month, version = this_month(self.organization, self.now), self._version()
        if version is None:
            by, prefix = self.request.GET.get("by", ""), self.request.GET.get("tag_prefix", "")
            by = by if by in AllocationTarget.values else AllocationTarget.TEAM.value
            return {"by": by, "tag_prefix": prefix, "starts": month, "without_target_only": True}
        return {
            "name": version.name,
            "by": version.target,
            "tag_prefix": version.tag_prefix,
            "starts": max(month, version.starts),
            "without_target_only": version.without_target_only,
            "method": version.method,
            "measure": version.measure,
            "measures_source": version.measures_source,
            "targets": _lines(version.targets),
            "position": version.position,
            **version.source,
        }

    def _list_url(self, basis: AllocationBasis, month: date) -> str:
        shown = min(month, this_month(self.organization, self.now))
        return admin_url("allocation", by=basis.target.value, tag_prefix=basis.tag_prefix, month=f"{shown:%Y-%m}")

    def _check_role(self) -> None:
        if not self.role.may_change:
            raise ForbiddenError("Your role may not change rules.", code="missing_scope")


def _lines(targets: Mapping[str, str | None]) -> str:
    names: Sequence[str] = sorted(targets)
    shares = {name: targets[name] for name in names}
    return "\n".join(f"{name} = {plain(Decimal(share))}" if share else name for name, share in shares.items())


register_page("allocation/rule/", RulePage.as_view(), name="allocation_rule")
