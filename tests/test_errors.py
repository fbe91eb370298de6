"""Whatever is passed, and whatever a model raises, the error is of our tree, says what was found, and changes nothing."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import re
import threading

import numpy as np
import pytest

from memorag_integrations import Document, GistMemory, LLMMemory, MemoRAG
from memorag_integrations.contracts import Memory, MemoryModel, Reranker
from memorag_integrations.corpus.text_files import read_files
from memorag_integrations.documents import Passage
from memorag_integrations.errors import (
    EmbedderError,
    InputError,
    LLMError,
    MemoRAGError,
    MemoryModelError,
    RerankerError,
    StoreError,
)
from memorag_integrations.store import maintenance as upkeep
from memorag_integrations.store import memory_files
from memorag_integrations.text.metadata import DEEPEST
from tests.conftest import BAKERY, LIGHTHOUSE, HashEmbedder
from tests.scripted import ScriptedLLM


def nested(levels, kind):
    value = 1
    for _ in range(levels):
        value = kind(value)
    return value


def memorized(document=None, **settings):
    memo = MemoRAG(passage_size=200, **settings)
    memo.memorize(document or Document(LIGHTHOUSE, "lighthouse", {"year": 1902}), progress=False)
    return memo


# ── documents ─────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = {
    "dict": lambda value: {"a": value},
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "keys": lambda value: {1: value},
    "frozenset": lambda value: frozenset([value]),
}


@pytest.mark.parametrize("where", ["metadata", "host"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [DEEPEST + 1, 600, 5_000, 100_000])
def test_what_is_nested_too_deeply(levels, kind, where):
    if kind == "frozenset" and levels > DEEPEST + 1:
        levels = 200  # hashing it recurses in C
    document = Document(LIGHTHOUSE, "l", **{where: {"deep": nested(levels, KINDS[kind])}})
    with pytest.raises(InputError, match=r"nested too deeply at 'deep', more than 100 levels"):
        MemoRAG().memorize(document, progress=False)


@pytest.mark.parametrize("where", ["metadata", "host"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_nested_as_deeply_as_may_be(kind, where, tmp_path):
    document = Document(LIGHTHOUSE, "l", **{where: {"deep": nested(DEEPEST - 2, KINDS[kind])}})
    memo = memorized(document)
    memo.save(tmp_path / "s")
    assert MemoRAG.load(tmp_path / "s").get("l") == document


VALUES = {
    "a number of 5,000 digits": (10**5000, r"whole number of more than 4,000 digits"),
    "such a number in a list": ([[10**5000]], r"whole number of more than 4,000 digits \(at deep\[0\]\[0\]\)"),
    "such a key": ({10**5000: 1}, r"more than 4,000 digits"),
    "a negative one": (-(10**4400), r"more than 4,000 digits"),
    "a lock": (threading.Lock(), r"'deep' is a lock"),
    "bytes": (b"a", r"'deep' is a bytes"),
    "a complex number": (1j, r"'deep' is a complex"),
    "a function": (len, r"'deep' is a builtin_function_or_method"),
}


@pytest.mark.parametrize("where", ["metadata", "host"])
@pytest.mark.parametrize("name", VALUES)
def test_values_that_no_store_can_hold(name, where):
    value, message = VALUES[name]
    with pytest.raises(InputError, match=message):
        MemoRAG().memorize(Document(LIGHTHOUSE, "l", **{where: {"deep": value}}), progress=False)


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**3999, "\udc80", {"\udc80": "\x00"}, 5e-324, -0.0])
def test_odd_values_that_a_store_can_hold(value, tmp_path):
    memorized(Document(LIGHTHOUSE, "l", {"value": value})).save(tmp_path / "s")
    assert repr(MemoRAG.load(tmp_path / "s").get("l").metadata["value"]) == repr(value)


@pytest.mark.parametrize("host", [[1], "text", 3])
def test_a_host_that_is_no_mapping(host):
    with pytest.raises(InputError, match="must be a mapping"):
        MemoRAG().memorize(Document(LIGHTHOUSE, "l", host=host), progress=False)


def test_an_id_of_ten_million_characters():
    with pytest.raises(InputError, match=r"id may have 100,000 characters, found 10,000,000: 'llll"):
        MemoRAG().memorize(Document(LIGHTHOUSE, "l" * 10**7), progress=False)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────────

ARGUMENTS = {
    "passage_size 10**30": lambda: MemoRAG(passage_size=10**30),
    "passage_size 2**64": lambda: MemoRAG(passage_size=2**64),
    "passage_size nan": lambda: MemoRAG(passage_size=math.nan),
    "language": lambda: MemoRAG(language="klingon\x1b"),
    "language None": lambda: MemoRAG(language=None),
    "fusion": lambda: MemoRAG(fusion="strong"),
    "shards 0": lambda: MemoRAG(shards=0),
    "k text": lambda: memorized().retrieve("lamp", "3"),
    "cutoff nan": lambda: memorized().retrieve("lamp", cutoff=math.nan),
    "cutoff text": lambda: memorized().retrieve("lamp", cutoff="0.5"),
    "cutoff None": lambda: memorized().retrieve("lamp", cutoff=None),
    "cutoff complex": lambda: memorized().retrieve("lamp", cutoff=1j),
    "cutoff array": lambda: memorized().retrieve("lamp", cutoff=np.array([0.1, 0.2])),
    "recall text": lambda: memorized().retrieve("lamp", recall="clue"),
    "recall dict": lambda: memorized().retrieve("lamp", recall={"clues": []}),
    "vector text": lambda: memorized(embedder=HashEmbedder()).retrieve("lamp", vector="abc"),
    "vector texts": lambda: memorized(embedder=HashEmbedder()).retrieve("lamp", vector=["a"] * 64),
    "vector uneven": lambda: memorized(embedder=HashEmbedder()).retrieve("lamp", vector=[[1], [1, 2]]),
    "vector object": lambda: memorized(embedder=HashEmbedder()).retrieve("lamp", vector=object()),
    "vector 1e300": lambda: memorized(embedder=HashEmbedder()).retrieve("lamp", vector=[1e300] * 64),
    "vector 10**400": lambda: memorized(embedder=HashEmbedder()).retrieve("lamp", vector=[10**400] * 64),
    "retrieve_each 3": lambda: memorized().retrieve_each(3),
    "retrieve_each None": lambda: memorized().retrieve_each(None),
    "scores of a text": lambda: memorized().scores("lamp"),
    "scores None": lambda: memorized().scores(None),
    "scores numbers": lambda: memorized().scores([3]),
    "summarize 3": lambda: memorized(generator=ScriptedLLM("a")).summarize(3),
    "summarize list": lambda: memorized(generator=ScriptedLLM("a")).summarize(["lighthouse"]),
    "delete None": lambda: memorized().delete(None, progress=False),
    "delete 3": lambda: memorized().delete(3, progress=False),
    "delete lists": lambda: memorized().delete([["lighthouse"]], progress=False),
    "get list": lambda: memorized().get(["lighthouse"]),
    "progress 7": lambda: MemoRAG().memorize(LIGHTHOUSE, progress=7),
    "cancel text": lambda: MemoRAG().memorize(LIGHTHOUSE, progress=False, cancel="now"),
    "wait nan": lambda: memorized().save("w", wait=math.nan),
    "wait text": lambda: memorized().save("w", wait="1"),
    "wait -1": lambda: memorized().save("w", wait=-1),
    "wait of open": lambda: MemoRAG.open("w", wait=math.nan),
    "wait of compact": lambda: upkeep.compact("w", wait=-math.inf),
    "filters nested": lambda: memorized().retrieve("lamp", filters=nested(5000, lambda value: {"$not": value or {}})),
    "filters array": lambda: memorized().retrieve("lamp", filters={"year": np.array([1, 2])}),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        ARGUMENTS[name]()
    assert os.listdir(tmp_path) == []


def test_arguments_that_are_only_large(tmp_path):
    memo = memorized(shards=10**30, clues=10**30, memory=LLMMemory(ScriptedLLM("* The lamp was lit."), together=10**30))
    memo.add(Document(BAKERY, "bakery"), progress=False)
    assert memo.retrieve("lamp", 10**30, budget=10**30)
    assert memo.recall("lamp").clues
    with MemoRAG.open(tmp_path / "s", shards=10**9, wait=10**400) as opened:
        opened.add(LIGHTHOUSE, progress=False)
        assert opened.retrieve("lamp")


# ── folders ───────────────────────────────────────────────────────────────────────────────────────────────────────

LONG = "n" * 300
BEYOND = "/".join(["abc"] * 1500)
DOORS = {
    "save": lambda folder: memorized().save(folder),
    "memorize": lambda folder: MemoRAG().memorize(LIGHTHOUSE, save_dir=folder, progress=False),
    "load": lambda folder: MemoRAG.load(folder),
    "open": lambda folder: MemoRAG.open(folder),
    "needs_embedder": lambda folder: MemoRAG.needs_embedder(folder),
    "verify": lambda folder: upkeep.verify(folder),
    "compact": lambda folder: upkeep.compact(folder),
    "repair": lambda folder: upkeep.repair(folder),
}


@pytest.mark.parametrize("door", [*DOORS, "reuse"])
@pytest.mark.parametrize("folder", ["", None, 3, b"bytes", "a\0b", object()], ids=repr)
def test_what_is_no_folder(door, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if door == "memorize" and folder is None:
        return  # not to be saved
    with pytest.raises(InputError, match="Expected the path of a folder"):
        (DOORS | {"reuse": lambda folder: MemoRAG().reuse(folder)})[door](folder)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "name",
    ["a long name", "a long name below", "a path beyond the limit", "a link to itself", "a file", "below a file"],
)
def test_folders_that_cannot_be(door, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    (tmp_path / "file").write_text("mine")
    folder = {
        "a long name": LONG,
        "a long name below": f"a/{LONG}/b",
        "a path beyond the limit": BEYOND,
        "a link to itself": "loop",
        "a file": "file",
        "below a file": "file/below",
    }[name]
    with pytest.raises(StoreError):
        DOORS[door](folder)
    assert sorted(set(os.listdir(tmp_path)) - {"a"}) == ["file", "loop"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["file:x", "file:x?mode=memory", "file:///etc", ":memory:", "a#b?c%41", "-rf", "~", "\udc80", "n" * 255]
)
def test_names_that_mean_something_elsewhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with MemoRAG.open(name) as memo:
        memo.add(Document(LIGHTHOUSE, "lighthouse"), progress=False)
    with MemoRAG.open(name) as memo:
        memo.add(Document(BAKERY, "bakery"), progress=False)
    assert upkeep.verify(name) == []
    upkeep.compact(name)
    upkeep.repair(name)
    assert list(MemoRAG.load(name).corpus.documents) == ["lighthouse", "bakery"]
    assert os.listdir(tmp_path) == [name.split("/")[0]]


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("call", ["os.link", "pathlib.Path.mkdir", "os.fsync"])
def test_a_disk_that_refuses(call, error, tmp_path, monkeypatch):
    """Root may write anywhere, so the refusal is the system call's."""

    def refuses(*_, **__):
        raise OSError(error, os.strerror(error))

    memo = memorized()
    monkeypatch.setattr(call, refuses)
    with pytest.raises(StoreError, match="could not be written"):
        memo.save(tmp_path / "s" / "t")


