"""`python -m costtrack.preload` runs granian, with Django loaded in its main process.

A forked process shares the memory of its parent until one of them writes to it. What is loaded before a fork takes up
its memory once, and a process that replaces a dead one starts in a moment.
"""

import gc
import importlib
import multiprocessing
import runpy

# What the workers and the scheduler need besides Django: `celery worker` and `celery beat` load it when they start.
_OF_CELERY = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.fixups.django",
    "celery.worker.consumer",
    "costtrack.beat",
    "costtrack.broker",
)
_OF_GRANIAN = ("granian.cli", "granian.server", "uvloop")


def load_web() -> None:
    """Load Django with the code of all pages and endpoints, as the web server needs it."""
    from django.urls import reverse

    import costtrack.wsgi  # noqa: F401 - loads Django

    reverse("admin:index")  # reads all URL patterns, which each process would do otherwise


def load_everything() -> None:
    """Load what any process of `costtrack up` needs, opening no connection and starting no thread: neither would
    survive a fork."""
    load_web()
    for name in (*_OF_GRANIAN, *_OF_CELERY):
        importlib.import_module(name)
    from costtrack.celery import app

    app.loader.import_default_modules()
    app.finalize()
    # A garbage collection writes to every object that it examines, and a page that is written to is no longer shared.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    # Where processes are not forked, each has to load everything itself.
    if multiprocessing.get_start_method() == "fork":
        load_web()

    runpy.run_module("granian", run_name="__main__")
