"""The line, sync and async through the same cases, on real parts: the hash embedder is one, MiniLM another."""

import asyncio
import threading

import pytest

from memorag_integrations import Document, Fusion, MemoRAG, Passage
from memorag_integrations.clues import Recall
from memorag_integrations.corpus.splitter import Splitter
from memorag_integrations.encoders.checked import BATCH
from memorag_integrations.errors import Cancelled, EmbedderError, InputError, StoreError
from memorag_integrations.evidence import FoundBy
from memorag_integrations.index import index as index_module
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER, HashEmbedder

PATIENCE = 20
"""Seconds after which a thread that waits for another gives up, so that a failure is no hang."""


class Api:
    """One surface over both: every method is awaited, and calls the sync or the async one."""

    def __init__(self, mode):
        self.mode = mode

    async def call(self, memo, name, *args, **kwargs):
        if self.mode == "async":
            return await getattr(memo, f"a{name}")(*args, **kwargs)
        return getattr(memo, name)(*args, **kwargs)


@pytest.fixture(params=["sync", "async"])
def api(request):
    return Api(request.param)


@pytest.fixture(params=["bm25", "hash"])
def memo(request, documents):
    memo = MemoRAG(embedder=HashEmbedder() if request.param == "hash" else None, passage_size=130)
    memo.memorize(documents, progress=False)
    return memo


# ── sync and async through the same cases ─────────────────────────────────────────────────────────────────────────


async def test_memorize_then_retrieve(api, documents):
    memo = MemoRAG(passage_size=130)
    await api.call(memo, "memorize", iter(documents), progress=False)
    [piece] = await api.call(memo, "retrieve", "Which trawler struck the reef?", 1)
    assert "Silver Hind" in piece.text
    assert piece.document_id == "lighthouse"
    assert piece.passage.metadata == {"kind": "story", "year": 1902}
    assert LIGHTHOUSE[piece.passage.start : piece.passage.end] == piece.text


async def test_recall_gives_clues_that_stand_in_the_text(api, memo):
    recall = await api.call(memo, "recall", "  Which trawler struck the reef?  ")
    assert isinstance(recall, Recall)
    assert recall.query == "Which trawler struck the reef?"
    assert recall.clues
    assert any("Silver Hind" in clue.text for clue in recall.clues)
    for clue in recall.clues:
        at = clue.grounding
        assert memo.corpus.texts[at.document_id][at.start : at.end] == clue.text
        assert 0 <= clue.confidence <= 1
    confidences = [clue.confidence for clue in recall.clues]
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize("mode", ["memorag", "plain", "bm25", "hybrid"])
async def test_every_mode_ranks(api, documents, mode):
    memo = MemoRAG(embedder=HashEmbedder(256), passage_size=130)
    memo.memorize(documents, progress=False)
    found = await api.call(memo, "retrieve", "sourdough baskets lined with linen", 4, mode=mode)
    assert len(found) == 4
    assert "sourdough" in found[0].text
    assert [piece.score for piece in found] == sorted((piece.score for piece in found), reverse=True)


@pytest.mark.parametrize("mode", ["memorag", "bm25", "hybrid"])
async def test_without_an_embedder_all_modes_but_plain_rank_by_terms(api, documents, mode):
    memo = MemoRAG(passage_size=130)
    memo.memorize(documents, progress=False)
    [piece] = await api.call(memo, "retrieve", "sourdough baskets", 1, mode=mode)
    assert "sourdough" in piece.text
    with pytest.raises(InputError, match='mode "plain" ranks by vectors and needs an embedder'):
        await api.call(memo, "retrieve", "sourdough", mode="plain")


async def test_bm25_asks_no_embedder(api, documents):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    memo.memorize(documents, progress=False)
    await api.call(memo, "retrieve", "sourdough", mode="bm25")
    assert embedder.queries == []


