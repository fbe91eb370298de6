"""The long-context memory: the same continuation with the cache and from scratch, nothing copied, and what can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from memorag_integrations import registry
from memorag_integrations.decoding import causal
from memorag_integrations.decoding.causal import PrefixBranches
from memorag_integrations.decoding.generation import Sampling
from memorag_integrations.decoding.quantised import bytes_of
from memorag_integrations.documents import Document, Shard
from memorag_integrations.engine import MemoRAG
from memorag_integrations.errors import InputError, MemoryModelError
from memorag_integrations.memories.beacon import BeaconMemory
from memorag_integrations.memories.longcontext import FormedLongContextMemory, LongContextMemory
from tests.beacon.test_branching import CountBytes
from tests.beacon.tiny import add_tokenizer
from tests.memories.test_memories import BRIEF

TEXT = "Mira kept the blue lantern in the attic. Joss sold it to a ferryman for nine coins. " * 6
SHARD = Shard((Document(TEXT),))
FAMILIES = ["qwen2", "qwen3", "llama", "mistral"]
SCALED = {
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    | {"original_max_position_embeddings": 256, "rope_theta": 10000.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "rope_theta": 10000.0},
    "linear": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
}


@pytest.fixture
def make(checkpoints: Callable[..., Path]) -> Callable[..., LongContextMemory]:
    def build(family: str = "qwen2", changes: dict[str, Any] | None = None, **settings: Any) -> LongContextMemory:
        wide = {"max_position_embeddings": 2048, "sliding_window": None}
        folder = checkpoints(family, **{**wide, **(changes or {})})
        settings = {"device": "cpu", "prompts": BRIEF, "sampling": Sampling(max_tokens=8), **settings}
        return LongContextMemory(str(folder), **settings)

    return build


@pytest.fixture
def memory(make: Callable[..., LongContextMemory]) -> FormedLongContextMemory:
    return make().form(SHARD)


@contextmanager
def fed(model: LongContextMemory) -> Iterator[list[int]]:
    """The tokens of every pass through the model."""
    seen: list[int] = []
    embedding = model.decoder.model.get_input_embeddings()
    hook = embedding.register_forward_hook(lambda module, given, made: seen.append(given[0].numel()))
    try:
        yield seen
    finally:
        hook.remove()


def anew(folder: str, ids: list[int], count: int) -> list[int]:
    """Greedy tokens of the stock model, which reads everything again for each of them."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found: list[int] = []
    with torch.inference_mode():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([ids + found]), use_cache=False).logits
            found.append(int(logits[0, -1].argmax()))
    return found


