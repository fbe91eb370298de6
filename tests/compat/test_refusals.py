"""What cannot be honoured is refused by name, before anything is loaded or written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from memorag_integrations import MemoRAG as Engine
from memorag_integrations.compat import Agent, MemoRAG, MemoRAGLite, Memory, Model
from memorag_integrations.errors import EmbedderError, InputError, MemoryModelError, StoreError
from tests.compat.conftest import CONTEXT, QUERY, Echo
from tests.conftest import HashEmbedder

TINY = HashEmbedder(16)


def constructors(beacon: str) -> dict[str, Any]:
    return {
        "MemoRAG": lambda **more: MemoRAG(beacon, TINY, **more),
        "MemoRAGLite": lambda **more: MemoRAGLite(customized_gen_model=Echo(), ret_model_name_or_path=TINY, **more),
        "Memory": lambda **more: Memory(beacon, **more),
        "Model": lambda **more: Model(beacon, **more),
        "Agent": lambda **more: Agent("m", "openai", {"api_key": "k"}, **more),
    }


@pytest.mark.parametrize("name", ["MemoRAG", "MemoRAGLite", "Memory", "Model", "Agent"])
def test_an_unknown_argument_is_named_and_the_known_are(beacon: str, name: str):
    make = constructors(beacon)[name]
    with pytest.raises(InputError, match=f"{name} has no argument 'use_turbo'") as error:
        make(use_turbo=True)
    assert ("temperature" if name == "Agent" else "cache_dir") in str(error.value)


def test_an_unknown_argument_of_a_call(beacon: str):
    with pytest.raises(InputError, match=r"Memory\.memorize has no argument 'max_length'\. It has context\."):
        Memory(beacon).memorize(CONTEXT, max_length=100)
    lite = MemoRAGLite(customized_gen_model=Echo(), ret_model_name_or_path=TINY)
    for name in ("recall", "rewrite"):
        with pytest.raises(InputError, match=rf"MemoRAGLite\.{name} has no argument 'max_new_tokens'\. It has query\."):
            getattr(lite, name)(QUERY, max_new_tokens=9)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("ret_hits", "ret_hit"), ("beacon_ratios", "beacon_ratio"), ("load_in_4bits", "load_in_4bit")]
)
def test_a_slip_is_guessed(beacon: str, wrong: str, meant: str):
    with pytest.raises(InputError, match=f"no argument '{wrong}'; is {meant} meant"):
        MemoRAG(beacon, TINY, **{wrong: 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ret_hit": 0}, "ret_hit must be a whole number of at least 1, found 0"),
        ({"retrieval_chunk_size": "512"}, "retrieval_chunk_size must be a whole number"),
        ({"retrieval": "union"}, "retrieval must be one of memorag, per-clue-union; found 'union'"),
        ({"load_in_4bit": "yes"}, "load_in_4bit must be True or False"),
        ({"enable_flash_attn": None}, "enable_flash_attn must be True or False"),
        ({"beacon_ratio": 0}, "ratio"),
        ({"customized_gen_model": 5}, "customized_gen_model must be an Agent"),
        ({"customized_gen_model": Echo(), "gen_model_name_or_path": "x/y"}, "both name a generator"),
    ],
)
def test_values_out_of_range(beacon: str, arguments: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        MemoRAG(beacon, TINY, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_four_bits_need_cuda(beacon: str):
    for make in (Model, Memory):
        with pytest.raises(InputError, match="load_in_4bit=True needs a CUDA device"):
            make(beacon, load_in_4bit=True)


def test_a_ratio_is_for_memory_checkpoints(instruct: str):
    with pytest.raises(InputError, match="beacon_ratio=8 is for memory checkpoints"):
        MemoRAG(instruct, TINY, beacon_ratio=8)
    assert MemoRAG(instruct, TINY).mem_model.memo_type == "longllm"


def test_flash_attention_on_or_off_writes_the_same(beacon: str):
    on, off = (Model(beacon, enable_flash_attn=flag).generate("hi!", max_new_tokens=8) for flag in (True, False))
    assert on == off


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "make", [lambda path: MemoRAG(path, TINY), Memory, Model, lambda path: MemoRAGLite(path, TINY)]
)
def test_an_encoder_as_memory_or_generator(retriever: str, make: Any):
    with pytest.raises(MemoryModelError, match=r"found model_type 'xlm-roberta' .*an encoder: it cannot write"):
        make(retriever)


@pytest.mark.parametrize("kind", ["beacon", "instruct"])
def test_a_tokenizer_without_chat_template(request: pytest.FixtureRequest, kind: str, tmp_path: Path):
    folder = tmp_path / "mute"
    shutil.copytree(request.getfixturevalue(kind), folder)
    (folder / "chat_template.jinja").unlink()
    for make in (Memory, Model, lambda path: MemoRAG(path, TINY)):
        with pytest.raises(MemoryModelError, match="Expected a chat template with the tokenizer"):
            make(str(folder))


def test_a_model_that_is_not_there_offline_says_how_to_pass_a_path(beacon: str, tmp_path: Path):
    cache = str(tmp_path)
    for make in (
        lambda: MemoRAG("nobody/memory", TINY, cache_dir=cache),
        lambda: MemoRAG(beacon, TINY, "nobody/generator", cache_dir=cache),
        lambda: MemoRAGLite(ret_model_name_or_path=TINY, cache_dir=cache),
        lambda: Memory("nobody/memory", cache_dir=cache),
        lambda: Model("nobody/model", cache_dir=cache),
    ):
        with pytest.raises(MemoryModelError, match="Pass the path of a folder that holds it"):
            make()
    with pytest.raises(EmbedderError, match="Pass the path of a folder that holds it"):
        MemoRAG(beacon, "nobody/retriever", cache_dir=cache)
    with pytest.raises(MemoryModelError, match="which is neither"):
        Memory(str(tmp_path / "nowhere"))


def test_weights_that_are_pickles_are_not_opened(beacon: str, tmp_path: Path):
    folder = tmp_path / "pickled"
    shutil.copytree(beacon, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MemoryModelError, match="Only safetensors are read, never pickles"):
        Memory(str(folder))


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def pipe(beacon: str) -> MemoRAG:
    pipe = MemoRAG(beacon, TINY, customized_gen_model=Echo(), retrieval_chunk_size=40)
    pipe.memorize(CONTEXT)
    return pipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task_type": "rag"}, "task_type must be one of memorag, qa, summarize; found 'rag'"),
        ({"query": " "}, "A query must be a text that is not blank"),
        ({"query": None}, "A query must be a text that is not blank"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1"),
        ({"prompt_template": "Answer {input}"}, r"needs the field \{context\}"),
        ({"prompt_template": "{context} {question}"}, r"holds \{question\}, which nothing fills"),
        ({"task_type": "summarize", "prompt_template": "{context} {input}"}, r"holds \{input\}"),
        ({"use_memory_answer": "yes"}, "use_memory_answer must be True or False"),
        ({"context": ["one", "two"]}, "context must be one text, found list"),
    ],
)
def test_calls_that_make_no_sense(pipe: MemoRAG, arguments: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        pipe(**{"query": QUERY, **arguments})
    assert pipe.gen_model.prompts == []


def test_no_text_at_all(beacon: str):
    pipe = MemoRAG(beacon, TINY)
    with pytest.raises(InputError, match=r"Nothing is memorized yet\. Pass context="):
        pipe(query=QUERY)
    with pytest.raises(InputError, match="no document holds any text"):
        pipe("  ", QUERY)
    memory = Memory(beacon)
    for call in (
        lambda: memory.answer(QUERY),
        lambda: memory.summarize(),
        lambda: memory.save("x"),
        lambda: memory.generate("x"),
    ):
        with pytest.raises(InputError, match="There is no memory yet"):
            call()
    memory.memorize(CONTEXT)
    for call in (memory.recall, memory.rewrite, memory.answer):
        with pytest.raises(InputError, match="Expected a question"):
            call(" ")


def test_a_text_beyond_a_beacons_reach_is_refused(beacon: str):
    with pytest.raises(InputError, match="ratio"):
        Memory(beacon, beacon_ratio=2).memorize(CONTEXT * 20)


# ── what the original wrote ──────────────────────────────────────────────────────────────────────────────────────


class Poison:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.mark),))


def test_what_the_original_wrote_is_recognised_and_never_opened(beacon: str, tmp_path: Path):
    theirs, mark = tmp_path / "harry_potter", tmp_path / "the pickle ran"
    theirs.mkdir()
    torch.save({"memory": Poison(mark)}, theirs / "memory.bin")
    (theirs / "index.bin").write_bytes(pickle.dumps(Poison(mark)))
    (theirs / "chunks.json").write_text(json.dumps([CONTEXT]), "utf-8")
    pipe, memory = MemoRAG(beacon, TINY), Memory(beacon)
    memory.memorize(CONTEXT)
    for call in (
        lambda: pipe.load(theirs),
        lambda: pipe.memorize(CONTEXT, save_dir=theirs),
        lambda: memory.load(theirs / "memory.bin"),
        lambda: memory.save(theirs),
    ):
        with pytest.raises(StoreError, match=r"was written by the original MemoRAG .*memorize\(text, save_dir=…\)"):
            call()
    assert not mark.exists()
    assert sorted(path.name for path in theirs.iterdir()) == ["chunks.json", "index.bin", "memory.bin"]


def test_a_store_of_several_documents_is_not_one_text(beacon: str, tmp_path: Path):
    memory = Memory(beacon)
    engine = Engine(memory.memory_model)
    engine.memorize(["The lamp was lit.", "The ship came in."], progress=False)
    engine.save(tmp_path / "two")
    with pytest.raises(InputError, match="Expected a store of one text"):
        memory.load(tmp_path / "two")
