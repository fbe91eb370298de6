"""The fault test of filters in a short form; `python -m tests.faults.filters` examines a thousand corpora."""

import pytest

from memorag_integrations import pipeline
from memorag_integrations.memories.recall_cache import CachedMemoryModel
from tests.faults import filters


@pytest.mark.parametrize("name", [*filters.MEMORIES, *filters.KV_MEMORIES])
def test_nothing_excluded_comes_back(name, tmp_path):
    worlds = [filters.examine(f"short {n}", name, tmp_path) for n in range(1 if name in filters.KV_MEMORIES else 5)]
    assert [leak for world in worlds for leak in world.leaks] == []
    if name in ("llm", "random", "gist"):
        assert sum(world.heard for world in worlds) > 0


def test_a_leak_is_told(tmp_path, monkeypatch):
    """Without the one fence prompts leak, without the other clues do."""
    monkeypatch.setattr(CachedMemoryModel, "reads_text", lambda self, memory: False)
    worlds = [filters.examine(f"canary {n}", "llm", tmp_path) for n in range(6)]
    assert "prompts" in {kind for world in worlds for kind, _ in world.leaks}
    monkeypatch.undo()
    monkeypatch.setattr(pipeline, "without_excluded", lambda corpus, query, recalls, admitted: recalls)
    worlds = [filters.examine(f"canary {n}", "own", tmp_path) for n in range(6)]
    assert {"clues", "provenance"} <= {kind for world in worlds for kind, _ in world.leaks}
