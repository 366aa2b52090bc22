"""The packages of the image (`requirements-server.txt`): a bill of materials, their licenses, and their known
vulnerabilities.

    python -m deploy.dependencies sbom > build/sbom.json      # CycloneDX 1.6
    python -m deploy.dependencies licenses > docs/licenses.md
    python -m deploy.dependencies audit                       # exit code 1 if a version has a known vulnerability
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from costtrack import __version__
from tests.locks import Pin, environments, read_lock

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-server.txt"
VULNERABILITIES = "https://api.osv.dev/v1/querybatch"
_TIMEOUT_SECONDS = 20
_CLASSIFIER = "License :: "
_MAX_LICENSE = 60


def image_packages() -> list[Pin]:
    """Return the packages that are installed in the image."""
    image = next(
        environment
        for environment in environments()
        if (environment["python_version"], environment["sys_platform"]) == ("3.12", "linux")
    )
    return [pin for pin in read_lock(LOCK) if pin.applies(image)]


def bill_of_materials(pins: Iterable[Pin]) -> dict[str, Any]:
    """Return the document as CycloneDX 1.6 describes it."""
    product = {"type": "application", "name": "costtrack", "version": __version__, "bom-ref": "costtrack"}
    components = [_component(pin) for pin in pins]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": product},
        "components": components,
        "dependencies": [{"ref": "costtrack", "dependsOn": [component["bom-ref"] for component in components]}],
    }


def license_table(pins: Iterable[Pin]) -> str:
    lines = [f"| {pin.name} | {pin.version} | {license_of(pin.name)} |" for pin in pins]
    return "\n".join([_LICENSES, *lines, ""])


def license_of(name: str) -> str:
    """Return what the package declares about its license."""
    if expression := _declared(name, "License-Expression"):
        return expression[0]
    for text in _declared(name, "License"):
        if len(text) <= _MAX_LICENSE and "\n" not in text:
            return text
    classifiers = [line for line in _declared(name, "Classifier") if line.startswith(_CLASSIFIER)]
    return ", ".join(line.rpartition(" :: ")[2] for line in classifiers)


def _declared(name: str, field: str) -> list[str]:
    return [text for text in metadata(name).get_all(field) or () if text.strip()]


def find_vulnerabilities(pins: Sequence[Pin], url: str = VULNERABILITIES) -> dict[Pin, list[str]]:
    """Return the ids of known vulnerabilities by package. Raises OSError if the database cannot be reached."""
    queries = [{"package": {"name": pin.name, "ecosystem": "PyPI"}, "version": pin.version} for pin in pins]
    request = urllib.request.Request(  # noqa: S310 - a constant with https, or a test's server
        url, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
        results = json.load(response)["results"]
    found = {pin: [known["id"] for known in result.get("vulns", ())] for pin, result in zip(pins, results, strict=True)}
    return {pin: ids for pin, ids in found.items() if ids}


def main(arguments: Sequence[str]) -> int:
    pins = image_packages()
    if arguments == ["sbom"]:
        sys.stdout.write(json.dumps(bill_of_materials(pins), indent=2) + "\n")
    elif arguments == ["licenses"]:
        sys.stdout.write(license_table(pins))
    elif arguments == ["audit"]:
        return _audit(pins)
    else:
        sys.stderr.write(__doc__ or "")
        return 2
    return 0


def _audit(pins: Sequence[Pin]) -> int:
    try:
        found = find_vulnerabilities(pins)
    except OSError as error:
        sys.stdout.write(f"NOT AUDITED: the database of vulnerabilities cannot be reached ({error}).\n")
        return 0
    for pin, ids in found.items():
        sys.stdout.write(f"{pin.name} {pin.version}: {', '.join(ids)}\n")
    sys.stdout.write(f"{len(pins)} packages audited, {len(found)} with known vulnerabilities.\n")
    return 1 if found else 0


def _component(pin: Pin) -> dict[str, Any]:
    url = f"pkg:pypi/{pin.name}@{pin.version}"
    expressions = [{"expression": expression} for expression in _declared(pin.name, "License-Expression")]
    return {
        "type": "library",
        "bom-ref": url,
        "name": pin.name,
        "version": pin.version,
        "purl": url,
        "licenses": expressions or [{"license": {"name": license_of(pin.name)}}],
    }


_LICENSES = """# Licenses

What the packages of `requirements-server.txt` declare about their licenses, by `make licenses`. They are installed
beside costtrack, and not part of it.

| package | version | license |
| --- | --- | --- |"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
