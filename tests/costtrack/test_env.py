"""Reading environment variables: strict, and every mistake is remembered with a hint."""

from pathlib import Path

import pytest

from costtrack.env import Environment, parse_database_url, parse_redis_url


def names_of_problems(environment: Environment) -> list[str]:
    return [problem.name for problem in environment.problems]


@pytest.mark.parametrize(
    ("raw", "expected"), [("true", True), ("1", True), ("On", True), ("false", False), ("0", False), ("NO", False)]
)
def test_a_boolean_has_a_few_spellings(raw: str, *, expected: bool) -> None:
    environment = Environment({"X": raw})
    assert environment.boolean("X", default=not expected) is expected
    assert environment.problems == []


@pytest.mark.parametrize("raw", ["", "maybe", "2", " true"])
def test_any_other_boolean_is_a_problem_and_the_default_is_used(raw: str) -> None:
    environment = Environment({"X": raw})
    assert environment.boolean("X", default=True) is True
    assert names_of_problems(environment) == ["X"]


def test_a_variable_that_is_not_set_has_its_default() -> None:
    environment = Environment({})
    assert environment.boolean("A", default=True) is True
    assert environment.integer("B", 7) == 7
    assert environment.comma_separated("C", "x,y") == ["x", "y"]
    assert environment.choice("D", "json", ("json", "console")) == "json"
    assert environment.secret("E", "none") == "none"
    assert environment.problems == []


@pytest.mark.parametrize("raw", ["", "-1", "3.5", "x", "0", "१"])
def test_a_number_that_is_not_whole_or_too_small_is_a_problem(raw: str) -> None:
    environment = Environment({"X": raw})
    assert environment.integer("X", 16, minimum=1) == (1 if raw == "१" else 16)
    assert names_of_problems(environment) == ([] if raw == "१" else ["X"])


def test_a_number_that_is_too_large_is_a_problem() -> None:
    environment = Environment({"X": "11", "Y": "10"})
    assert environment.integer("Y", 3, maximum=10) == 10
    assert environment.integer("X", 3, maximum=10) == 3
    assert [problem.message for problem in environment.problems] == ["'11' is not a whole number from 0 to 10."]


def test_words_lose_their_blanks_and_empty_ones_are_dropped() -> None:
    assert Environment({"X": " a.example, ,b.example ,"}).comma_separated("X") == ["a.example", "b.example"]


def test_a_choice_outside_the_list_is_a_problem_that_names_the_list() -> None:
    environment = Environment({"X": "xml"})
    assert environment.choice("X", "json", ("json", "console")) == "json"
    assert "json, console" in environment.problems[0].message


def test_a_secret_may_come_from_a_file_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    environment = Environment({"X_FILE": str(tmp_path / "secret")})
    assert environment.secret("X") == "s3cret"
    assert environment.problems == []


def test_a_secret_given_twice_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file")
    environment = Environment({"X": "direct", "X_FILE": str(tmp_path / "secret")})
    assert environment.secret("X") == "direct"
    assert names_of_problems(environment) == ["X"]


def test_a_secret_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    environment = Environment({"X_FILE": str(tmp_path / "none"), "Y_FILE": str(tmp_path / "binary")})
    assert environment.secret("X") == ""
    assert environment.secret("Y", "default") == "default"
    assert names_of_problems(environment) == ["X_FILE", "Y_FILE"]


def test_what_is_required_and_not_set_is_a_problem_with_a_hint() -> None:
    environment = Environment({"B": ""})
    assert environment.required("A", "stand-in", "Set A.", str) == "stand-in"
    assert environment.required("B", "stand-in", "Set B.", str) == "stand-in"
    assert [(problem.message, problem.hint) for problem in environment.problems] == [
        ("It is not set.", "Set A."),
        ("It is not set.", "Set B."),
    ]


def test_a_database_url_names_a_postgresql_database() -> None:
    settings = parse_database_url("postgresql://me:secret@db.example:6432/spend?sslmode=require")
    assert (settings["HOST"], settings["PORT"], settings["NAME"]) == ("db.example", 6432, "spend")
    assert settings["OPTIONS"] == {"sslmode": "require"}


@pytest.mark.parametrize(
    "url", ["mysql://me:hidden@db.example/x", "hidden", "postgresql://me:hidden@db.example:port/x"]
)
def test_a_database_url_that_is_of_no_use_is_a_problem_that_does_not_show_it(url: str) -> None:
    environment = Environment({"DATABASE_URL": url})
    settings = environment.required("DATABASE_URL", "postgresql:///costtrack", "Set it.", parse_database_url)
    assert settings["NAME"] == "costtrack"
    assert names_of_problems(environment) == ["DATABASE_URL"]
    assert "hidden" not in environment.problems[0].message


@pytest.mark.parametrize("url", ["redis://r.example:6379/0", "rediss://r.example", "unix:///run/redis.sock"])
def test_a_redis_url_is_taken_as_it_is(url: str) -> None:
    assert Environment({"REDIS_URL": url}).required("REDIS_URL", "redis://localhost", "", parse_redis_url) == url


def test_a_redis_url_that_is_of_no_use_is_a_problem_that_does_not_show_it() -> None:
    environment = Environment({"REDIS_URL": "amqp://me:hidden@mq.example"})
    assert environment.required("REDIS_URL", "redis://localhost", "Set it.", parse_redis_url) == "redis://localhost"
    assert names_of_problems(environment) == ["REDIS_URL"]
    assert "hidden" not in environment.problems[0].message


def test_a_process_that_serves_does_not_start_with_a_problem() -> None:
    environment = Environment({})
    environment.exit_if_wrong()
    environment.required("DATABASE_URL", "postgresql:///costtrack", "Set it.", parse_database_url)
    with pytest.raises(SystemExit, match=r"DATABASE_URL: It is not set\."):
        environment.exit_if_wrong()
