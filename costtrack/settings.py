"""Settings, from environment variables only. docs/settings.md lists them; `costtrack.checks` reports invalid ones."""

import gc
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from kombu import Queue as BrokerQueue

from costtrack.beat_schedule import SCHEDULE
from costtrack.content_policy import content_policy
from costtrack.env import (
    Environment,
    parse_database_url,
    parse_optional_database_url,
    parse_redis_url,
    parse_token,
)
from costtrack.logs import logging_config
from costtrack.mail.address import parse_email_url, parse_public_url, parse_sender
from costtrack.metrics_folder import VARIABLE as METRICS_FOLDER_VARIABLE
from costtrack.openapi_settings import OPENAPI
from costtrack.queues import REDELIVERED_AFTER_SECONDS, Queue, task_limits, task_routes
from costtrack.sign_in_settings import sign_in_settings
from costtrack.unfold_settings import ADMIN_THEME
from costtrack.web_server.web_limits import WebLimits

# Every process imports this module first. The modules that follow make a million objects that are never garbage, and
# Python's collector would examine them again for each 700 new ones: a sixth of the time that a process takes to start.
gc.set_threshold(50_000)

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
_HINT = "Set it, or run `costtrack up`, which starts its own servers (then: `costtrack manage <command>`)."

# --- The installation ------------------------------------------------------------------------------------------

DEBUG = env.boolean("COSTTRACK_DEBUG", default=False)
SECRET_KEY = env.required(
    "COSTTRACK_SECRET_KEY",
    secrets.token_urlsafe(50),
    "Set it to 50 random characters. docs/secrets.md says how to change it.",
    str,
)
# Earlier keys, which still verify and decrypt while the key is being rotated.
SECRET_KEY_FALLBACKS = [
    key for key in (part.strip() for part in env.secret("COSTTRACK_SECRET_KEY_FALLBACKS").split(",")) if key
]
ALLOWED_HOSTS = env.comma_separated("COSTTRACK_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.comma_separated("COSTTRACK_CSRF_TRUSTED_ORIGINS")
BEHIND_HTTPS = env.boolean("COSTTRACK_HTTPS", default=True)

# Peppers for the keyed hashes of credentials' secrets, `number:value` pairs; the last one hashes new secrets, the
# others still verify old ones. Without any, one is derived from SECRET_KEY.
CREDENTIAL_PEPPERS = env.secret("COSTTRACK_CREDENTIAL_PEPPERS")
OAUTH_TOKEN_LIFETIME = timedelta(hours=1)

# --- Django ----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "costtrack.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "costtrack.apps.CosttrackConfig",
    "organizations",
    "billing",
]

MIDDLEWARE = [
    "costtrack.middleware.RequestContextMiddleware",
    "costtrack.middleware.StatementTimeoutMiddleware",
    "organizations.middleware.OrganizationPathMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "costtrack.compression.StaticFilesMiddleware",
    "costtrack.compression.PageCompressionMiddleware",
    "costtrack.content_policy.ContentPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "organizations.accounts.middleware.SecondFactorMiddleware",
    "organizations.middleware.AdminTenantScopeMiddleware",
    "organizations.clock.ClockMiddleware",
]

ROOT_URLCONF = "costtrack.urls"
WSGI_APPLICATION = "costtrack.wsgi.application"
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "organizations.User"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "organizations.admin.context.organization_context",
                "organizations.accounts.context.sign_in_context",
            ],
        },
    },
]

# So that templates/ may override the form templates of Django.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

_HAS_POOL = env.boolean("COSTTRACK_DATABASE_POOL", default=True)
_POOL = {"min_size": 1, "max_size": env.integer("COSTTRACK_DATABASE_POOL_SIZE", 16, minimum=1), "timeout": 10}
_CONNECTIONS = {
    "CONN_MAX_AGE": 0,
    # A pooled connection that died with a restart of PostgreSQL must not fail the next request.
    "CONN_HEALTH_CHECKS": True,
    # The pool keeps connections open between requests; DISABLE_SERVER_SIDE_CURSORS lets PgBouncer pool transactions.
    "DISABLE_SERVER_SIDE_CURSORS": True,
}
DATABASES: dict[str, Any] = {
    "default": {
        **env.required("DATABASE_URL", "postgresql:///costtrack", _HINT, parse_database_url),
        **_CONNECTIONS,
    }
}
DATABASES["default"].setdefault("OPTIONS", {})["pool"] = _POOL if _HAS_POOL else False

