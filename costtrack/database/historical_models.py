"""Render fewer of the historical models that migrations work with.

After each operation, Django renders all models that have any relation with the changed one, in either direction. Every
model has an organization, so these are always all models: thousands of classes, which took nine tenths of the time of
the first `migrate`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.migrations.state import ProjectState
from django.db.models.fields.related import RECURSIVE_RELATIONSHIP_CONSTANT

ModelKey = tuple[str, str]
"""App label and name in lower case, as in `ProjectState.models`."""

# Django has no public place for this: `ProjectState` copies itself, so a subclass would be lost.
_METHOD = "_find_reload_model"


@contextmanager
def only_dependents() -> Iterator[None]:
    """While the block runs, an operation renders the changed model and those that refer to it, directly or through
    others. Their foreign keys would lead to the old class; reverse relations are found by name."""
    original = getattr(ProjectState, _METHOD)
    setattr(ProjectState, _METHOD, _changed_and_dependents)
    try:
        yield
    finally:
        setattr(ProjectState, _METHOD, original)


def _changed_and_dependents(state: ProjectState, app_label: str, model_name: str, *_delay: bool) -> set[ModelKey]:
    # Before Python code of a migration runs, Django renders everything of such a state.
    state.is_delayed = True
    referenced = {key: set(_references(key, model)) for key, model in state.models.items()}
    found: set[ModelKey] = set()
    added = {(app_label, model_name)}
    while added:
        found |= added
        added = {key for key, references in referenced.items() if references & added} - found
    return found


def _references(key: ModelKey, model: Any) -> Iterator[ModelKey]:
    """The models that a model refers to: bases, foreign keys, and tables of many-to-many relations."""
    relations = [field.remote_field for field in model.fields.values() if field.is_relation]
    targets = [target for relation in relations for target in (relation.model, getattr(relation, "through", None))]
    for target in (*targets, *model.bases):
        if isinstance(target, str) and target != RECURSIVE_RELATIONSHIP_CONSTANT:
            label, _, name = target.rpartition(".")
            yield label or key[0], name.lower()