async def test_five_by_default_k_or_a_budget(api, memo):
    assert len(await api.call(memo, "retrieve", "the keeper")) == 5
    assert len(await api.call(memo, "retrieve", "the keeper", 2)) == 2
    assert len(await api.call(memo, "retrieve", "the keeper", 99)) == len(memo.corpus.index)
    found = await api.call(memo, "retrieve", "the keeper", budget=300)
    assert len(found) >= 1
    assert sum(len(piece.text) for piece in found) <= 300


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"kind": "story"}, {"lighthouse"}),
        ({"kind": ["story", "craft"]}, {"lighthouse", "bakery"}),
        ({"kind": ("report",), "year": 1987}, {"river"}),
        ({"kind": "story", "year": 1987}, set()),
        ({"unknown": None}, set()),
        ({}, {"lighthouse", "bakery", "river"}),
        (lambda metadata: metadata["year"] < 2000, {"lighthouse", "river"}),
        (lambda metadata: False, set()),
    ],
)
async def test_filters(api, memo, filters, expected):
    for mode in ("memorag", "bm25"):
        found = await api.call(memo, "retrieve", "the alarm of the keeper", 99, filters=filters, mode=mode)
        assert {piece.document_id for piece in found} == expected
    recall = await api.call(memo, "recall", "the alarm of the keeper", filters=filters)
    assert {clue.grounding.document_id for clue in recall.clues} <= expected


async def test_filters_of_another_kind_are_refused(api, memo):
    with pytest.raises(InputError, match="filters must be a mapping"):
        await api.call(memo, "retrieve", "x", filters=[("kind", "story")])


@pytest.mark.parametrize("query", ["", "   ", "\n\t", None, 5, ["x"]])
async def test_a_blank_query_is_refused(api, memo, query):
    for name in ("retrieve", "recall"):
        with pytest.raises(InputError, match="A query must be a text that is not blank"):
            await api.call(memo, name, query)


@pytest.mark.parametrize("k", [0, -3, 1.5, "5", True])
async def test_k_below_one_is_refused(api, memo, k):
    with pytest.raises(InputError, match="k must be a whole number of pieces of evidence, at least 1"):
        await api.call(memo, "retrieve", "the keeper", k)


async def test_an_unknown_mode_is_refused_with_the_known(api, memo):
    with pytest.raises(InputError, match="one of memorag, plain, bm25, hybrid, per-clue-union; found 'dense'"):
        await api.call(memo, "retrieve", "the keeper", mode="dense")


@pytest.mark.parametrize("nothing", [[], iter(()), [""], ["  \n", "\t"], "\x1f"])
async def test_an_empty_corpus_is_refused_and_the_old_one_stays(api, memo, nothing):
    before = memo.corpus
    with pytest.raises(InputError, match="There is nothing to memorize"):
        await api.call(memo, "memorize", nothing, progress=False)
    assert memo.corpus is before


async def test_nothing_memorized_is_said(api):
    for name in ("retrieve", "recall"):
        with pytest.raises(InputError, match="Nothing is memorized yet"):
            await api.call(MemoRAG(), name, "query")


async def test_blank_documents_are_left_out(api, caplog):
    memo = MemoRAG()
    await api.call(memo, "memorize", ["text", Document("  ", "blank")], progress=False)
    assert memo.info()["documents"] == 1
    assert "1 of 2 documents hold no text" in caplog.text


@pytest.mark.parametrize("query", ["Wer hat die Lampe angezündet?", "灯台守", "🗼", "?!", "qqqq xxxx", "a" * 50_000])
async def test_any_query_is_answered_without_an_error(api, memo, query):
    found = await api.call(memo, "retrieve", query, 3)
    assert len(found) == 3
    assert all(piece.found_by or not (piece.raw["bm25"] or piece.raw.get("dense")) for piece in found)


async def test_minilm_finds_what_no_word_names(api, documents, minilm):
    memo = MemoRAG(embedder=minilm, passage_size=130)
    await api.call(memo, "memorize", documents, progress=False)
    for query in ("breakfast pastries and flour", "Wo wird Brot gebacken? bread"):
        [piece] = await api.call(memo, "retrieve", query, 1)
        assert piece.document_id == "bakery"


async def test_a_query_that_is_not_valid_unicode_is_made_so(api, documents, minilm):
    memo = MemoRAG(embedder=minilm)
    memo.memorize([*documents, Document("odd \ud800\x00 text", "odd")], progress=False)
    [piece] = await api.call(memo, "retrieve", "\udcff\x00 sourdough bread", 1)
    assert piece.document_id == "bakery"
    assert (await api.call(memo, "recall", "sourdough \ud800")).query == "sourdough \ufffd"


