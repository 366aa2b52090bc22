"""Identifiers use the words of docs/glossary.md, not those that its last table rules out.

The list of what is still there may only shrink: a new word fails, and so does a listed one that has gone.
`python tests/test_vocabulary.py` prints the list as it is now.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks", "billing", "costtrack", "docs", "examples", "organizations", "tests")

REFUSED = frozenset(
    {
        *("told", "tell", "tells", "telling", "asked", "wanted", "question", "questions", "kept", "anew"),
        *("dear", "dearer", "dearest", "place", "places", "book", "books", "shelf", "shelves", "standing", "standings"),
        *("nudge", "nudges", "nudged", "waits", "waiting", "ours", "door", "doors", "room", "rooms"),
        *("looks", "crossing", "crossings"),
    }
)
REFUSED_NAMES = frozenset({"one"})
"""Words that may be a part of a name, but not the name itself."""
REFUSED_PREFIXES = ("MOST_", "LONGEST_")

# What Django and other libraries name, and the one book of the glossary: a set of prices.
_ACCEPTED = re.compile(r"decimal_places|price_?books?|PriceBook", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NO_WRITER_USES = re.compile(
    r"\b(e-mail|anew|whoever|whatever|nobody|somebody|dearest|by itself|for good|goes on)\b|\d %(?!\()|"
    r"\b(told|look at|what waits)\b",
    re.IGNORECASE,
)
"""Words of docs/glossary.md, and ways to write percentages, that texts for users do not have."""

# Words that files still use in identifiers. No word and no file is added here.
STILL_USED: dict[str, str] = {}


def identifiers(tree: ast.AST) -> Iterator[str]:
    """The names that a file defines: functions, classes, parameters, variables, attributes and imports' new names."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name


@cache
def refused_words(identifier: str) -> set[str]:
    words = {word.lower() for word in _WORD.findall(_ACCEPTED.sub("", identifier))}
    if identifier.strip("_") in REFUSED_NAMES:
        return {identifier}
    prefixes = {prefix for prefix in REFUSED_PREFIXES if identifier.lstrip("_").startswith(prefix)}
    return words & REFUSED | prefixes


@cache
def used() -> dict[str, str]:
    """By file: the refused words in its identifiers, in order. Only files with such a word somewhere are parsed."""
    found = {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        if "migrations" in path.parts:
            continue
        source = path.read_text(encoding="utf-8")
        if not any(map(refused_words, set(_NAME.findall(source)))):
            continue
        names = set(identifiers(ast.parse(source)))
        if words := set().union(*map(refused_words, names)):
            found[str(path.relative_to(ROOT))] = " ".join(sorted(words))
    return found


def _words(of_files: dict[str, str]) -> set[tuple[str, str]]:
    return {(path, word) for path, words in of_files.items() for word in words.split()}


def test_no_identifier_has_a_word_that_is_not_used_any_more() -> None:
    assert sorted(_words(used()) - _words(STILL_USED)) == []


def test_the_list_of_words_that_are_still_used_only_shrinks() -> None:
    assert sorted(_words(STILL_USED) - _words(used())) == []


def test_the_glossary_lists_the_refused_words() -> None:
    table = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").rpartition("| not | but |")[2]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| ") and "---" not in row]
    listed = {word.lower() for row in rows for word in re.findall(r"[A-Za-z]+", re.sub(r"\(.*?\)", "", row))}

    assert listed - REFUSED <= {"most", "x", "longest", *REFUSED_NAMES}
    assert {"told", "asked", "place", "door"} <= listed


def texts(path: Path) -> Iterator[str]:
    """The strings of a module without docstrings, and the text of a template without comments and tags."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}|\{[%{].*?[%}]\}", " ", source, flags=re.DOTALL)
        return
    documentation = set()
    for node in ast.walk(ast.parse(source)):  # each before those that it contains
        if isinstance(node, ast.Expr):
            documentation.add(id(node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_no_text_for_users_has_a_word_that_no_writer_would_use() -> None:
    files = [
        path
        for folder in ("billing", "costtrack", "organizations", "templates")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".html", ".txt") and "migrations" not in path.parts
    ]
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        for text in texts(path)
        if (match := _NO_WRITER_USES.search(text))
    }
    assert found == set()
    assert len(files) > 400


if __name__ == "__main__":
    for path, words in used().items():
        print(f'    "{path}": "{words}",')  # noqa: T201 - this is the command's output