# A standby that reports read from (`costtrack.replica`). The primary takes over at once if it does not respond.
_replica = env.optional("DATABASE_REPLICA_URL", "", _HINT, parse_optional_database_url)
if _replica is not None:
    DATABASES["replica"] = {**_replica, **_CONNECTIONS}
    DATABASES["replica"]["OPTIONS"] = {
        "connect_timeout": 2,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        **_replica.get("OPTIONS", {}),
        "pool": {**_POOL, "timeout": 1} if _HAS_POOL else False,
    }
    MIDDLEWARE.insert(
        MIDDLEWARE.index("organizations.middleware.OrganizationPathMiddleware"),
        "organizations.middleware.LastWriteMiddleware",
    )
REPLICA_MAX_LAG = env.integer("COSTTRACK_REPLICA_MAX_LAG", 10, minimum=1, maximum=3600)

# The database is distributed by organization with Citus (docs/distribution.md).
DISTRIBUTED = env.boolean("COSTTRACK_DISTRIBUTED", default=False)

# Seconds that one statement of a request may run, and one of an export or a download; 0: no limit. Workers and commands
# have none.
_MAX_TIMEOUT_SECONDS = (2**31 - 1) // 1000  # PostgreSQL counts milliseconds in 32 bits
STATEMENT_TIMEOUT = env.integer("COSTTRACK_STATEMENT_TIMEOUT", 30, maximum=_MAX_TIMEOUT_SECONDS)
EXPORT_STATEMENT_TIMEOUT = env.integer("COSTTRACK_EXPORT_STATEMENT_TIMEOUT", 300, maximum=_MAX_TIMEOUT_SECONDS)