@pytest.mark.parametrize("fail", ["nan", "zero", "count", "dimension", "uneven"])
async def test_a_failing_embedder_leaves_the_old_corpus(api, documents, fail):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    memo.memorize(documents, progress=False)
    before, answer = memo.corpus, memo.retrieve("the reef")
    embedder.fail = fail
    with pytest.raises(EmbedderError, match="HashEmbedder"):
        await api.call(memo, "memorize", [*documents, "a new text"], progress=False)
    with pytest.raises(EmbedderError, match="HashEmbedder"):
        await api.call(memo, "retrieve", "the reef")
    embedder.fail = None
    assert memo.corpus is before
    assert await api.call(memo, "retrieve", "the reef") == answer


async def test_an_embedders_own_error_is_the_cause_of_ours_and_leaves_the_old_corpus(api, documents):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    memo.memorize(documents, progress=False)
    before, embedder.fail = memo.corpus, "raise"
    said = r"HashEmbedder seed 0 could not embed texts: RuntimeError: the model's server is away"
    with pytest.raises(EmbedderError, match=said) as raised:
        await api.call(memo, "memorize", ["a new text"], progress=False)
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert memo.corpus is before


async def test_memorizing_again_encodes_only_what_is_new(api, documents):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder, passage_size=130)
    await api.call(memo, "memorize", documents, progress=False)
    memories, embedder.passages[:] = list(memo.corpus.memories), []
    new = "A text that nobody has seen before."
    await api.call(memo, "memorize", [documents[2], Document(new, "new"), documents[0]], progress=False)
    assert embedder.passages == [new]
    assert memo.corpus.memories[0] is memories[2]
    assert memo.corpus.memories[2] is memories[0]
    assert list(memo.corpus.documents) == ["river", "new", "lighthouse"]
    fresh = MemoRAG(embedder=HashEmbedder(), passage_size=130)
    fresh.memorize([documents[2], Document(new, "new"), documents[0]], progress=False)
    assert memo.retrieve("the alarm", 9) == fresh.retrieve("the alarm", 9)


async def test_a_document_that_left_is_forgotten(api, documents):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    await api.call(memo, "memorize", documents, progress=False)
    await api.call(memo, "memorize", documents[:1], progress=False)
    assert {piece.document_id for piece in memo.retrieve("sourdough", 99)} == {"lighthouse"}
    assert memo.embedder.vectors == {}, "the index has them"
    assert len(memo.corpus.index.vectors) == len(memo.corpus.index) == len(memo.corpus.index.terms)


async def test_the_metadata_a_caller_gave_is_not_changed(api, documents):
    given = [dict(document.metadata) for document in documents]
    memo = MemoRAG()
    await api.call(memo, "memorize", documents, progress=False)
    await api.call(memo, "retrieve", "the alarm")
    assert [document.metadata for document in documents] == given


async def test_a_callers_own_split(api):
    def split(document):
        half = len(document.text) // 2
        spans = [(0, half), (half, len(document.text))]
        return [Passage(f"{document.id}/{a}", document.id, document.text[a:b], a, b, (a + b) / 2) for a, b in spans]

    memo = MemoRAG()
    await api.call(memo, "memorize", [Document(RIVER, "river")], split=split, progress=False)
    found = await api.call(memo, "retrieve", "the flood of 1987", 9)
    assert [piece.passage.id for piece in found] == [f"river/{len(RIVER) // 2}", "river/0"]


async def test_two_passages_of_one_id_are_refused(api):
    def split(document):
        return [Passage("same", document.id, document.text, None, None, 1.0)] * 2

    with pytest.raises(InputError, match="Two passages have the id 'same'"):
        await api.call(MemoRAG(), "memorize", "text", split=split, progress=False)


