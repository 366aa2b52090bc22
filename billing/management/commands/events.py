"""`events read`: the events of a month as CSV or JSON lines, those in the archive included."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError

from billing.exports.table_files import FileTable, encode, json_lines
from billing.exports.usage_files import RequestsFile
from billing.management.console import organizations_by_slug, parse_month
from billing.pricing.price_book import identify_model
from billing.reports.usage.figures import DIMENSIONS, UsageFilter
from costtrack.calendar import Span, Unit
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.errors import DomainError
from costtrack.file_columns import FileFormat
from organizations.models import Organization, User

_FILTERS = tuple(dimension.parameter for dimension in DIMENSIONS)
_JSON_LINES = "jsonl"


class Command(SchemaCommand):
    help = "Reads single events, also those that were archived."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        read = actions.add_parser("read", help="Print the events of a month, newest first, with their net cost.")
        read.add_argument("--organization", metavar="SLUG", required=True)
        month = "The month in which they occurred, in the organization's time zone."
        read.add_argument("--month", metavar="YYYY-MM", required=True, help=month)
        read.add_argument("--format", choices=[FileFormat.CSV.value, _JSON_LINES], default=FileFormat.CSV.value)
        read.add_argument("--only-calls", action="store_true", help="Without tool calls, compute and summaries.")
        read.add_argument("--endpoint", metavar="VALUE", default="")
        for name in _FILTERS:
            read.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", default="")

    def handle(self, *, organization: str, month: str, format: str, **options: Any) -> None:  # noqa: A002 - named like the option
        (tenant,) = organizations_by_slug(organization)
        table = _requests(tenant, month, options).table(tenant, User())
        try:
            for chunk in _encoded(table, format):
                self.stdout.write(chunk.decode(), ending="")
        except DomainError as error:
            raise CommandError(error.message) from None


def _requests(organization: Organization, month: str, options: dict[str, Any]) -> RequestsFile:
    now, calendar = utc_now(), organization.calendar
    first = parse_month("--month", month).date()
    filters = {name: options[name] for name in _FILTERS}
    filters["model"] = identify_model(organization.pk, filters["model"], now=now)
    filters["user_id"] = organization.user_name(filters["user_id"])
    return RequestsFile(
        filters=UsageFilter(**filters),
        window=Span(*calendar.period(Unit.MONTH, calendar.start_of(first))),
        received_by=now,
        endpoint=options["endpoint"],
        only_calls=options["only_calls"],
    )


def _encoded(table: FileTable, format: str) -> Iterator[bytes]:  # noqa: A002 - named like the option
    if format == _JSON_LINES:
        return json_lines(table.columns, table.parts(), table.zone)
    return encode(table.columns, table.parts(), FileFormat.CSV, zone=table.zone)