def continued(memory: FormedLongContextMemory, prompt: list[int], count: int) -> list[int]:
    """Greedy tokens of the second of two branches over a memory."""
    branches = memory.branches(0, 2)
    logits = branches.feed([prompt[:3], prompt])[1]
    found: list[int] = []
    for _ in range(count):
        assert logits is not None
        found.append(int(logits.argmax()))
        logits = branches.feed([[7], [found[-1]]])[1]
    return found


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_continuation_with_the_cache_and_from_scratch(
    make: Callable[..., LongContextMemory], family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(causal, "PIECE", 100)
    model = make(family)
    memory = model.form(SHARD)
    ids = model.chat.reading(model.texts.read(TEXT), model.texts.acknowledgement)
    prompt = model.chat.task("Who sold it?")
    expected = anew(model.model_name_or_path, ids + prompt, 6)
    assert continued(memory, prompt, 6) == expected
    memory.save(tmp_path / "m")
    loaded = make(family).load(tmp_path / "m", SHARD)
    assert continued(loaded, prompt, 6) == expected
    # The text matters: without it, or with other numbers in the cache, the model goes on otherwise.
    assert anew(model.model_name_or_path, prompt, 6) != expected
    spoilt = [(keys.flip(2), values) for keys, values in memory.entries]
    assert continued(FormedLongContextMemory(model, SHARD, memory.parts, spoilt), prompt, 6) != expected


@pytest.mark.parametrize("kind", SCALED)
def test_scaled_rope(make: Callable[..., LongContextMemory], kind: str) -> None:
    model = make("llama", {"rope_parameters": SCALED[kind]})
    ids = model.chat.reading(model.texts.read(TEXT), model.texts.acknowledgement)
    prompt = model.chat.task("Who sold it?")
    assert continued(model.form(SHARD), prompt, 6) == anew(model.model_name_or_path, ids + prompt, 6)


def test_reading_is_in_pieces_without_logits_and_moves_nothing(
    make: Callable[..., LongContextMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal, "PIECE", 100)
    model = make()
    rows: list[int] = []
    hook = model.decoder.model.lm_head.register_forward_hook(lambda module, given, made: rows.append(made.shape[1]))
    done: list[int] = []
    with fed(model) as seen:
        memory = model.form(SHARD, progress=lambda stage, now, total: done.append(now))
    assert not rows
    assert max(seen) == 100
    assert sum(seen) == memory.token_count == done[-1]
    memory.answer("Who?")
    hook.remove()
    assert sum(rows) <= 8  # one row for each token that is written
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for pair in memory.entries for tensor in pair)


def test_a_second_query_reads_no_token_of_the_text(memory: FormedLongContextMemory) -> None:
    model = memory.model
    for query in ("Who sold it?", "What did it cost?"):
        with fed(model) as seen:
            usage = memory.recall([query])[0].usage
        prompts = sum(len(model.chat.task(model.texts.ask(t, query))) for t in ("spans", "questions", "answer"))
        assert usage.tokens_read == prompts
        assert usage.tokens_cached == 3 * memory.token_count
        assert sum(seen) - prompts <= usage.tokens_generated


def test_branches_share_the_cache_uncopied(memory: FormedLongContextMemory) -> None:
    before = [tensor.clone() for pair in memory.entries for tensor in pair]
    recalls = memory.recall(["Who?", "What?"])
    assert all(torch.equal(a, b) for a, b in zip(before, (t for p in memory.entries for t in p), strict=True))
    assert [memory.recall([recall.query])[0].clues for recall in recalls] == [recall.clues for recall in recalls]
    costs = []
    for times in (1, 4):
        entries = [(keys.repeat(1, 1, times, 1), values.repeat(1, 1, times, 1)) for keys, values in memory.entries]
        decoder = memory.model.decoder
        branches = PrefixBranches(causal.CausalDecoder(decoder.model, 1 << 20), entries, 6)
        branches.feed([[5, 6, 7]] * 6)
        with CountBytes() as count:
            branches.feed([[8]] * 6)
        costs.append(count.bytes)
        assert all(a.data_ptr() == b.data_ptr() for a, b in zip(branches._shared.entries[0], entries[0], strict=True))
        assert branches.copied == 0
    assert costs[0] == costs[1]  # bytes made for a token do not grow with the text


@pytest.mark.parametrize("window", [None, 1350])
def test_a_cache_held_in_8_bits(make: Callable[..., LongContextMemory], tmp_path: Path, window: int | None) -> None:
    full = make(context_window=window, dtype="float32").form(SHARD)
    model = make(context_window=window, dtype="float32", kv_cache_dtype="fp8")
    memory = model.form(SHARD)
    assert memory.parts == full.parts
    assert bytes_of(memory.entries) < 0.26 * bytes_of(full.entries)
    for held, exact in zip(memory.entries, full.entries, strict=True):
        for a, b in zip(held, exact, strict=True):
            assert 0 < float((a - b).abs().max()) < float(b.abs().max()) / 16  # three bits of mantissa

    recall = memory.recall(["Who sold it?"])[0]
    seen = replace(memory, entries=list(memory.entries))  # the same numbers, held in full
    assert seen.recall(["Who sold it?"])[0].clues == recall.clues
    near, true = (m.branches(0, 1).feed([[5, 6, 7]])[0] for m in (memory, full))
    nothing = PrefixBranches(model.decoder, [], 1).feed([[5, 6, 7]])[0]
    assert float((near - true).abs().max()) < 0.2 * float((nothing - true).abs().max())

    memory.save(tmp_path / "m")
    for loaded in (m.load(tmp_path / "m", SHARD) for m in (model, full.model)):
        assert loaded.recall(["Who sold it?"])[0].clues == recall.clues
    assert bytes_of(model.load(tmp_path / "m", SHARD).entries) == bytes_of(memory.entries)
    made = registry.build(registry.MEMORY_MODELS, json.loads(json.dumps(model.config)))
    assert isinstance(made, LongContextMemory)
    assert made.kv_cache_dtype == "fp8"


# ── beyond the window ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_beyond_the_window_in_parts(make: Callable[..., LongContextMemory], tmp_path: Path) -> None:
    model = make(context_window=1350)
    memory = model.form(SHARD)
    places = [part.place for part in memory.parts]
    assert len(places) > 1
    assert (places[0][0], places[-1][1]) == (0, len(TEXT))
    assert all(a[1] == b[0] for a, b in pairwise(places))
    assert all(part.tokens + model.task_room <= 1350 for part in memory.parts)
    recall = memory.recall(["Who sold it?"])[0]
    assert recall.usage.calls == 3 * len(places)
    assert memory.summarize(sampling=Sampling(max_tokens=4)).usage.calls == len(places)
    assert "".join(memory.stream_answer("Who?")) == memory.answer("Who?").text
    memory.save(tmp_path / "m")
    assert make(context_window=1350).load(tmp_path / "m", SHARD).recall(["Who sold it?"])[0].clues == recall.clues


def test_a_text_beyond_the_window_refused(make: Callable[..., LongContextMemory]) -> None:
    model = make(context_window=1350, overflow="refuse")
    with pytest.raises(InputError, match='overflow="split"'):
        model.form(SHARD)
    assert "_loaded" not in model.__dict__
    with pytest.raises(InputError, match="leaves 0 for the text"):
        make(context_window=600).capacity  # noqa: B018
    with pytest.raises(InputError, match="at most 2,048"):
        make(context_window=4096).capacity  # noqa: B018


def test_the_engine_packs_and_answers(make: Callable[..., LongContextMemory], tmp_path: Path) -> None:
    model = make(context_window=1450)
    memo = MemoRAG(memory=model, embedder=None)
    memo.memorize([Document(TEXT[:168], f"d{i}") for i in range(3)], save_dir=tmp_path / "m.memo", progress=False)
    recall = memo.recall("Who sold the lantern?")
    assert recall.usage.calls == 6  # two shards: two documents together, one by itself
    again = MemoRAG.load(tmp_path / "m.memo")
    assert again.recall("Who sold the lantern?").clues == recall.clues
    assert model.llm.complete("Hello").usage.calls == 1
    assert model.llm.context_window == 1450


# ── on disk ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("storage", "most"), [("bfloat16", 0.51), ("int8", 0.45), ("int4", 0.4)])
def test_quantised_storage(make: Callable[..., LongContextMemory], tmp_path: Path, storage: str, most: float) -> None:
    model = make(storage=storage)
    memory = model.form(SHARD)
    memory.save(tmp_path / "m")
    held = sum(tensor.nbytes for pair in memory.entries for tensor in pair)
    assert (tmp_path / "m" / "memory.safetensors").stat().st_size < most * held + 4096
    back = model.load(tmp_path / "m", SHARD)
    for (keys, _), (keys2, _) in zip(memory.entries, back.entries, strict=True):
        assert 0 < (keys - keys2).abs().max() < 0.2 * keys.abs().max()


def test_what_was_cut_or_is_another_models_is_refused(
    make: Callable[..., LongContextMemory], memory: FormedLongContextMemory, tmp_path: Path
) -> None:
    memory.save(tmp_path / "m")
    for other, what in ((make("llama"), "weights"), (make(context_window=2000), "window 2048 there, 2000 here")):
        with pytest.raises(MemoryModelError, match=what) as caught:
            other.load(tmp_path / "m", SHARD)
        assert other.fingerprint in str(caught.value)
        assert memory.model.fingerprint in str(caught.value)
    beacon = BeaconMemory(memory.model.model_name_or_path, device="cpu")
    with pytest.raises(MemoryModelError, match="beacon-"):
        beacon.load(tmp_path / "m", SHARD)
    tensors = tmp_path / "m" / "memory.safetensors"
    whole = tensors.read_bytes()
    for cut in (0, 8, len(whole) // 2, len(whole) - 1):
        tensors.write_bytes(whole[:cut])
        with pytest.raises(MemoryModelError, match="cut short"):
            memory.model.load(tmp_path / "m", SHARD)


def test_it_is_made_again_from_its_config(make: Callable[..., LongContextMemory]) -> None:
    model = make(context_window=2000, overflow="refuse", token="secret")
    config = json.loads(json.dumps(model.config))
    assert "secret" not in json.dumps(config)
    again = registry.build(registry.MEMORY_MODELS, config)
    assert (again.fingerprint, again.config) == (model.fingerprint, model.config)


# ── checkpoints that cannot serve ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def broken(make: Callable[..., LongContextMemory], tmp_path: Path) -> Path:
    return Path(shutil.copytree(make().model_name_or_path, tmp_path / "broken"))


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MemoryModelError, match="Pass the path of a folder that holds it"):
        LongContextMemory("owner/nothing", cache_dir=str(tmp_path)).form(SHARD)
    with pytest.raises(MemoryModelError, match=r"no config\.json"):
        LongContextMemory(str(tmp_path)).form(SHARD)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, r"BertModel\), an encoder"),
        ({"model_type": "xlm-roberta", "architectures": None}, "an encoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "an encoder"),
        ({"architectures": ["Qwen2ForSequenceClassification"]}, "cannot write"),
        ({"model_type": "nobody"}, "'nobody'"),
    ],
)
def test_what_is_no_causal_language_model(broken: Path, values: dict[str, Any], message: str) -> None:
    change(broken, **values)
    with pytest.raises(MemoryModelError, match=message):
        LongContextMemory(str(broken)).form(SHARD)


