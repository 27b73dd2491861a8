"""The caches of `Upstream`: bounded, and without the entries of a provider that is forgotten."""

from protocol.replies import ModelList
from sidecar.catalogue.corrections import Refreshed
from sidecar.upstream.caches import MAX_MODEL_LISTS, CachedModelList, LruCache, ModelListKey
from tests.support import upstream


def test_the_least_recently_used_value_is_dropped_first() -> None:
    cache = LruCache[str, int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert list(cache) == ["a", "c"]
    cache.put("a", 4)
    cache.put("d", 0)
    assert [cache.get(key) for key in "abcd"] == [4, None, None, 0]


def test_values_are_removed_by_their_keys() -> None:
    cache = LruCache[int, str](10)
    for number in range(6):
        cache.put(number, "x")
    cache.remove_where(lambda key: key % 2 == 0)
    assert list(cache) == [1, 3, 5]


async def test_lists_of_models_are_bounded_and_forgotten_with_their_provider() -> None:
    models = ModelList(models=[], source="provider", fetched_at="2026-11-21T12:00:00+00:00")
    listed = CachedModelList(asked_at=0.0, own=models, refreshed=Refreshed(), completed=models)
    async with upstream.running() as up:
        for number in range(MAX_MODEL_LISTS + 2):
            up.model_lists.put(ModelListKey("openai" if number % 2 else "groq", "https://models.test", number), listed)
        assert len(up.model_lists) == MAX_MODEL_LISTS
        up.forget_provider("openai")
        assert {key.provider for key in up.model_lists} == {"groq"}
