"""Mutated bodies and files for every parser: `python -m tests.fuzz [--seconds 600] [--seed 1] [--only otlp]`.

A parser may refuse an input with one of its documented errors. Anything else is a finding, and so is a result that
breaks a rule of events, or an input that takes more than two seconds. Findings and the corpus (one input for each
behavior that was seen) are stored in `build/fuzz`, and are the first inputs of the next run.
"""

import hashlib
import random
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from billing.ingest.types import Malformed, TooMany
from costtrack.errors import DomainError
from costtrack.event_files import FileError

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 2.0
_MAX_BYTES = 1 << 16

# Values that parsers of JSON get wrong.
_VALUES: tuple[bytes, ...] = (
    *(b"null", b"true", b"false", b'""', b"[]", b"{}", b"0", b"-1", b"1e400", b"-0.0", b"1E-400", b"NaN", b"Infinity"),
    *(b"9223372036854775808", b"1.0", b"0.1", b'"1"', b'"\\u0000"', b'"\\ud800"', b'"a\\nb"', b'"' + b"x" * 300 + b'"'),
    *(b'"2026-13-45T99:99:99Z"', b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:59.999999+14:00"', b"[[]]", b"[{}]"),
    *(b'"1e999999999"', b"123456789012345678901234567890", b'{"":{}}', b"[" * 200 + b"]" * 200),
)
_SCALAR = re.compile(rb'"(?:[^"\\]|\\.){0,200}"|-?\d[\d.eE+-]*|true|false|null')


@dataclass(frozen=True)
class Target:
    """A parser, and examples of what it reads. `run` returns a short description of the result."""

    name: str
    run: Callable[[bytes], str]
    seeds: Sequence[bytes]


@dataclass
class Outcome:
    """What happened to a target: inputs, behaviors by their description, and findings by their place in the code."""

    inputs: int = 0
    corpus: dict[str, bytes] = field(default_factory=dict)
    findings: dict[str, bytes] = field(default_factory=dict)


def fuzz(target: Target, seeds: Sequence[bytes], generator: random.Random, *, seconds: float, inputs: int) -> Outcome:
    """Try the seeds and then mutations of what is in the corpus, until the time or the number of inputs is over."""
    outcome = Outcome()
    deadline = time.monotonic() + seconds
    for seed in seeds:
        _try(target, seed, outcome)
    while outcome.inputs < inputs and time.monotonic() < deadline:
        _try(target, mutate(generator, list(outcome.corpus.values()) or list(seeds)), outcome)
    return outcome


def mutate(generator: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return a changed copy of one of the inputs."""
    body = bytearray(generator.choice(corpus))
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        start = generator.randrange(len(body) + 1)
        end = min(len(body), start + generator.choice((1, 2, 8, 64)))
        match generator.randrange(7):
            case 0:
                body[start:end] = generator.randbytes(end - start)
            case 1:
                del body[start:end]
            case 2:
                body[start:start] = body[start:end] * generator.choice((1, 2, 50))
            case 3:
                other = generator.choice(corpus)
                position = generator.randrange(len(other) + 1)
                body[start:end] = other[position : position + 200]
            case 4:
                body[start:start] = bytes([generator.choice((0, 0x22, 0x5B, 0x7B, 0x7D, 0x80, 0xFF))])
            case _:
                _replace_value(generator, body)
    return bytes(body[:_MAX_BYTES])


def _replace_value(generator: random.Random, body: bytearray) -> None:
    """Replace a text, number or constant of JSON by one that is hard to read."""
    scalars = list(_SCALAR.finditer(bytes(body)))
    if scalars:
        match = generator.choice(scalars)
        body[match.start() : match.end()] = generator.choice(_VALUES)


def _try(target: Target, body: bytes, outcome: Outcome) -> None:
    outcome.inputs += 1
    started = time.process_time()
    try:
        behavior = target.run(body)
    except (Malformed, TooMany, DomainError, FileError) as error:
        behavior = f"{type(error).__name__} {re.sub(r'[^a-zA-Z ]', '', str(error))[:60]}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(ROOT) in frame.filename]
        last = frames[-1]
        location = f"{type(error).__name__} in {Path(last.filename).relative_to(ROOT)}:{last.lineno}"
        outcome.findings.setdefault(location, body)
        return
    if time.process_time() - started > MAX_SECONDS:
        outcome.findings.setdefault("takes too long", body)
    outcome.corpus.setdefault(behavior, body)


def stored(folder: Path, name: str) -> list[bytes]:
    """Return the corpus and the findings of earlier runs."""
    return [path.read_bytes() for path in sorted(folder.glob(f"{name}/*/*"))]


def store(folder: Path, name: str, outcome: Outcome) -> None:
    for kind, inputs in (("corpus", outcome.corpus), ("findings", outcome.findings)):
        for body in inputs.values():
            path = folder / name / kind / hashlib.sha256(body).hexdigest()[:24]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
