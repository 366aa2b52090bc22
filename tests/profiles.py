"""How much the tests try.

The short profile is for each change: few examples of Hypothesis, the same ones in every run, so that a failure comes
from the change. With `COSTTRACK_TEST_PROFILE=long` there are thirty times as many, and new ones in each run. Other
numbers, such as how often a process is killed, are larger in the long profile, too (`choose`).
"""

import os

from hypothesis import HealthCheck, Phase, settings

NAME = os.environ.get("COSTTRACK_TEST_PROFILE", "short")
IS_LONG = NAME == "long"
TIMEOUT_SECONDS = 4 * 60 * 60
"""Of one test in the long profile."""

_FACTOR = 30
_DEFAULT_EXAMPLES = 100
# Neither a busy machine nor one slow example is a fault. Tests undo what an example has changed, so that the fixtures
# of the function are as good as new.
_SUPPRESSED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)

settings.register_profile(
    "short", max_examples=_DEFAULT_EXAMPLES, derandomize=True, deadline=None, suppress_health_check=_SUPPRESSED
)
settings.register_profile(
    "long",
    max_examples=_DEFAULT_EXAMPLES * _FACTOR,
    deadline=None,
    print_blob=True,
    suppress_health_check=_SUPPRESSED,
)
settings.load_profile(NAME)


def choose(short: int, *, long: int) -> int:
    """One of two numbers, by the profile."""
    return long if IS_LONG else short


def count(short: int) -> int:
    """How many examples there are in this profile, if there are `short` in the short one."""
    return short * _FACTOR if IS_LONG else short


def examples(short: int, *, steps: int | None = None, shrinks: bool = True) -> settings:
    """Settings of one test. `steps` are those of an example of a state machine. An example that takes seconds is not
    made smaller when it fails (`shrinks=False`)."""
    profile = settings.get_profile(NAME)
    return settings(
        profile,
        max_examples=count(short),
        stateful_step_count=steps or profile.stateful_step_count,
        phases=profile.phases if shrinks else (Phase.explicit, Phase.reuse, Phase.generate),
    )
