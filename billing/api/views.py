"""`/organizations/{slug}/views`: saved views of the explorer."""

from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import SavedView
from billing.saved_views import PARAMETERS, change_view, create_view, delete_view, query_string, visible_views
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.organization_paths import organization_url
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import VIEWS

_PARAMETERS_HELP = f"The settings of the explorer, each as a text: {', '.join(PARAMETERS)}."
_EXAMPLE = OpenApiExample(
    "Teams by week",
    {"name": "Teams by week", "parameters": {"group_by": "team", "columns": "week", "range": "90d"}, "is_shared": True},
    request_only=True,
)


class SavedViewSerializer(serializers.ModelSerializer[SavedView]):
    parameters = serializers.SerializerMethodField(help_text=_PARAMETERS_HELP)
    is_shared = serializers.BooleanField(help_text="Of the organization; otherwise of the current user.")
    is_default = serializers.BooleanField(
        help_text="The explorer opens with it: for its user, or a shared one for all without a default of their own."
    )
    url = serializers.SerializerMethodField(help_text="The page with this view.")

    class Meta:
        model = SavedView
        fields = ("id", "name", "parameters", "is_shared", "is_default", "created_at", "url")

    def get_parameters(self, view: SavedView) -> dict[str, str]:
        return dict(parse_qsl(view.parameters))

    def get_url(self, view: SavedView) -> str:
        path = organization_url(self.context["view"].organization.slug, "explore")
        return f"{settings.PUBLIC_URL}{path}?{view.parameters}{'&' if view.parameters else ''}view={view.pk}"


class SavedViewChangeSerializer(StrictSerializer):
    name = serializers.CharField(required=False, max_length=100)
    parameters = serializers.DictField(
        child=serializers.CharField(allow_blank=True), required=False, help_text=_PARAMETERS_HELP
    )
    is_default = serializers.BooleanField(required=False)


class NewSavedViewSerializer(SavedViewChangeSerializer):
    name = serializers.CharField(max_length=100)
    parameters = serializers.DictField(
        child=serializers.CharField(allow_blank=True), default=dict, help_text=_PARAMETERS_HELP
    )
    is_shared = serializers.BooleanField(
        default=False, help_text="Requires `manage`. A credential has no private views, so it must share them."
    )
    is_default = serializers.BooleanField(default=False)


class SavedViewViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[SavedView]):
    """Saved views of the explorer that the caller may open: shared ones, and the user's own."""

    resource = VIEWS
    requires_api_plan = True
    queryset = SavedView.objects.order_by("pk")
    serializer_class = SavedViewSerializer
    filterset_class = None

    def narrow(self, queryset: Any) -> Any:
        return visible_views(self.access)

    @extend_schema(
        request=NewSavedViewSerializer,
        responses={
            201: SavedViewSerializer,
            403: OpenApiResponse(description="The caller may not share, or has no private views."),
            409: OpenApiResponse(description="The name is taken, or there are too many views."),
        },
        examples=[_EXAMPLE],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Save a view, for the current user or shared with the organization."""
        body = validated(NewSavedViewSerializer, request.data)
        view = create_view(
            access=self.access, **{**body, "parameters": query_string(body["parameters"])}, now=utc_now()
        )
        return Response(self.get_serializer(view).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        request=SavedViewChangeSerializer,
        responses={200: SavedViewSerializer, 409: OpenApiResponse(description="The name is taken.")},
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        """Rename a view, replace its settings, or open the explorer with it."""
        changes = validated(SavedViewChangeSerializer, request.data)
        if not changes:
            raise InvalidError("At least one of name, parameters and is_default is required.")
        if "parameters" in changes:
            changes["parameters"] = query_string(changes["parameters"])
        view = change_view(access=self.access, view_id=self.get_object().pk, changes=changes)
        return Response(self.get_serializer(view).data)

    @extend_schema(responses={204: OpenApiResponse(description="The view is deleted.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Delete a view."""
        delete_view(access=self.access, view_id=self.get_object().pk)
        return Response(status=status.HTTP_204_NO_CONTENT)
