"""The Celery application: `celery -A costtrack.celery worker` and `... beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init
from kombu.transport import TRANSPORT_ALIASES

from costtrack.settings import env
from costtrack.worker import Heartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costtrack.settings")

# By the scheme of the broker's URL. (The setting `broker_transport` has no effect on URLs of Unix sockets.)
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "costtrack.broker:Transport"))

app = Celery("costtrack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["costtrack", "organizations", "billing"])
app.steps["consumer"].add(Heartbeat)


@worker_init.connect
@beat_init.connect
def refuse_wrong_settings(**_: Any) -> None:
    env.exit_if_wrong()
