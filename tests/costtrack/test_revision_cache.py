"""Values that are cached for one revision of their rows (`costtrack.revision_cache`)."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random

from costtrack.revision_cache import RevisionCache


def test_a_value_is_returned_for_its_revision_alone() -> None:
    cache: RevisionCache[str, int, str] = RevisionCache(2)
    cache.put("a", 1, "first")
    assert (cache.get("a", 1), cache.get("a", 2), cache.get("b", 1)) == ("first", None, None)
    assert (cache.peek("a"), cache.peek("b")) == ("first", None)
    cache.put("a", 2, "second")
    assert (cache.get("a", 1), cache.get("a", 2)) == (None, "second")


def test_a_value_is_loaded_once_for_each_revision() -> None:
    cache: RevisionCache[str, int, str] = RevisionCache(2)
    loaded: list[int] = []

    def load() -> str:
        loaded.append(len(loaded))
        return f"value {len(loaded)}"

    values = [cache.get_or_load("a", revision, load) for revision in (1, 1, 2, 2, 1)]
    assert values == ["value 1", "value 1", "value 2", "value 2", "value 3"]


def test_the_least_recently_used_value_is_dropped_first() -> None:
    cache: RevisionCache[str, int, str] = RevisionCache(2)
    for key in ("a", "b"):
        cache.put(key, 1, key)
    assert cache.get("a", 1) == "a"
    cache.put("c", 1, "c")
    assert [cache.peek(key) for key in ("a", "b", "c")] == ["a", None, "c"]


def test_values_are_bounded_by_the_sum_of_their_sizes() -> None:
    cache: RevisionCache[str, str, bytes] = RevisionCache(25, size_of=len, max_value_size=10)
    for number in range(4):
        cache.put(str(number), "s", b"x" * 10)
    cache.put("large", "s", b"x" * 11)
    cache.put("3", "t", b"x" * 5)
    assert [key for key in ("0", "1", "2", "3", "large") if cache.get(key, "s") is not None] == ["2"]
    assert cache.get("3", "t") == b"x" * 5


def test_threads_never_get_a_value_of_another_key_or_revision() -> None:
    cache: RevisionCache[int, int, tuple[int, ...]] = RevisionCache(4)

    def use(seed: int) -> list[tuple[int, ...]]:
        random = Random(seed)
        wrong: list[tuple[int, ...]] = []
        for _ in range(2000):
            key, revision = random.randrange(8), random.randrange(3)
            value = cache.get_or_load(key, revision, partial(tuple, (key, revision)))
            if value != (key, revision):
                wrong.append(value)
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert [wrong for result in pool.map(use, range(8)) for wrong in result] == []
    assert sum(cache.peek(key) is not None for key in range(8)) <= 4