REDIS_URL = env.required("REDIS_URL", "redis://localhost:6379/0", _HINT, parse_redis_url)
CACHES = {
    "default": {
        "BACKEND": "costtrack.cache.Cache",
        "LOCATION": REDIS_URL,
        # The cache only makes things faster, so requests do not wait long for it.
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
}

# Signing in; the names are django-allauth's.
sign_in = sign_in_settings(env, https=BEHIND_HTTPS)
globals().update(sign_in)
OIDC_NAME: str = sign_in["OIDC_NAME"]
OPERATORS_NEED_SECOND_FACTOR: bool = sign_in["OPERATORS_NEED_SECOND_FACTOR"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "costtrack.formats"

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # files are served from their packages, without `collectstatic`

# --- Security --------------------------------------------------------------------------------------------------

SECURE_SSL_REDIRECT = BEHIND_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_HTTPS else 0
# Other hosts of the domain are the decision of its owner, so the checks do not ask for them.
HSTS_SCOPE = env.choice("COSTTRACK_HSTS", "host", ("host", "subdomains", "preload"))
SECURE_HSTS_INCLUDE_SUBDOMAINS = HSTS_SCOPE != "host"
SECURE_HSTS_PRELOAD = HSTS_SCOPE == "preload"
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not BEHIND_HTTPS:  # costtrack.W001 is one line about what these four report of its settings
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]
SESSION_COOKIE_SECURE = BEHIND_HTTPS
CSRF_COOKIE_SECURE = BEHIND_HTTPS
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = content_policy()

# --- The web server --------------------------------------------------------------------------------------------

WEB_LIMITS = WebLimits.read(env)
# Only the page that takes files has another handler. This one drops them, and never writes to the disk.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
FILE_UPLOAD_MAX_MEMORY_SIZE = 0

# --- Intake ----------------------------------------------------------------------------------------------------

INTAKE_MAX_BYTES = 20 * 1024 * 1024
INTAKE_MAX_EVENTS = 10_000
UPLOAD_MAX_BYTES = 20 * 1024 * 1024
# LiteLLM sends all prompts and responses along, and drops its whole batch if it is refused.
LITELLM_MAX_BYTES = 64 * 1024 * 1024
# The web server has bounded each body before, by its endpoint (`max_body_bytes` of its view).
DATA_UPLOAD_MAX_MEMORY_SIZE = LITELLM_MAX_BYTES

# --- Retention of events ---------------------------------------------------------------------------------------

# In whole months, in addition to the current one. 0: keep them permanently.
RETENTION_MONTHS = env.integer("COSTTRACK_RETENTION_MONTHS", 0)

# --- Closed organizations ----------------------------------------------------------------------------------------

# Days from closing an organization until its data is deleted. Until then it can be reopened.
CLOSING_DAYS = env.integer("COSTTRACK_CLOSING_DAYS", 30)

# --- Email ----------------------------------------------------------------------------------------------------

mail_server = env.optional(
    "COSTTRACK_EMAIL_URL", "console:", "For example smtp+starttls://user:password@mail.example:587.", parse_email_url
)
EMAIL_BACKEND = mail_server.backend
EMAIL_HOST, EMAIL_PORT = mail_server.host, mail_server.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail_server.user, mail_server.password
EMAIL_USE_TLS, EMAIL_USE_SSL = mail_server.starttls, mail_server.tls
EMAIL_FILE_PATH = mail_server.folder
EMAIL_TIMEOUT = env.integer("COSTTRACK_EMAIL_TIMEOUT", 10, minimum=1)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.optional(
    "COSTTRACK_EMAIL_FROM", "costtrack <costtrack@localhost>", "For example Costs <costs@acme.example>.", parse_sender
)
# The URL of the web UI, for links in emails.
PUBLIC_URL = env.optional(
    "COSTTRACK_PUBLIC_URL", "http://localhost:8000", "For example https://spend.acme.example.", parse_public_url
)

# --- Webhooks --------------------------------------------------------------------------------------------------

# Whether webhooks may go to private addresses, and without TLS.
WEBHOOK_PRIVATE_ADDRESSES = env.boolean("COSTTRACK_WEBHOOK_PRIVATE_ADDRESSES", default=False)

# --- HTTP APIs -------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "organizations.api.authentication.CredentialAuthentication",
        "organizations.api.authentication.BasicCredentialAuthentication",
        "organizations.api.authentication.MemberSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["costtrack.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["costtrack.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "costtrack.negotiation.ContentNegotiation",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "organizations.api.pagination.PageNumberPagination",
    "DEFAULT_SCHEMA_CLASS": "costtrack.openapi.DialectSchema",
    "URL_FORMAT_OVERRIDE": None,  # "format" is a parameter like any other
    "EXCEPTION_HANDLER": "costtrack.error_formats.exception_handler",
    "DATETIME_FORMAT": "iso-8601",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = OPENAPI

# --- Workers ---------------------------------------------------------------------------------------------------

# Celery has other names for a Unix socket and its database number.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "visibility_timeout": REDELIVERED_AFTER_SECONDS,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # by default workers and beat exit if Redis is unavailable for 50 minutes
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # by default workers exit if Redis is full and refuses writes
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # there are no results to clean up
# Queues that costtrack.queues does not list cannot be used.
CELERY_TASK_QUEUES = [BrokerQueue(queue.value, routing_key=queue.value) for queue in Queue]
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_ROUTES = task_routes()
CELERY_TASK_ANNOTATIONS = task_limits()
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = SCHEDULE
CELERY_BEAT_SCHEDULER = "costtrack.beat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5

# --- Logs ------------------------------------------------------------------------------------------------------

LOG_FORMAT = env.choice("COSTTRACK_LOG_FORMAT", "console" if DEBUG else "json", ("json", "console"))
LOG_LEVEL = env.choice("COSTTRACK_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING_CONFIG = "costtrack.logs.configure"
LOGGING = logging_config(json_lines=LOG_FORMAT == "json", level=LOG_LEVEL)

# --- Traces and logs by OpenTelemetry --------------------------------------------------------------------------

# The SDK reads its other variables (OTEL_*).
HAS_TELEMETRY = bool(env.text("OTEL_EXPORTER_OTLP_ENDPOINT", default=""))
if HAS_TELEMETRY:
    MIDDLEWARE.insert(1, "costtrack.telemetry.TraceMiddleware")

# --- Metrics ---------------------------------------------------------------------------------------------------

METRICS_TOKEN = env.optional("COSTTRACK_METRICS_TOKEN", "", "Set it to 32 random characters.", parse_token)
METRICS_FOLDER = env.folder(METRICS_FOLDER_VARIABLE)

# --- The admin's theme -----------------------------------------------------------------------------------------

UNFOLD = ADMIN_THEME
