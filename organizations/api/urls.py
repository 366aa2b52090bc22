"""The management API and the token endpoint."""

from django.urls import path

from organizations.api import views
from organizations.api.metrics_view import metrics
from organizations.api.oauth import TokenView

_organization = "organizations/<str:slug>"

urlpatterns = [
    path("metrics", metrics, name="metrics"),
    path("oauth2/token", TokenView.as_view(), name="oauth2-token"),
    path("organizations", views.OrganizationsViewSet.as_view({"get": "list", "post": "create"}), name="organizations"),
    path("memberships", views.OwnMembershipViewSet.as_view({"get": "list"}), name="memberships"),
    path(
        "memberships/<str:slug>",
        views.OwnMembershipViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="own-membership",
    ),
    path(
        "memberships/<str:slug>/accept",
        views.OwnMembershipViewSet.as_view({"post": "accept"}),
        name="own-membership-accept",
    ),
    path(_organization, views.OrganizationView.as_view(), name="organization"),
    path(f"{_organization}/close", views.CloseOrganizationView.as_view(), name="organization-close"),
    path(f"{_organization}/reopen", views.ReopenOrganizationView.as_view(), name="organization-reopen"),
    path(
        f"{_organization}/credentials",
        views.CredentialViewSet.as_view({"get": "list", "post": "create"}),
        name="credentials",
    ),
    path(
        f"{_organization}/credentials/<slug:client_id>",
        views.CredentialViewSet.as_view({"get": "retrieve"}),
        name="credential",
    ),
    path(
        f"{_organization}/credentials/<slug:client_id>/rotate",
        views.CredentialViewSet.as_view({"post": "rotate"}),
        name="credential-rotate",
    ),
    path(
        f"{_organization}/credentials/<slug:client_id>/revoke",
        views.CredentialViewSet.as_view({"post": "revoke"}),
        name="credential-revoke",
    ),
    path(f"{_organization}/members", views.MemberViewSet.as_view({"get": "list", "post": "create"}), name="members"),
    path(
        f"{_organization}/members/<int:pk>",
        views.MemberViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="member",
    ),
    path(f"{_organization}/teams", views.TeamViewSet.as_view({"get": "list", "post": "create"}), name="teams"),
    path(
        f"{_organization}/teams/<int:pk>",
        views.TeamViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="team",
    ),
    path(f"{_organization}/audit", views.AuditViewSet.as_view({"get": "list"}), name="audit"),
]
