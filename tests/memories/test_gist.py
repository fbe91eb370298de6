"""Gists: resumable, addressed by content, joined where they outgrow the window, leading back into the text."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest

from memorag_integrations.clues import Completion, Usage
from memorag_integrations.documents import Document, Shard
from memorag_integrations.errors import Cancelled, InputError, LLMError, MemoryModelError
from memorag_integrations.memories.gist import GistMemory, default_folder

from ..scripted import ScriptedLLM, text_of

TEXT = "\n\n".join(
    f"Chapter {i}. Visitor number {i} came from town{i} and bought {i * 7} lamps for the lighthouse. "
    f"The keeper wrote it down and the weather was dull, as on most days of that year." for i in range(120)
)  # fmt: skip


def gister(prompt: str) -> str:
    """First sentences for a gist; for a query about lamps, one span worded as the gist is."""
    lines = [line for line in text_of(prompt).splitlines() if line.strip()]
    if '"spans"' in prompt:
        wanted = next((line for line in lines if "town77 " in line or "town77" in line.split()), lines[0])
        return json.dumps(
            {"spans": [next((s for s in wanted.split(". ") if "town77" in s), wanted[:80])], "answer": "539 lamps"}
        )
    if "gists of consecutive" in prompt:
        return " ".join(line[: max(20, len(line) // 3)] for line in lines)
    return " ".join(line.split(". ")[1] + "." for line in lines if ". " in line)


def shard(text: str = TEXT) -> Shard:
    return Shard((Document(text, "log"),))


def model(llm: ScriptedLLM, folder: Path, **settings: object) -> GistMemory:
    return GistMemory(llm, **{"folder": folder, "stretch": 600, "words": 40, **settings})  # type: ignore[arg-type]


def test_every_stretch_is_asked_once_and_kept(tmp_path: Path) -> None:
    llm = ScriptedLLM(gister)
    seen: list[tuple[int, int]] = []
    memory = model(llm, tmp_path).form(shard(), progress=lambda stage, done, total: seen.append((done, total)))
    read = [text_of(prompt) for prompt in llm.prompts]
    assert "".join(sorted(read, key=TEXT.index)) == TEXT
    assert seen[0] == (0, len(read))
    assert seen[-1] == (len(read), len(read))
    assert len(list(tmp_path.rglob("*.json"))) == len(read)
    again = model(llm, tmp_path).form(shard())
    assert len(llm.prompts) == len(read)
    assert again.levels == memory.levels


def test_an_edit_asks_only_for_what_changed(tmp_path: Path) -> None:
    llm = ScriptedLLM(gister)
    model(llm, tmp_path).form(shard())
    asked = len(llm.prompts)
    model(llm, tmp_path).form(shard(TEXT.replace("town60", "a town by the sea")))
    assert 1 <= len(llm.prompts) - asked <= 3


@pytest.mark.parametrize("together", [1, 4])
def test_a_failure_loses_at_most_the_batch_under_way(tmp_path: Path, together: int) -> None:
    class Breaking(ScriptedLLM):
        left = 10

        def complete(self, prompt: str, *, max_tokens: int | None = None) -> Completion:
            self.left -= 1
            if self.left < 0:
                raise ConnectionError("the server went away")
            return super().complete(prompt)

    with pytest.raises(LLMError, match="the server went away"):
        model(Breaking(gister), tmp_path, together=together).form(shard())
    kept = len(list(tmp_path.rglob("*.json")))
    assert 10 - together < kept <= 10
    llm = ScriptedLLM(gister)
    memory = model(llm, tmp_path).form(shard())
    assert len(llm.prompts) == len(memory.levels[0]) - kept


def test_a_cancel_keeps_what_had_come(tmp_path: Path) -> None:
    cancel = threading.Event()

    def script(prompt: str) -> str:
        if len(llm.prompts) == 8:
            cancel.set()
        return gister(prompt)

    llm = ScriptedLLM(script, seconds=0.01)
    with pytest.raises(Cancelled):
        model(llm, tmp_path, together=2).form(shard(), cancel=cancel)
    assert len(list(tmp_path.rglob("*.json"))) >= 5
    assert not list(tmp_path.rglob(".*"))


def test_broken_gist_files_are_asked_for_anew(tmp_path: Path) -> None:
    llm = ScriptedLLM(gister)
    before = model(llm, tmp_path).form(shard()).levels
    asked = len(llm.prompts)
    files = sorted(tmp_path.rglob("*.json"))
    for file, content in zip(files, ["", "{", "[]", '{"gist": 3}', '{"gist": " "}'], strict=False):
        file.write_text(content)
    assert model(llm, tmp_path).form(shard()).levels == before
    assert len(llm.prompts) == asked + 5


def test_a_batching_model_is_asked_in_batches(tmp_path: Path) -> None:
    class Batching(ScriptedLLM):
        sizes: ClassVar[list[int]] = []

        def complete_batch(self, prompts: list[str], *, max_tokens: int | None = None) -> list[Completion]:
            self.sizes.append(len(prompts))
            return [Completion(gister(prompt), Usage(calls=1)) for prompt in prompts]

    llm = Batching(gister)
    memory = model(llm, tmp_path, together=5).form(shard())
    assert set(llm.sizes[:-1]) == {5}
    assert sum(llm.sizes) == len(memory.levels[0])


def test_a_clue_is_grounded_in_the_stretch_its_gist_stands_for(tmp_path: Path) -> None:
    memory = model(ScriptedLLM(gister), tmp_path).form(shard())
    recall = memory.recall(["Who came from town77?"], scores=[])[0]
    span = next(clue for clue in recall.clues if clue.kind == "span")
    assert span.grounding
    assert "town77" in TEXT[span.grounding.start : span.grounding.end]
    assert span.grounding.score > 0.9
    assert recall.usage.calls == 1


def test_wording_that_only_the_gist_has_leads_to_the_whole_stretch(tmp_path: Path) -> None:
    def script(prompt: str) -> str:
        if '"spans"' in prompt:
            return json.dumps({"spans": ["quixotic zebra purchase"]})
        return "Quixotic zebra purchase." if "town50 " in prompt else "Nothing of note there."

    memory = model(ScriptedLLM(script), tmp_path).form(shard())
    place = memory.recall(["zebra?"], scores=[])[0].clues[0].grounding
    assert place
    assert "town50 " in TEXT[place.start : place.end]
    assert place.score <= 0.5


def test_gists_of_gists_where_they_outgrow_the_window(tmp_path: Path) -> None:
    llm = ScriptedLLM(gister, 2000)
    built = model(llm, tmp_path, reply_tokens=256)
    memory = built.form(shard())
    assert len(memory.levels) > 1
    assert len(memory.levels[-1]) < len(memory.levels[0])
    for level in memory.levels:
        assert level[0].start == 0
        assert level[-1].end == len(TEXT)
        assert all(a.end <= b.start for a, b in pairwise(level))
    asked = len(llm.prompts)
    recall = memory.recall(["Who came from town77?"], scores=[])[0]
    assert len(llm.prompts) - asked == len(memory.parts) == 1
    assert recall.clues
    memory.save(tmp_path / "saved")
    assert built.load(tmp_path / "saved", shard()).levels == memory.levels


def test_a_model_that_does_not_compress_still_ends(tmp_path: Path) -> None:
    llm = ScriptedLLM(lambda prompt: FINE if '"spans"' in prompt else text_of(prompt), 2000)
    memory = model(llm, tmp_path, reply_tokens=256).form(shard())
    assert memory.recall(["lamps?"], scores=[])[0].clues


FINE = json.dumps({"spans": ["The keeper wrote it down"]})


@pytest.mark.parametrize("reply", ["", "I'm sorry, I can't.", "<think>hm"])
def test_a_model_that_gives_no_gist(tmp_path: Path, reply: str) -> None:
    llm = ScriptedLLM(lambda prompt: FINE if '"spans"' in prompt else reply)
    memory = model(llm, tmp_path).form(shard())
    assert memory.lost == len(memory.levels[0])
    assert not list(tmp_path.rglob("*.json"))
    recall = memory.recall(["lamps?"], scores=[])[0]
    assert recall.clues
    assert any("gave no gist" in warning for warning in recall.warnings)


def test_thoughts_and_preambles_do_not_enter_a_gist(tmp_path: Path) -> None:
    llm = ScriptedLLM(lambda prompt: "<think>let me see</think>Here is the gist:\nAnn bought lamps.")
    memory = model(llm, tmp_path).form(shard("Ann bought lamps in town. " * 12))
    assert memory.levels[0][0].text == "Ann bought lamps."


def test_documents_of_a_pack_are_not_mixed_and_short_ones_stand_for_themselves(tmp_path: Path) -> None:
    short, long = "Ann bought lamps in town.", "Bob sold nets by the pier. " * 60
    llm = ScriptedLLM(lambda prompt: '{"spans": ["Ann bought lamps"]}' if '"spans"' in prompt else "Nets were sold.")
    pack = Shard((Document(short, "a"), Document(long, "b"), Document(short.replace("Ann", "Eve"), "c")))
    memory = model(llm, tmp_path).form(pack)
    assert all(text_of(prompt) in long for prompt in llm.prompts)
    assert memory.levels[0][0].text == short
    assert memory.levels[0][-1].text == short.replace("Ann", "Eve")
    place = memory.recall(["Who bought?"], scores=[])[0].clues[0].grounding
    assert place
    assert (place.document_id, place.start, place.end) == ("a", 0, 16)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MemoryModelError, match="folder="):
        model(ScriptedLLM(gister), tmp_path / "file").form(shard())


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(GistMemory(ScriptedLLM("")).folder) == default_folder() == tmp_path / "memorag" / "gists"
    with pytest.raises(InputError, match="stretch"):
        GistMemory(ScriptedLLM(""), stretch=10)
    one, other = (model(ScriptedLLM(""), tmp_path, words=words).fingerprint for words in (100, 120))
    assert one != other


def test_the_meter_counts_forming_too(tmp_path: Path) -> None:
    built = model(ScriptedLLM(gister), tmp_path)
    memory = built.form(shard())
    assert built.usage.calls == len(memory.levels[0])
    memory.recall(["lamps?"], scores=[])
    assert built.usage.calls == len(memory.levels[0]) + 1
