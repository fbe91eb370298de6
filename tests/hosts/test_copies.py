"""Copies, pickles, workers; settings and stores elsewhere."""

import copy
import json
import multiprocessing
import pickle
import pickletools
import threading
from collections import Counter

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from langchain_core.documents import Document as LangChainDocument
from llama_index.core import Document, Settings
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

import langchain_memorag
from langchain_memorag import MemoRAGRetriever as ChainRetriever
from llamaindex_memorag import LLMMemory
from llamaindex_memorag import MemoRAGRetriever as IndexRetriever
from memorag_integrations import Document as EngineDocument
from memorag_integrations import GistMemory, MemoRAG
from memorag_integrations.errors import InputError, MemoRAGError, StoreError
from memorag_integrations.hosts.remote import CURRENT
from memorag_integrations.hosts.retrieval_settings import FILE
from memorag_integrations.live_corpus import LiveCorpus
from tests.conftest import HashEmbedder
from tests.hosts.corpus import TEXTS
from tests.hosts.test_embeddings import Counting
from tests.hosts.test_langchain import WordEmbeddings
from tests.hosts.test_llamaindex import WordEmbedding
from tests.scripted import ScriptedLLM, lang_chain_llm

QUERY = "Who kept the mill after the flood?"


@pytest.fixture(autouse=True)
def _no_app_settings(monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_llm", None)


@pytest.fixture(autouse=True)
def _empty_memory_file_system():
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def index_documents():
    return [Document(text=text, id_=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def chain_documents():
    return [LangChainDocument(page_content=text, id=name, metadata={"kind": name}) for name, text in TEXTS.items()]


def makers():
    yield lambda: IndexRetriever.from_documents(index_documents(), 3)
    yield lambda: IndexRetriever.from_documents(index_documents(), 3, embed_model=WordEmbedding(), memory="random")
    yield lambda: IndexRetriever.from_documents(index_documents(), 3, memory=LLMMemory(MockLLM(max_tokens=4)))
    yield lambda: IndexRetriever.from_nodes(
        SentenceSplitter(chunk_size=60, chunk_overlap=0).get_nodes_from_documents(index_documents()), 3
    )
    yield lambda: IndexRetriever.empty()
    yield lambda: ChainRetriever.from_documents(chain_documents(), k=3)
    yield lambda: ChainRetriever.from_documents(chain_documents(), WordEmbeddings(), k=3, merge=True)
    yield lambda: ChainRetriever.from_chunks(chain_documents(), k=3)
    yield lambda: ChainRetriever.empty(source_key="source")


def ask(retriever):
    if isinstance(retriever, IndexRetriever):
        return [(node.node_id, round(node.score, 6), node.text) for node in retriever.retrieve(QUERY)]
    return [(one.id, one.page_content, str(one.metadata)) for one in retriever.invoke(QUERY)]


def insert(retriever):
    if isinstance(retriever, IndexRetriever):
        retriever.insert(Document(text="A mill after another flood, kept by nobody.", id_="new"))
    elif retriever.source_key is None:
        retriever.add_texts(["A mill after another flood, kept by nobody."], ids=["new"])
    else:
        retriever.add_texts(["A mill after another flood, kept by nobody."], [{"source": "new"}], ids=["new"])


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "oldest pickle": lambda one: pickle.loads(pickle.dumps(one, 2)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("number", range(9))
def test_a_copy_answers_the_same_and_changes_apart(number, how):
    original = list(makers())[number]()
    before = ask(original)
    other = COPIES[how](original)
    assert ask(other) == before
    if how == "copy":
        return  # a copy of the retriever alone shares its engine
    insert(other)
    assert "new" in other.memo.corpus.documents
    assert "new" not in original.memo.corpus.documents
    assert ask(original) == before
    insert(original)
    assert ask(other) == ask(original)


@pytest.mark.parametrize("number", range(5, 9))
def test_model_copy_is_deep_where_it_is_told_to(number):
    original = list(makers())[number]()
    deep, shallow = original.model_copy(deep=True), original.model_copy(update={"k": 1})
    assert shallow.memo is original.memo
    assert deep.memo is not original.memo
    assert ask(deep) == ask(original)
    insert(deep)
    assert "new" not in original.memo.corpus.documents


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_corpus_that_lives_in_a_folder_stays_there(how, tmp_path):
    original = IndexRetriever.open(tmp_path / "s", embed_model=WordEmbedding(), similarity_top_k=2)
    original.insert(index_documents()[0])
    other = COPIES[how](original)
    assert ask(other) == ask(original)
    assert other.memo.live.home.folder == original.memo.live.home.folder
    other.insert(index_documents()[1])
    assert original.memo.reload()
    assert ask(other) == ask(original)
    data = pickle.dumps(original)
    assert len(data) < 20_000, "its path, not its content"
    assert "memorag.sqlite3" not in str(list(pickletools.genops(data)))


def test_a_pickle_whose_folder_is_gone_says_so(tmp_path):
    import shutil

    original = ChainRetriever.open_local(tmp_path / "s")
    original.add_texts(["text"])
    data = pickle.dumps(original)
    shutil.rmtree(tmp_path / "s")
    with pytest.raises(StoreError, match=str(tmp_path / "s")):
        pickle.loads(data)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("state", [{"version": 2}, {"version": 0}, {}, {"version": None}])
def test_a_pickle_of_another_version_is_refused(state):
    with pytest.raises(StoreError, match="another version of memorag-integrations"):
        LiveCorpus.of_state(state)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "C:/evil", "a\\..\\evil"])
def test_a_snapshot_touches_nothing_outside(name, tmp_path):
    import io
    import zipfile

    from memorag_integrations.store.snapshot import unpacked

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr(name, "x")
    with pytest.raises(StoreError, match="outside"):
        unpacked(data.getvalue())
    for broken in (b"", b"no zip", data.getvalue()[:-10]):
        with pytest.raises(StoreError, match="snapshot"):
            unpacked(broken)


class Local(HashEmbedder):
    """A model that holds what cannot go to another process."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class LocalLLM(ScriptedLLM):
    pass  # it holds a lock, as models on a device do


@pytest.mark.parametrize("part", ["embedder", "memory", "generator", "reranker"])
def test_a_local_model_is_named_and_deepcopy_shares_it(part):
    from memorag_integrations.contracts import Reranker

    class Reader(Reranker):
        def __init__(self):
            self.lock = threading.Lock()

        def rerank(self, query, passages):
            return [0.0] * len(passages)

    parts = {
        "embedder": Local(),
        "memory": GistMemory(LocalLLM("- clue")),
        "generator": LocalLLM("x"),
        "reranker": Reader(),
    }
    memo = MemoRAG(**{part: parts[part]})
    memo.memorize([EngineDocument("Anna kept the mill.", "a")], progress=False)
    with pytest.raises(InputError, match=rf"{part}.*cannot be pickled.*MemoRAG\.load"):
        pickle.dumps(memo)
    other = copy.deepcopy(memo)
    other.add(EngineDocument("Another mill.", "b"), progress=False)
    assert list(memo.corpus.documents) == ["a"]
    assert other.retrieve("mill")


def test_models_of_hosts_travel():
    memory = langchain_memorag.LLMMemory(lang_chain_module_llm())
    original = ChainRetriever.from_documents(chain_documents(), k=3, memory=memory)
    other = pickle.loads(pickle.dumps(original))
    assert ask(other) == ask(original)
    assert other.memo.memory_model.fingerprint == original.memo.memory_model.fingerprint


def lang_chain_module_llm():
    from langchain_core.language_models import FakeListChatModel

    return FakeListChatModel(responses=["- the mill"], profile={"max_input_tokens": 100_000})


def _in_worker(retriever):
    return ask(retriever)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_workers_answer_the_same(method, tmp_path):
    opened = IndexRetriever.open(tmp_path / "s")
    for document in index_documents():
        opened.insert(document)
    inside = ChainRetriever.from_documents(chain_documents(), k=3)
    with multiprocessing.get_context(method).Pool(1) as pool:
        for retriever in (opened, inside):
            assert pool.apply(_in_worker, (retriever,)) == ask(retriever)


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_store_keeps_the_retrievers_settings(tmp_path):
    filters = MetadataFilters(filters=[MetadataFilter(key="kind", value="guide")])
    one = IndexRetriever.from_documents(
        index_documents(), 2, mode="bm25", cutoff=0.1, merge=True, filters=filters, provenance=True
    )
    one.persist(tmp_path / "s")
    loaded = IndexRetriever.from_persist_dir(tmp_path / "s")
    names = ("similarity_top_k", "mode", "cutoff", "merge", "filters", "provenance", "budget")
    assert {name: getattr(loaded, name) for name in names} == {name: getattr(one, name) for name in names}
    assert ask(loaded) == ask(one)
    over = IndexRetriever.from_persist_dir(tmp_path / "s", 4, mode="memorag", filters=None, merge=False)
    assert (over.similarity_top_k, over.mode, over.filters, over.merge, over.cutoff) == (4, "memorag", None, False, 0.1)
    assert IndexRetriever.from_persist_dir(tmp_path / "s", budget=500).similarity_top_k is None
    assert IndexRetriever.open(tmp_path / "s").mode == "bm25"


def test_a_store_keeps_the_retrievers_settings_in_langchain(tmp_path):
    filters = {"kind": {"$in": ["guide"]}, "$not": {"kind": "story"}}
    one = ChainRetriever.from_chunks(chain_documents(), source_key="kind", k=2, mode="bm25", filters=filters)
    one.save_local(tmp_path / "s")
    loaded = ChainRetriever.load_local(tmp_path / "s")
    assert (loaded.k, loaded.mode, loaded.filters, loaded.source_key) == (2, "bm25", filters, "kind")
    assert ask(loaded) == ask(one)
    assert ChainRetriever.load_local(tmp_path / "s", k=3, filter={"kind": "story"}).filters == {"kind": "story"}
    assert ChainRetriever.load_local(tmp_path / "s", filters=None).filters is None
    opened = ChainRetriever.open_local(tmp_path / "new", k=7, mode="hybrid")
    assert (ChainRetriever.open_local(tmp_path / "new").k, opened.k) == (7, 7)


def test_a_filter_that_is_no_data_is_asked_for(tmp_path):
    ChainRetriever.from_documents(chain_documents(), filters=lambda m: m["kind"] == "guide").save_local(tmp_path / "c")
    with pytest.raises(StoreError, match=r"function.*filters=None"):
        ChainRetriever.load_local(tmp_path / "c")
    assert ChainRetriever.load_local(tmp_path / "c", filters=None).invoke(QUERY)
    filters = MetadataFilters(filters=[MetadataFilter(key="kind", value="guide")])
    IndexRetriever.from_documents(index_documents(), filters=filters).persist(tmp_path / "i")
    with pytest.raises(StoreError, match="llamaindex"):
        ChainRetriever.load_local(tmp_path / "i")
    assert ChainRetriever.load_local(tmp_path / "i", filter={"kind": "guide"}).invoke(QUERY)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"format": 2}', '{"format": 1, "k": 0}', '{"format": 1, "k": "5"}', '{"format": 1, "mode": "fast"}',
     '{"format": 1, "merge": 1}', '{"format": 1, "filters": [1]}', '{"format": 1, "filters": {"a": {"$near": 1}}}',
     '{"format": 1, "cutoff": 7}'],
)  # fmt: skip
def test_settings_that_are_not_as_written_are_named_and_the_store_is_left(content, tmp_path):
    ChainRetriever.from_documents(chain_documents()).save_local(tmp_path / "s")
    (tmp_path / "s" / FILE).write_text(content)
    before = {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()}
    for load in (ChainRetriever.load_local, IndexRetriever.from_persist_dir):
        with pytest.raises(StoreError, match=r"retriever\.json|filters"):
            load(tmp_path / "s")
    assert {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()} == before
    assert MemoRAG.load(tmp_path / "s").retrieve(QUERY)


def test_a_store_of_the_engine_or_of_before_has_no_settings_and_loads(tmp_path):
    memo = MemoRAG()
    memo.memorize(list(TEXTS.values()), save_dir=tmp_path / "s", progress=False)
    assert IndexRetriever.from_persist_dir(tmp_path / "s").similarity_top_k == 5
    assert ChainRetriever.load_local(tmp_path / "s").k is None


# ── stores elsewhere ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by", ["url", "fs", "local url"])
def test_a_store_is_saved_to_and_loaded_from_a_file_system(by, tmp_path):
    where, how = {
        "url": ("memory://stores/one", {}),
        "fs": ("/stores/one", {"fs": fsspec.filesystem("memory")}),
        "local url": (f"file://{tmp_path}/one", {}),
    }[by]
    model = Counting()
    one = IndexRetriever.from_documents(index_documents(), 2, embed_model=model, mode="hybrid")
    one.persist(where, **how)
    model.forget()
    loaded = IndexRetriever.from_persist_dir(where, embed_model=model, **how)
    assert ask(loaded) == ask(one)
    assert loaded.mode == "hybrid"
    assert len(model.texts) == 1, "the probe"
    chain = ChainRetriever.from_documents(chain_documents(), k=2)
    chain.save_local(where, **how)
    assert ask(ChainRetriever.load_local(where, **how)) == ask(chain)


def test_memories_that_have_files_travel_too():
    memo = MemoRAG(GistMemory(ScriptedLLM("Anna kept the mill.")))
    memo.memorize([EngineDocument(text, name) for name, text in TEXTS.items()], progress=False)
    one = IndexRetriever(memo, 2)
    one.persist("memory://gists")
    assert any("/memories/" in path for path in MemoryFileSystem.store)
    loaded = IndexRetriever.from_persist_dir("memory://gists", memory=GistMemory(ScriptedLLM("Anna kept the mill.")))
    assert ask(loaded) == ask(one)


class Failing(MemoryFileSystem):
    """A file system that goes away at a certain write, or delivers half of it."""

    protocol = "failing"
    cachable = False

    def __init__(self, at=10**6, half=False):
        super().__init__()
        self.left, self.half = at, half

    def _count(self):
        self.left -= 1
        if self.left == 0 and not self.half:
            raise OSError("the connection is gone")

    def put_file(self, lpath, rpath, **how):
        self._count()
        super().put_file(lpath, rpath, **how)
        if self.left == 0 and self.half:
            self.store[self._strip_protocol(rpath)].seek(0)
            self.store[self._strip_protocol(rpath)].truncate(10)

    def pipe_file(self, path, value, **how):
        self._count()
        super().pipe_file(path, value, **how)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_an_upload_is_complete_or_absent(half, there):
    old = ChainRetriever.from_documents(chain_documents()[:1], k=1)
    new = ChainRetriever.from_documents(chain_documents(), k=2)
    outcomes = Counter()
    for at in range(1, 6):
        MemoryFileSystem.store.clear()
        if there:
            old.save_local("/s", fs=Failing())
        before = dict(MemoryFileSystem.store)
        try:
            new.save_local("/s", fs=Failing(at, half))
            outcomes["whole"] += 1
            expected = new
        except StoreError as error:
            outcomes["failed"] += "What was there before is as it was" in str(error)
            expected = old
        if expected is old:
            assert set(MemoryFileSystem.store) == set(before)
        if expected is new or there:
            assert ask(ChainRetriever.load_local("/s", fs=Failing())) == ask(expected)
        else:
            with pytest.raises(StoreError, match="Expected a store"):
                ChainRetriever.load_local("/s", fs=Failing())
    assert outcomes["failed"] >= 2
    assert outcomes["whole"] >= 1


def test_an_upload_takes_the_place_of_the_one_before_it():
    for documents in (chain_documents()[:1], chain_documents()):
        ChainRetriever.from_documents(documents).save_local("memory://s")
    folders = {path.split("/")[2] for path in MemoryFileSystem.store}
    assert len(folders) == 2, "the store, and what names it"
    assert CURRENT in folders


@pytest.mark.parametrize(
    "forged",
    [
        {"format": 1, "folder": "upload-x", "files": {"../../evil": 1}},
        {"format": 1, "folder": "../elsewhere", "files": {}},
        {"format": 1, "folder": "upload-x", "files": {"/etc/passwd": 1}},
        {"format": 2, "folder": "upload-x", "files": {}},
        {"format": 1, "folder": "upload-x", "files": {"memorag.sqlite3": 5}},
        [],
        {},
    ],
)
def test_a_forged_remote_store_is_refused(forged):
    MemoryFileSystem().pipe_file(f"/s/{CURRENT}", json.dumps(forged).encode())
    for load in (ChainRetriever.load_local, IndexRetriever.from_persist_dir):
        with pytest.raises(StoreError):
            load("memory://s")


def test_a_file_that_is_missing_or_not_whole_is_named():
    ChainRetriever.from_documents(chain_documents()).save_local("memory://s")
    [database] = [path for path in MemoryFileSystem.store if path.endswith("memorag.sqlite3")]
    kept = MemoryFileSystem.store.pop(database)
    with pytest.raises(StoreError, match="cannot be read"):
        ChainRetriever.load_local("memory://s")
    MemoryFileSystem.store[database] = kept
    kept.seek(0)
    kept.truncate(100)
    with pytest.raises(StoreError, match="not whole"):
        ChainRetriever.load_local("memory://s")


def test_a_store_that_was_copied_there_as_it_is_loads(tmp_path):
    one = ChainRetriever.from_documents(chain_documents(), k=2)
    one.save_local(tmp_path / "s")
    MemoryFileSystem().put(str(tmp_path / "s"), "/copied", recursive=True)
    assert ask(ChainRetriever.load_local("memory://copied")) == ask(one)


@pytest.mark.parametrize("url", ["nosuch://x/y", "memory://nothing/here"])
def test_a_url_without_a_store_is_an_error(url):
    with pytest.raises(MemoRAGError):
        ChainRetriever.load_local(url)


@pytest.mark.parametrize("open_", [ChainRetriever.open_local, IndexRetriever.open])
def test_a_corpus_lives_in_a_local_folder(open_):
    with pytest.raises(InputError, match="local folder"):
        open_("memory://s")


def test_a_lang_chain_llm_with_a_lock_is_named():
    class Locked(type(lang_chain_llm("x"))):
        def __reduce__(self):
            raise TypeError("cannot pickle '_thread.lock' object")

    memory = langchain_memorag.LLMMemory(Locked(profile={"max_input_tokens": 100_000}))
    with pytest.raises(InputError, match=r"memory LLMMemory cannot be pickled"):
        pickle.dumps(ChainRetriever.from_documents(chain_documents(), memory=memory))
