"""The product's settings, with the yardsticks' views beside its own: both are served by the same workers."""

from costtrack.settings import *  # noqa: F403 - the very same settings

ROOT_URLCONF = "benchmarks.yardstick_urls"