@pytest.mark.parametrize(
    ("passage", "message"),
    [
        (Passage("p", "another", "x", None, None, 1.0), "Expected passages of document 'd' from split, found 'p' of"),
        (Passage("p\ud800", "d", "x", None, None, 1.0), "must be valid Unicode"),
        (Passage("p", "d", "x", None, None, 1.0, {"bad": object()}), "'bad' is a object"),
        (None, "split made no passages"),
    ],
)
async def test_a_split_that_cannot_be_is_refused(api, passage, message):
    memo = MemoRAG(embedder=HashEmbedder())
    with pytest.raises(InputError, match=message):
        await api.call(
            memo,
            "memorize",
            Document("text", "d"),
            split=lambda document: [passage] if passage else [],
            progress=False,
        )


async def test_save_dir_saves(api, documents, tmp_path):
    memo = MemoRAG()
    await api.call(memo, "memorize", documents, save_dir=tmp_path / "store", progress=False)
    assert MemoRAG.load(tmp_path / "store").retrieve("the alarm") == memo.retrieve("the alarm")


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: value} for name in ("shards", "clues") for value in (0, -1, 1.5, True, None)),
        {"passage_size": 10},
        {"language": "English"},
        {"memory": "unknown"},
        {"memory": object()},
        {"embedder": 5},
    ],
)
def test_an_argument_out_of_range_is_refused(arguments):
    with pytest.raises(InputError, match=r"must be|Expected one of"):
        MemoRAG(**arguments)


