"""The headers about HTTPS."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
from costtrack import settings
print(settings.SECURE_HSTS_SECONDS, settings.SECURE_HSTS_INCLUDE_SUBDOMAINS, settings.SECURE_HSTS_PRELOAD)
"""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"COSTTRACK_HTTPS": "true"}, "31536000 False False"),
        ({"COSTTRACK_HTTPS": "true", "COSTTRACK_HSTS": "subdomains"}, "31536000 True False"),
        ({"COSTTRACK_HTTPS": "true", "COSTTRACK_HSTS": "preload"}, "31536000 True True"),
        ({"COSTTRACK_HTTPS": "false"}, "0 False False"),
    ],
)
def test_hsts_is_about_this_host_unless_configured(variables: dict[str, str], expected: str) -> None:
    environment = {**os.environ, **variables}
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == expected