@pytest.mark.parametrize(
    "paths", [[LONG], [BEYOND], ["a\0b"], [f"a/{LONG}.txt"], ["loop"], ["loop/below"]], ids=lambda p: p[0][:20]
)
def test_files_that_cannot_be(paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    with pytest.raises(InputError):
        list(read_files(paths))


# ── models that raise ─────────────────────────────────────────────────────────────────────────────────────────────


class Broken(Exception):
    """A model's own."""


class Away(Reranker):
    """A reranker that cannot be reached."""

    def __init__(self, error):
        self.error = error

    def rerank(self, query, passages):
        raise self.error

    async def arerank(self, query, passages):
        raise self.error


class AwayEmbedder(HashEmbedder):
    error = None

    def _embed(self, texts):
        if self.error is not None:
            raise self.error
        return super()._embed(texts)

    async def aembed_queries(self, texts):
        return self._embed(texts)


class AwayMemory(Memory):
    token_count = nbytes = 0

    def __init__(self, error):
        self.error = error

    def recall(self, queries, *, scores, cancel=None):
        raise self.error

    async def arecall(self, queries, *, scores, cancel=None):
        raise self.error

    def save(self, path):
        pass


class AwayModel(MemoryModel):
    config, fingerprint, capacity = None, "away", None

    def __init__(self, error, at):
        self.error, self.at = error, at

    def count_tokens(self, text):
        if self.at == "count_tokens":
            raise self.error
        return len(text)

    def form(self, shard, *, progress=None, cancel=None):
        if self.at == "form":
            raise self.error
        return AwayMemory(self.error)

    def load(self, path, shard):
        raise self.error


def both(memo, query="lamp"):
    """The errors of the sync and of the async call."""
    errors = []
    for call in (lambda: memo.retrieve(query), lambda: asyncio.run(memo.aretrieve(query))):
        with pytest.raises(BaseException) as raised:  # noqa: PT011
            call()
        errors.append(raised.value)
    return errors


OWN = [
    Broken("away"),
    RuntimeError("away"),
    KeyError("away"),
    TimeoutError("away"),
    OSError(5, "away"),
    RecursionError(),
]


@pytest.mark.parametrize("own", OWN, ids=repr)
def test_a_rerankers_own_exception(own):
    for error in both(memorized(reranker=Away(own))):
        assert type(error) is RerankerError
        assert error.__cause__ is own
        assert f"Away could not score the passages: {type(own).__name__}" in str(error)


@pytest.mark.parametrize("own", OWN, ids=repr)
def test_an_embedders_own_exception(own):
    embedder = AwayEmbedder()
    memo = memorized(embedder=embedder)
    embedder.error = own
    for error in both(memo):
        assert type(error) is EmbedderError
        assert error.__cause__ is own
    before = memo.corpus
    with pytest.raises(EmbedderError):
        memo.add(BAKERY, progress=False)
    assert memo.corpus is before
    with pytest.raises(EmbedderError):
        memorized(embedder=embedder)


@pytest.mark.parametrize("own", OWN, ids=repr)
def test_a_memorys_own_exception(own):
    for error in both(memorized(memory=AwayModel(own, "recall"))):
        assert type(error) is MemoryModelError
        assert error.__cause__ is own
    for at in ("form", "count_tokens"):
        with pytest.raises(MemoryModelError) as raised:
            memorized(memory=AwayModel(own, at)).memory_model.count_tokens("text")
        assert raised.value.__cause__ is own


@pytest.mark.parametrize("own", OWN, ids=repr)
def test_a_language_models_own_exception(own):
    def script(prompt):
        raise own

    def no_count(text):
        raise own

    llm = ScriptedLLM(script)
    with pytest.raises(LLMError):
        memorized(generator=llm).answer("lamp")
    counting = ScriptedLLM("* The lamp was lit.")
    counting.count_tokens = no_count
    for call in (
        lambda: memorized(memory=LLMMemory(counting)).recall("lamp"),
        lambda: memorized(generator=counting).answer("lamp"),
    ):
        with pytest.raises(MemoRAGError) as raised:
            call()
        assert raised.value.__cause__ is own


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_is_no_error_of_a_model(stop):
    with pytest.raises(stop):
        memorized(reranker=Away(stop())).retrieve("lamp")
    embedder = AwayEmbedder()
    memo = memorized(embedder=embedder)
    embedder.error = stop()
    with pytest.raises(stop):
        memo.retrieve("lamp")
    with pytest.raises(stop):
        memorized(memory=AwayModel(stop(), "form"))


# ── functions of the caller ───────────────────────────────────────────────────────────────────────────────────────


def passage(**wrong):
    return lambda document: [Passage(**{"id": "1", "document_id": document.id, "text": "a", "start": 0, "end": 1, "centre": 0.5, **wrong})]  # fmt: skip


def raises(document):
    raise Broken("away")


SPLITS = {
    "raises": raises,
    "None": lambda document: None,
    "a number": lambda document: 3,
    "a text": lambda document: "abc",
    "texts": lambda document: ["abc"],
    "an iterator that raises": lambda document: (1 / 0 for _ in [1]),
    "text None": passage(text=None),
    "id None": passage(id=None),
    "id NUL": passage(id="a\0"),
    "document None": passage(document_id=None),
    "start text": passage(start="x"),
    "start 10**40": passage(start=10**40),
    "end -1": passage(end=-1),
    "end True": passage(end=True),
    "start 0.5": passage(start=0.5),
    "centre nan": passage(centre=math.nan),
    "centre text": passage(centre="x"),
    "metadata None": passage(metadata=None),
    "metadata object": passage(metadata={"a": object()}),
    "host object": passage(host={"a": object()}),
    "host list": passage(host=[1]),
}


@pytest.mark.parametrize("name", SPLITS)
def test_splitters(name, tmp_path):
    memo = MemoRAG.open(tmp_path / "s")
    with pytest.raises(InputError):
        memo.memorize(Document(LIGHTHOUSE, "l"), split=SPLITS[name], progress=False)
    assert upkeep.verify(tmp_path / "s") == []
    memo.add(Document(LIGHTHOUSE, "l"), split=passage(text="a\udc80\0b", end=4), progress=False)
    assert [p.text for p in memo.corpus.index.passages] == ["a\ufffd\ufffdb"]


@pytest.mark.parametrize("function", [lambda m: 1 / 0, lambda m: m["absent"], lambda m: np.array([1, 2]), raises])
def test_filter_functions(function):
    memo = memorized()
    for call in (memo.retrieve, memo.recall, lambda query, **how: asyncio.run(memo.aretrieve(query, **how))):
        with pytest.raises(InputError, match=r"(?i)filter") as raised:
            call("lamp", filters=function)
        assert isinstance(raised.value.__cause__, Exception)


def test_a_progress_function_raises_its_own(documents, tmp_path):
    """Everything a caller's function raises comes out as it is, through whatever calls it."""
    own = Broken("theirs")

    def progress(stage, done, total):
        raise own

    gists = GistMemory(ScriptedLLM("The gist."), folder=tmp_path / "g")
    for memo in (MemoRAG(), MemoRAG(embedder=HashEmbedder()), MemoRAG(gists), MemoRAG.open(tmp_path / "s")):
        with pytest.raises(Broken) as raised:
            memo.memorize(documents, progress=progress)
        assert raised.value is own
        memo.memorize(documents, progress=False)
    assert upkeep.verify(tmp_path / "s") == []


def test_documents_that_raise_their_own():
    def documents():
        yield LIGHTHOUSE
        raise Broken("theirs")

    with pytest.raises(Broken):
        MemoRAG().memorize(documents(), progress=False)


# ── files of memories ─────────────────────────────────────────────────────────────────────────────────────────────

FORGED = [
    "Infinity",
    "-Infinity",
    "NaN",
    "1e400",
    "9" * 5000,
    "[[[[1]]]]",
    "null",
    '"x"',
    "{}",
    "-1",
    "1.5",
    "true",
    "10" * 20,
]


@pytest.mark.parametrize("kind", ["gist", "llm"])
@pytest.mark.parametrize("forged", FORGED, ids=lambda text: text[:12])
def test_numbers_in_the_file_of_a_memory(kind, forged, tmp_path):
    llm = ScriptedLLM("* Who lit the lamp? The lamp was lit each dusk.")
    model = lambda: GistMemory(llm, folder=tmp_path / "g", stretch=300) if kind == "gist" else LLMMemory(llm)  # noqa: E731
    memorized(memory=model()).save(tmp_path / "s")
    for folder in (tmp_path / "s" / "memories").iterdir():
        file = folder / "memory.json"
        stored = file.read_text("utf-8")
        head, _, rest = stored.partition('"content"')
        end = rest.index(",") + 1
        file.write_text(
            head + '"content"' + rest[:end] + re.sub(r"(?<=[\[ ])\d+(?=[,\]}])", forged, rest[end:]), "utf-8"
        )
        memory_files.write_manifest(folder, folder.name)
    try:
        memo = MemoRAG.load(tmp_path / "s", memory=model())
        memo.retrieve("Who lit the lamp?")
    except MemoryModelError as error:
        said = str(error)
        assert "cannot be read" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"[" * 100_000, b"\xff\xfe\x80", b"null", b"Infinity", b'{"gist": Infinity}', b'{"gist": 1}'],
)
def test_files_of_kept_gists_are_asked_anew(content, tmp_path):
    llm = ScriptedLLM("The gist of the lamp.")
    model = lambda: GistMemory(llm, folder=tmp_path / "g", stretch=400, words=10)  # noqa: E731
    memorized(memory=model())
    files = [file for file in (tmp_path / "g").rglob("*") if file.is_file()]
    assert files
    for file in files:
        file.write_bytes(content)
    asked = len(llm.prompts)
    memorized(memory=model())
    assert len(llm.prompts) > asked
