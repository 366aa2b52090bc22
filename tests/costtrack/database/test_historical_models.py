"""What migrations render again after an operation, in a project of five models."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models
from django.db.migrations.operations import AddField, CreateModel, RenameModel
from django.db.migrations.state import ProjectState

from costtrack.database.historical_models import only_dependents


def _key(to: str) -> Any:
    return models.ForeignKey(to, models.CASCADE)


@pytest.fixture
def state() -> Iterator[ProjectState]:
    state = ProjectState()
    _change(state, CreateModel("Organization", [("id", models.AutoField(primary_key=True))]))
    assert state.apps.ready
    with only_dependents():
        _change(
            state,
            CreateModel(
                "Team", [("slug", models.TextField(primary_key=True)), ("organization", _key("o.organization"))]
            ),
        )
        _change(state, CreateModel("Tag", [("organization", _key("o.organization")), ("parent", _key("self"))]))
        _change(state, CreateModel("Limit", [("team", _key("o.team")), ("tags", models.ManyToManyField("o.tag"))]))
        _change(state, CreateModel("TeamLimit", [], options={"proxy": True}, bases=("o.limit",)))
        yield state


def _change(state: ProjectState, operation: Any) -> None:
    operation.state_forwards("o", state)


def _classes(state: ProjectState) -> dict[str, Any]:
    return {model.__name__: model for model in state.apps.get_models()}


def test_those_that_refer_to_the_changed_model_are_rendered_with_it(state: ProjectState) -> None:
    before = _classes(state)
    _change(state, AddField("Team", "name", models.TextField(default="")))
    after = _classes(state)
    assert {name for name in after if after[name] is not before[name]} == {"Team", "Limit", "TeamLimit"}
    assert after["Limit"]._meta.get_field("team").related_model is after["Team"]
    assert issubclass(after["TeamLimit"], after["Limit"])
    assert {field.name for field in after["Team"]._meta.related_objects} == {"limit"}


def test_a_new_model_is_found_from_the_one_that_it_refers_to(state: ProjectState) -> None:
    organization = _classes(state)["Organization"]
    _change(state, CreateModel("Project", [("organization", _key("o.organization"))]))
    assert _classes(state)["Organization"] is organization
    assert {relation.name for relation in organization._meta.related_objects} == {"team", "tag", "project"}


def test_tables_of_many_to_many_relations_lead_to_the_new_class(state: ProjectState) -> None:
    _change(state, AddField("Tag", "color", models.TextField(default="")))
    limit, tag = (_classes(state)[name] for name in ("Limit", "Tag"))
    assert limit._meta.get_field("tags").related_model is tag
    assert limit.tags.through._meta.get_field("tag").related_model is tag


def test_the_table_of_a_many_to_many_relation_may_have_columns_of_its_own(state: ProjectState) -> None:
    _change(state, CreateModel("Use", [("team", _key("o.team")), ("tag", _key("o.tag"))]))
    _change(state, AddField("Team", "used", models.ManyToManyField("o.tag", through="o.use")))
    _change(state, AddField("Use", "at", models.DateField(null=True)))
    assert _classes(state)["Team"].used.through is _classes(state)["Use"]


def test_a_renamed_model_is_referred_to_by_its_new_class(state: ProjectState) -> None:
    _change(state, RenameModel("Team", "Group"))
    after = _classes(state)
    assert "Team" not in after
    assert after["Limit"]._meta.get_field("team").related_model is after["Group"]


def test_python_code_of_a_migration_works_with_a_state_that_is_rendered_as_a_whole(state: ProjectState) -> None:
    assert state.is_delayed
    before = _classes(state)
    state.clear_delayed_apps_cache()
    assert not set(before.values()) & set(_classes(state).values())
