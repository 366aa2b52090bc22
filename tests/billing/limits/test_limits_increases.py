"""Asking for more: who asks, who answers, what becomes of it, and who is notified."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.limits.cache import limit_set
from billing.limits.increases import decline, grant, request_increase
from billing.limits.services import remove_limit
from billing.models import Delivery, IncreaseRequest, LimitOverride, Notice, SpendLimit
from billing.types import Channel, LimitScope
from costtrack.clock import iso
from costtrack.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from organizations.models import AuditEntry, Organization, User
from organizations.principals import Principal
from organizations.types import Role
from tests.billing.limits.factories import SOON, SYSTEM, by, make_limit, raised
from tests.conftest import Key
from tests.usage import NOW

LATER = NOW + timedelta(hours=2)


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """10 USD a day for each user."""
    return make_limit(organization, scope=LimitScope.USER)


def ask(limit: SpendLimit, actor: Principal, amount: Any = 40, **given: Any) -> IncreaseRequest:
    terms = {"value": "ada", "reason": "The audit.", "until": SOON, **given}
    return request_increase(
        organization=limit.organization, limit=limit, amount_usd=Decimal(amount), actor=actor, now=NOW, **terms
    )


def say_yes(request: IncreaseRequest, actor: Principal, role: Role = Role.OWNER, **given: Any) -> IncreaseRequest:
    terms = {"amount_usd": None, "until": None, "answer": "", **given}
    return grant(organization=request.organization, request=request, acting_as=role, actor=actor, now=LATER, **terms)


def say_no(request: IncreaseRequest, actor: Principal, role: Role = Role.OWNER, answer: str = "No.") -> IncreaseRequest:
    return decline(
        organization=request.organization, request=request, answer=answer, acting_as=role, actor=actor, now=LATER
    )


def notice_and_recipients(kind: str) -> tuple[Notice, set[str]]:
    """The notice, and the email addresses that it goes to."""
    notice = Notice.objects.get(kind=kind)
    mails = Delivery.objects.filter(notice=notice, channel=Channel.EMAIL)
    return notice, set(mails.values_list("recipient", flat=True))


def test_a_viewer_asks_and_an_owner_grants(limit: SpendLimit, owner: User, viewer: User) -> None:
    request = ask(limit, by(viewer))
    assert (request.state, request.requested_by, request.requested_at) == ("open", "viewer@acme.example", NOW)

    answered = say_yes(request, by(owner))

    assert (answered.state, answered.answered_by, answered.answered_at) == ("granted", "owner@acme.example", LATER)
    all_limits = limit_set(limit.organization)
    rules = [all_limits.rule(limit.pk, value, now=LATER) for value in ("ada", "brin")]
    assert [rule.amount_usd for rule in rules if rule is not None] == [40, 10]
    exception = LimitOverride.objects.get()
    assert (exception.kind, exception.ends_at, exception.reason) == ("raise", SOON, "The audit.")
    assert answered.granted == exception
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions[1:] == ["increase.requested", "limit.raised", "increase.granted"]


def test_owners_and_admins_are_notified_of_a_request_and_its_author_of_the_answer(
    limit: SpendLimit, owner: User, viewer: User
) -> None:
    request = ask(limit, by(viewer))
    notice, mails = notice_and_recipients("increase.requested")
    assert mails == {"owner@acme.example"}
    assert notice.subject == "viewer@acme.example requests $40.00 (Each user, day) at Acme Research"
    assert notice.data == {
        "organization": "acme",
        "limit": {
            "id": limit.pk,
            "scope": "user",
            "scope_value": "ada",
            "window": "calendar_day",
            "amount_usd": "10",
            "action": "pause",
        },
        "request": {
            "id": request.pk,
            "amount_usd": "40",
            "until": iso(SOON),
            "reason": "The audit.",
            "requested_by": "viewer@acme.example",
            "answer": None,
            "answered_by": None,
        },
    }

    say_yes(request, by(owner), amount_usd=Decimal(25), until=LATER + timedelta(hours=1), answer="This should do.")
    notice, mails = notice_and_recipients("increase.granted")
    assert mails == {"owner@acme.example", "viewer@acme.example"}
    assert notice.data["request"] | {"amount_usd": "25", "answer": "This should do."} == notice.data["request"]
    assert notice.data["request"]["until"] == iso(LATER + timedelta(hours=1))
    assert notice.data["request"]["answered_by"] == "owner@acme.example"


def test_a_declined_request_changes_nothing_and_says_why(limit: SpendLimit, owner: User, viewer: User) -> None:
    request = say_no(ask(limit, by(viewer)), by(owner), answer="Use the smaller model.")
    assert (request.state, request.answer) == ("declined", "Use the smaller model.")
    assert not LimitOverride.objects.exists()
    notice, mails = notice_and_recipients("increase.declined")
    assert mails == {"owner@acme.example", "viewer@acme.example"}
    assert notice.data["request"]["answer"] == "Use the smaller model."


def test_a_credential_asks_for_itself_and_gets_no_mail(organization: Organization, owner: User, key: Key) -> None:
    limit = make_limit(organization, scope=LimitScope.CREDENTIAL)
    client_id = key.credential.client_id
    request = ask(limit, Principal(credential=key.credential), value=client_id)
    assert (request.requested_by, request.value) == (client_id, str(key.credential.pk))
    assert notice_and_recipients("increase.requested")[0].data["limit"]["scope_value"] == client_id

    say_yes(request, by(owner))
    rule = limit_set(organization).rule(limit.pk, str(key.credential.pk), now=LATER)
    assert rule is not None
    assert rule.amount_usd == 40
    assert notice_and_recipients("increase.granted")[1] == {"owner@acme.example"}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"amount": 15}, "amount_usd"),
        ({"amount": 0}, "amount_usd"),
        ({"amount": "NaN"}, "amount_usd"),
        ({"until": NOW}, "until"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"value": "x" * 256}, "value"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_the_fields_name(
    limit: SpendLimit, viewer: User, given: dict[str, Any], param: str
) -> None:
    raised(limit, 15, value="ada")  # the amount must be more than holds now
    with pytest.raises(InvalidError) as caught:
        ask(limit, by(viewer), **given)
    assert caught.value.param == param
    assert not IncreaseRequest.objects.exists()
    assert not Notice.objects.exists()


def test_the_same_request_is_not_made_twice_while_it_is_open(limit: SpendLimit, owner: User, viewer: User) -> None:
    request = ask(limit, by(viewer))
    with pytest.raises(ConflictError) as caught:
        ask(limit, by(viewer), 60)
    assert caught.value.code == "increase_requested"
    assert ask(limit, by(viewer), value="brin").pk
    assert ask(limit, by(owner)).pk
    say_no(request, by(owner))
    assert ask(limit, by(viewer)).pk


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_owners_and_admins_answer(limit: SpendLimit, viewer: User, role: Role) -> None:
    request = ask(limit, by(viewer))
    for answer in (say_yes, say_no):
        with pytest.raises(ForbiddenError) as caught:
            answer(request, by(viewer), role)
        assert caught.value.code == "admins_only"
    assert IncreaseRequest.objects.get().state == "open"
    assert say_yes(request, by(viewer), Role.ADMIN).state == "granted"


def test_an_answer_is_given_once(limit: SpendLimit, owner: User, viewer: User) -> None:
    request = say_yes(ask(limit, by(viewer)), by(owner))
    for answer in (say_yes, say_no):
        with pytest.raises(ConflictError, match="already approved") as caught:
            answer(request, by(owner))
        assert caught.value.code == "request_answered"
    assert Notice.objects.filter(kind__startswith="increase.").count() == 2


def test_a_grant_always_ends(limit: SpendLimit, owner: User, viewer: User) -> None:
    request = ask(limit, by(viewer), until=None)
    for until in (None, LATER):
        with pytest.raises(InvalidError) as caught:
            say_yes(request, by(owner), until=until)
        assert caught.value.param == "until"
    assert say_yes(request, by(owner), until=SOON).granted is not None


def test_a_grant_stays_within_the_plan_unless_an_operator_gives_it(
    organization: Organization, owner: User, viewer: User, operator: User
) -> None:
    limit = make_limit(organization, window="rolling_7d")
    request = ask(limit, by(viewer), 500, value="")
    with pytest.raises(InvalidError, match="at most 100 USD a week") as caught:
        say_yes(request, by(owner))
    assert caught.value.param == "amount_usd"
    granted = say_yes(request, by(operator)).granted
    assert granted is not None
    assert granted.amount_usd == 500


def test_declining_needs_an_answer(limit: SpendLimit, owner: User, viewer: User) -> None:
    request = ask(limit, by(viewer))
    with pytest.raises(InvalidError) as caught:
        say_no(request, by(owner), answer="  ")
    assert caught.value.param == "answer"


def test_of_a_removed_limit_a_request_can_only_be_declined(limit: SpendLimit, owner: User, viewer: User) -> None:
    request = ask(limit, by(viewer))
    remove_limit(organization=limit.organization, limit=limit, actor=SYSTEM, now=NOW)
    with pytest.raises(ConflictError) as caught:
        say_yes(request, by(owner))
    assert caught.value.code == "limit_removed"
    with pytest.raises(NotFoundError):
        ask(limit, by(owner))
    assert say_no(request, by(owner)).state == "declined"


def test_another_organizations_limits_and_requests_are_not_found(
    limit: SpendLimit, other_organization: Organization, viewer: User, stranger: User
) -> None:
    request = ask(limit, by(viewer))
    with pytest.raises(NotFoundError):
        decline(
            organization=other_organization,
            request=request,
            answer="No.",
            acting_as=Role.OWNER,
            actor=by(stranger),
            now=LATER,
        )
    with pytest.raises(NotFoundError):
        request_increase(
            organization=other_organization,
            limit=limit,
            value="",
            amount_usd=Decimal(40),
            reason="More.",
            until=None,
            actor=by(stranger),
            now=NOW,
        )
