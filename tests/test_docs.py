"""What the documentation names exists: files in backticks, and the targets of links."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
TOP = ("benchmarks", "billing", "costtrack", "deploy", "docs", "examples", "organizations", "templates", "tests", ".ci")
# In recipes: files that a reader adds, and an ellipsis.
_ADDED = re.compile(r"acme|\.\.\.")
_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_DEFINITION = re.compile(r"(?P<path>[\w/]+\.py):(?P<name>\w+)")
_DOTTED = re.compile(r"(?:billing|costtrack|organizations|tests)(?:\.[A-Za-z_]+)+")  # not the id of a check
_PATH = re.compile(rf"(?:{'|'.join(map(re.escape, TOP))})/[\w./*-]*")


def text_of(page: Path) -> str:
    """The page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def paths_in(text: str) -> Iterator[str]:
    """`billing/models/ledger.py:UsageEvent` names a file as well."""
    for code in _CODE.findall(text):
        path = re.sub(r":[\w.]+$", "", code)
        if _PATH.fullmatch(path) and not _ADDED.search(path):
            yield path


def definitions_in(text: str) -> Iterator[tuple[str, str]]:
    """The path and the name of each `billing/models/ledger.py:UsageEvent` and `billing.models.ledger.UsageEvent`."""
    for code in _CODE.findall(text):
        if match := _DEFINITION.fullmatch(code):
            yield match["path"], match["name"]
        elif _DOTTED.fullmatch(code):
            path, _, name = code.replace(".", "/").rpartition("/")
            if is_task(code):
                continue
            is_module = exists(f"{path}/{name}.py") or exists(f"{path}/{name}/__init__.py")
            yield (f"{path}/{name}", "") if is_module else (f"{path}.py", name)


def is_task(name: str) -> bool:
    return f'name="{name}"' in (ROOT / "billing" / "tasks.py").read_text(encoding="utf-8")


def defines(path: str, name: str) -> bool:
    """Whether a module (without a suffix: itself) defines a function, a class or a constant."""
    if not name:
        return exists(f"{path}*")
    files = [ROOT / path, ROOT / path.removesuffix(".py") / "__init__.py"]
    pattern = re.compile(rf"^ *(?:(?:async )?def|class) {name}\b|^{name}\b.*=|^    \"{name}\",$", re.MULTILINE)
    return any(pattern.search(file.read_text(encoding="utf-8")) for file in files if file.is_file())


def exists(path: str) -> bool:
    return any(ROOT.glob(path.rstrip("/")))


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = _HEADING.findall(text_of(page))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def is_broken(page: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return False
    target, _, anchor = link.partition("#")
    file = (page.parent / target).resolve() if target else page
    return not file.exists() or (anchor != "" and anchor not in anchors_of(file))


def test_every_path_that_a_page_names_exists() -> None:
    named = [(page, path) for page in PAGES for path in paths_in(text_of(page))]
    assert len(named) > 100
    assert [f"{page.relative_to(ROOT)}: {path}" for page, path in named if not exists(path)] == []


def test_every_function_and_class_that_a_page_names_exists() -> None:
    named = [(page, *definition) for page in PAGES for definition in definitions_in(text_of(page))]
    assert len(named) > 10
    wrong = [f"{page.relative_to(ROOT)}: {path}:{name}" for page, path, name in named if not defines(path, name)]
    assert wrong == []


def test_every_relative_link_leads_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in _LINK.findall(text_of(page))]
    assert len(links) > 50
    assert [f"{page.relative_to(ROOT)}: {link}" for page, link in links if is_broken(page, link)] == []


def test_documents_that_the_code_names_exist() -> None:
    sources = [path for top in TOP for path in (ROOT / top).rglob("*.py") if path != Path(__file__)]
    named = re.compile(r"\bdocs/[\w/.-]+\.md\b")
    found = [(path, name) for path in sources for name in named.findall(path.read_text(encoding="utf-8"))]
    assert found
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in found if not exists(name)] == []
    assert [path for path in sources if re.search(r"\bdesign (?:decision|section)s? \d", path.read_text("utf-8"))] == []


def test_the_checks_see_what_is_wrong() -> None:
    assert list(paths_in("`billing/nothing.py:Name`, `billing/x`, `docs/acme.md` and `a/b.py`")) == [
        "billing/nothing.py",
        "billing/x",
    ]
    assert not exists("billing/nothing.py")
    assert list(
        definitions_in(
            "`billing/apps.py:Nothing`, `billing.apps`, `billing.apps.Nothing`, `billing.fold`, `billing.no`"
        )
    ) == [
        ("billing/apps.py", "Nothing"),
        ("billing/apps", ""),
        ("billing/apps.py", "Nothing"),
        ("billing.py", "no"),
    ]
    assert not defines("billing/apps.py", "Nothing")
    assert defines("billing/apps.py", "BillingConfig")
    assert is_broken(ROOT / "README.md", "docs/nothing.md")
    assert is_broken(ROOT / "README.md", "docs/glossary.md#nothing")
    assert not is_broken(ROOT / "docs" / "glossary.md", "glossary.md#rollups-and-reports")


def test_every_module_that_takes_a_lock_is_in_the_page_about_locking() -> None:
    page = (ROOT / "docs" / "locking.md").read_text(encoding="utf-8")
    takes_one = re.compile(r"select_for_update\(|\bFOR (?:NO KEY )?UPDATE\b(?! or)|advisory_xact_lock|\bLOCK TABLE\b")
    sources = [path for top in ("billing", "costtrack", "organizations") for path in (ROOT / top).rglob("*.py")]
    modules = [path for path in sources if takes_one.search(path.read_text(encoding="utf-8"))]

    assert len(modules) > 30
    assert sorted(str(path.relative_to(ROOT)) for path in modules if not re.search(rf"\b{path.name}\b", page)) == []
