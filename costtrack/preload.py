"""`python -m costtrack.preload` runs granian, with Django loaded in its main process.

granian forks its worker processes, and each of them would load the same modules. Loaded before that, they take up their
memory once, and a worker that replaces a dead one starts in a moment.
"""

import multiprocessing
import runpy

if __name__ == "__main__":
    # Where processes are not forked, each has to load everything itself.
    if multiprocessing.get_start_method() == "fork":
        from django.urls import get_resolver

        import costtrack.wsgi  # noqa: F401 - loads Django

        _ = get_resolver().url_patterns

    runpy.run_module("granian", run_name="__main__")