def test_info_says_what_is_memorized_and_how(documents):
    memo = MemoRAG(embedder=HashEmbedder(), passage_size=130)
    memo.memorize(documents, progress=False)
    assert memo.info() == {
        "documents": 3,
        "passages": sum(len(Splitter(130).split(document)) for document in documents),
        "characters": len(LIGHTHOUSE + BAKERY + RIVER),
        "languages": ["en"],
        "memory": "activation-1",
        "memories": 3,
        "memory_tokens": sum(len(text) // 4 for text in (LIGHTHOUSE, BAKERY, RIVER)),
        "memory_bytes": 0,
        "embedder": "HashEmbedder seed 0 (64 dimensions)",
        "passage_size": 130,
    }
    bare = MemoRAG()
    bare.memorize(documents, progress=False)
    assert bare.info()["embedder"] == "none (BM25 alone)"


def test_a_fixed_language_is_not_detected(documents):
    memo = MemoRAG(language="de")
    memo.memorize(documents, progress=False)
    assert memo.info()["languages"] == ["de"]


def test_fewer_shards_and_clues_are_obeyed(documents):
    memo = MemoRAG(shards=1, clues=1, passage_size=130)
    memo.memorize(documents, progress=False)
    assert len(memo.recall("the keeper and the alarm").clues) == 1
    one = MemoRAG(shards=1, passage_size=130)
    one.memorize(documents, progress=False)
    assert len({clue.grounding.document_id for clue in one.recall("the keeper and the alarm").clues}) == 1


def test_the_fusion_given_is_used(documents):
    query = "the alarm of the town"
    rankings = []
    for fusion in (Fusion(), Fusion(region_weight=0.0, document_weight=0.0)):
        memo = MemoRAG(passage_size=130, fusion=fusion)
        memo.memorize(documents, progress=False)
        rankings.append([piece.raw["fused"] for piece in memo.retrieve(query, 20)])
    assert rankings[0] != rankings[1]


def test_the_peaks_of_the_ranking_are_the_clues(memo):
    recall = memo.recall("Which trawler struck the reef?")
    [piece] = memo.retrieve("Which trawler struck the reef?", 1)
    assert FoundBy(recall.clues[0].text, "memory", 1) in piece.found_by


# ── a large index picks documents first ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["bm25", "hash"])
def large(request, monkeypatch):
    """Twenty documents, and an index that calls more than six passages large."""
    monkeypatch.setattr(index_module, "EVERYTHING", 6)
    monkeypatch.setattr(index_module, "PICK", 2)
    memo = MemoRAG(embedder=HashEmbedder(512) if request.param == "hash" else None, passage_size=50)
    texts = [f"Number{n} stands here alone by itself.\n\nThe common lamp is lit, and it is {n}." for n in range(20)]
    memo.memorize([Document(text, f"d{n}", {"n": n}) for n, text in enumerate(texts)], progress=False)
    return memo


def test_of_a_large_index_whole_documents_are_candidates(large):
    found = large.retrieve("number7", 99)
    assert found[0].document_id == "d7"
    assert len(found) < len(large.corpus.index)
    places = [place for piece in found for place in (piece.passage, *piece.repeats)]
    of_seven = [place for place in large.corpus.index.passages if place.document_id == "d7"]
    assert len(of_seven) > 1
    assert {p.id for p in of_seven} <= {p.id for p in places}, "also the passage that does not hold the word"


@pytest.mark.parametrize("wanted", [[3], list(range(10, 20))])
def test_filters_of_a_large_index_are_obeyed_and_find_what_they_allow(large, wanted):
    found = large.retrieve("number7", 99, filters={"n": wanted})
    assert found
    assert {piece.passage.metadata["n"] for piece in found} <= set(wanted)
    [piece] = large.retrieve(f"number{wanted[-1]}", 1, filters={"n": wanted})
    assert piece.text.startswith(f"Number{wanted[-1]} ")


# ── cancelling, threads and the event loop ────────────────────────────────────────────────────────────────────────


def test_cancel_ends_memorize_and_leaves_the_old_corpus(documents):
    memo = MemoRAG(embedder=HashEmbedder(8))
    memo.memorize(documents, progress=False)
    before, cancel, stages = memo.corpus, threading.Event(), []

    def progress(stage, done, total):
        stages.append(stage)
        if stage == "embedding passages":
            cancel.set()

    many = [f"text {n}" for n in range(BATCH + 1)]
    with pytest.raises(Cancelled):
        memo.memorize(many, progress=progress, cancel=cancel)
    assert memo.corpus is before
    assert "forming memories" not in stages
    memo.memorize(many, progress=False)
    assert memo.embedder.encoded == 3 + BATCH + 1, "what was encoded before the cancel is not encoded again"


def test_cancel_in_the_last_step_still_leaves_the_old_corpus(documents):
    memo = MemoRAG()
    memo.memorize(documents, progress=False)
    before, cancel = memo.corpus, threading.Event()
    with pytest.raises(Cancelled):
        memo.memorize("new", progress=lambda stage, *_: stage == "forming memories" and cancel.set(), cancel=cancel)
    assert memo.corpus is before


@pytest.mark.parametrize("stage", ["indexing terms", "embedding passages", "forming memories"])
def test_a_progress_function_that_raises_leaves_the_old_corpus(documents, stage):
    memo = MemoRAG(embedder=HashEmbedder())
    memo.memorize(documents, progress=False)
    before = memo.corpus

    def progress(at, done, total):
        if at == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memo.memorize([*documents, "new"], progress=progress)
    assert memo.corpus is before
    memo.memorize(["the lock was given back"], progress=False)


class Gate:
    """A hook that stands still in the embedder until it is opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, texts):
        self.reached.set()
        assert self.opened.wait(PATIENCE), "nobody opened the gate: the event loop was blocked"


async def when_reached(gate):
    while not gate.reached.is_set():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("name", ["memorize", "retrieve", "recall"])
async def test_async_calls_do_not_block_the_event_loop(documents, name):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    memo.memorize(documents, progress=False)
    embedder.hook = gate = Gate()

    async def heartbeat():  # only a loop that runs while the embedder stands still can open the gate
        await when_reached(gate)
        gate.opened.set()

    work = memo.amemorize("new", progress=False) if name == "memorize" else getattr(memo, f"a{name}")("the reef")
    await asyncio.gather(heartbeat(), work)


async def test_an_embedders_own_async_calls_are_awaited(documents):
    class Native(HashEmbedder):
        async def aembed_queries(self, texts):
            await asyncio.sleep(0)
            self.loop = asyncio.get_running_loop()
            return self._embed(texts)

    embedder = Native(512)
    memo = MemoRAG(embedder=embedder)
    await memo.amemorize(documents, progress=False)
    assert (await memo.aretrieve("granite lighthouse"))[0].document_id == "lighthouse"
    assert embedder.loop is asyncio.get_running_loop()
    assert embedder.queries == []


async def test_cancelling_the_task_ends_the_work_and_keeps_the_corpus(documents, tmp_path):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    await memo.amemorize(documents, progress=False)
    before = memo.corpus
    embedder.hook = gate = Gate()
    task = asyncio.create_task(memo.amemorize([*documents, "a new text"], progress=False, save_dir=tmp_path / "store"))
    await when_reached(gate)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.opened.set()
    await asyncio.to_thread(memo.save, tmp_path / "after")  # waits until the cancelled work has ended
    assert memo.corpus is before
    with pytest.raises(StoreError, match="broken off"):
        MemoRAG.load(tmp_path / "store", embedder=HashEmbedder())


async def test_a_query_during_memorize_sees_one_state(documents):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    memo.memorize(documents, progress=False)
    old = memo.retrieve("the reef", 9)
    gate = Gate()
    embedder.hook = lambda texts: gate(texts) if "a new reef" in texts else None
    task = asyncio.create_task(memo.amemorize("a new reef", progress=False))
    await when_reached(gate)
    assert await memo.aretrieve("the reef", 9) == old
    assert memo.retrieve("the reef", 9) == old
    gate.opened.set()
    await task
    assert [piece.text for piece in await memo.aretrieve("the reef", 9)] == ["a new reef"]


def test_a_query_that_has_begun_keeps_its_state(documents):
    embedder = HashEmbedder()
    memo = MemoRAG(embedder=embedder)
    memo.memorize(documents, progress=False)
    old = memo.retrieve("the reef", 9)
    embedder.hook = lambda texts: memo.memorize("a new reef", progress=False) if texts == ["the reef"] else None
    assert memo.retrieve("the reef", 9) == old
    embedder.hook = None
    assert [piece.text for piece in memo.retrieve("the reef", 9)] == ["a new reef"]


def test_many_threads_ask_at_once_and_get_the_same(memo):
    queries = ["the reef", "sourdough", "the alarm", "apple trees"]
    expected = {query: memo.retrieve(query, 4) for query in queries}
    found, start = [], threading.Barrier(8)

    def ask(n):
        start.wait(PATIENCE)
        found.extend((query, memo.retrieve(query, 4)) for query in queries[n % 4 :] + queries[: n % 4])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 32
    assert all(answer == expected[query] for query, answer in found)


async def test_many_tasks_ask_at_once_and_get_the_same(memo):
    queries = ["the reef", "sourdough", "the alarm", "apple trees"] * 4
    found = await asyncio.gather(*(memo.aretrieve(query, 4) for query in queries))
    assert found == [memo.retrieve(query, 4) for query in queries]


def test_the_embedder_that_is_not_there_is_said_once_in_one_line(caplog):
    with caplog.at_level("INFO", "memorag_integrations"):
        MemoRAG().memorize("text", progress=False)
    assert [record.message for record in caplog.records if "BM25 alone" in record.message] == [
        "No embedder: BM25 alone. Pass embedder= for dense scores beside it."
    ]


def test_a_query_that_shares_no_term_with_the_corpus_is_said(documents, caplog):
    memo = MemoRAG()
    memo.memorize(documents, progress=False)
    caplog.clear()
    assert memo.retrieve("Почему корабль не вернулся?", 2)
    assert "another language" in caplog.text
    caplog.clear()
    assert memo.retrieve(documents[0].text[:60], 2)
    assert not caplog.text


@pytest.mark.parametrize(("name", "said"), [("llm", r"LLMMemory\(llm\)"), ("beacon", r"BeaconMemory\(…\)")])
def test_a_memory_that_needs_settings_is_not_made_by_name(name, said):
    with pytest.raises(InputError, match=said):
        MemoRAG(name)


def test_what_nothing_speaks_for_is_not_said_to_be_found(documents):
    memo = MemoRAG()
    memo.memorize(documents, progress=False)
    assert all(piece.found_by == () for piece in memo.retrieve("qqqq xxxx", 3))


def test_a_store_is_loaded_with_a_memory_named(documents, tmp_path):
    memo = MemoRAG()
    memo.memorize(documents, save_dir=tmp_path / "store", progress=False)
    assert MemoRAG.load(tmp_path / "store", memory="activation").info() == memo.info()
    with pytest.raises(StoreError, match="random-1"):
        MemoRAG.load(tmp_path / "store", memory="random")
