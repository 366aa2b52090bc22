"""Pages that emails link to and that need no sign-in."""

from billing.admin.notifications.unsubscribe_page import unsubscribe_from_report
from costtrack.secret_links import secret_path

urlpatterns = [
    secret_path("account/unsubscribe/<str:token>", unsubscribe_from_report, name="report_unsubscribe"),
]