def test_a_tokenizer_without_chat_template(broken: Path) -> None:
    (broken / "chat_template.jinja").unlink(missing_ok=True)
    add_tokenizer(broken, None)
    with pytest.raises(MemoryModelError, match="Expected a chat template"):
        LongContextMemory(str(broken)).form(SHARD)


def test_sliding_windows_and_ropes_refused_by_name(make: Callable[..., LongContextMemory]) -> None:
    sliding = {"sliding_window": 1500}
    with pytest.raises(MemoryModelError, match="sliding window of 1,500"):
        make("mistral", sliding).capacity  # noqa: B018
    assert make("mistral", sliding, context_window=1500).form(SHARD).token_count
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    with pytest.raises(MemoryModelError, match="rope_type 'dynamic'"):
        make("llama", {"rope_parameters": dynamic}).capacity  # noqa: B018


def test_other_families_are_tried_before_they_are_used(
    make: Callable[..., LongContextMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("olmo2")
    ids = model.chat.reading(model.texts.read(TEXT), model.texts.acknowledgement)
    prompt = model.chat.task("Who?")
    assert continued(model.form(SHARD), prompt, 4) == anew(model.model_name_or_path, ids + prompt, 4)
    stranger = make("olmo2")
    monkeypatch.setattr("memorag_integrations.decoding.branches.SharedPrefix.parts", lambda self, layer: [])
    with pytest.raises(MemoryModelError, match="otherwise than from the same text read anew"):
        stranger.form(SHARD)
    with pytest.raises(MemoryModelError, match="gpt2"):
        make("gpt2", {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 2048}).form(SHARD)


@pytest.mark.parametrize(
    "settings",
    [
        {"overflow": "cut"},
        {"kv_cache_dtype": "fp4"},
        {"context_window": 0},
        {"context_window": True},
        {"prompts": {"spans": "Where?"}},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected"):
        LongContextMemory("owner/name", **settings)


# ── replies to messages of one's own, and without a memory ───────────────────────────────────────────────────────────


def test_replies_to_ones_own_messages_are_those_of_the_tasks(make: Callable[..., LongContextMemory]) -> None:
    model = make()
    memory = model.form(SHARD)
    messages = [model.texts.ask("answer", "Who sold it?"), model.texts.ask("key_points", "")]
    answer, points = memory.reply(messages)
    assert answer.text == memory.answer("Who sold it?").text != points.text
    assert points.text == memory.summarize(sampling=model.settled_sampling).text
    assert answer.usage.tokens_cached == memory.token_count
    assert memory.reply([]) == []
    [brief] = memory.reply(messages[:1], sampling=Sampling(max_tokens=2))
    assert brief.usage.tokens_generated == 2


def test_replies_of_several_parts_stand_one_below_the_other(make: Callable[..., LongContextMemory]) -> None:
    model = make(context_window=1200)
    memory = model.form(SHARD)
    assert len(memory.parts) > 1
    [reply] = memory.reply(["What happened?"])
    alone = [
        FormedLongContextMemory(model, SHARD, (part,), memory.entries[2 * i : 2 * i + 2]).reply(["What happened?"])[0]
        for i, part in enumerate(memory.parts)
    ]
    assert reply.text == "\n".join(one.text for one in alone if one.text)
    assert reply.usage.calls == len(memory.parts)


@pytest.mark.parametrize("kind", [LongContextMemory, BeaconMemory])
def test_prompts_without_a_memory_side_by_side_are_those_one_by_one(
    kind: Any, checkpoints: Callable[..., Path]
) -> None:
    folder = checkpoints("qwen2", max_position_embeddings=2048, sliding_window=None)
    llm = kind(str(folder), device="cpu", sampling=Sampling(max_tokens=6)).llm
    prompts = ["Who sold the lantern?", "A much longer question about the ferryman, " * 3, "Where?"]
    together = llm.complete_batch(prompts)
    assert [one.text for one in together] == [llm.complete(prompt).text for prompt in prompts]
    assert len({one.text for one in together}) > 1
    assert [one.usage.tokens_generated for one in together] == [6, 6, 6]
    drawn = [
        replace(llm, sampling=Sampling(6, temperature=5.0, seed=seed)).complete(prompts[0]).text for seed in (1, 2)
    ]
    assert len({together[0].text, *drawn}) == 3
