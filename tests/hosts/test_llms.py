"""`memory=LLMMemory(llm)` in both hosts: clues lead to evidence, stores load with the memory passed, tracing sees the calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document as ChainDocument
from llama_index.core import Document as IndexDocument
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler

import langchain_memorag
import llamaindex_memorag
from memorag_integrations.errors import LLMError, StoreError

from ..scripted import lang_chain_llm, llama_index_llm, text_of

FILLER = [f"On day {i} the crew painted the boat and mended nets in the old shed by the pier." for i in range(40)]
EVIDENCE = "Fifteen thousand euros were granted for lanterns after Carla had insisted."
TEXT = "\n\n".join([*FILLER[:25], EVIDENCE, *FILLER[25:]])
QUERY = "What did the keeper's daughter achieve?"


def knows(prompt: str) -> str:
    if EVIDENCE not in text_of(prompt):
        return json.dumps({"spans": [], "questions": [], "answer": ""})
    return json.dumps(
        {
            "spans": [EVIDENCE],
            "questions": ["How much did Carla get for the lanterns?"],
            "answer": "Money for lanterns.",
        }
    )


def index_retriever(model: Any) -> Any:
    documents = [IndexDocument(text=TEXT, id_="log"), IndexDocument(text="Whales were seen.", id_="whales")]
    engine = {"passage_size": 200}
    return llamaindex_memorag.MemoRAGRetriever.from_documents(
        documents, 3, embed_model=None, memory=model, engine=engine
    )


def chain_retriever(model: Any) -> Any:
    documents = [ChainDocument(TEXT, id="log"), ChainDocument("Whales were seen.", id="whales")]
    engine = {"passage_size": 200}
    return langchain_memorag.MemoRAGRetriever.from_documents(documents, 3, memory=model, engine=engine)


def texts(found: Any) -> list[str]:
    return [getattr(piece, "page_content", None) or piece.text for piece in found]


HOSTS = {
    "LlamaIndex": (lambda script: llamaindex_memorag.LLMMemory(llama_index_llm(script)), index_retriever),
    "LangChain": (lambda script: langchain_memorag.LLMMemory(lang_chain_llm(script)), chain_retriever),
}


@pytest.mark.parametrize("host", HOSTS)
async def test_clues_join_the_search_and_sync_is_async(host: str) -> None:
    make, build = HOSTS[host]
    retriever = build(make(knows))
    found = retriever.memo.retrieve("What was granted to the lantern's friend Carla?", k=3)
    assert EVIDENCE in found[0].passage.text
    assert EVIDENCE in {reason.by for reason in found[0].found_by}
    sync = texts(retriever.invoke(QUERY) if host == "LangChain" else retriever.retrieve(QUERY))
    later = texts(await (retriever.ainvoke(QUERY) if host == "LangChain" else retriever.aretrieve(QUERY)))
    assert sync == later
    recall = retriever.memo.recall(QUERY)
    assert recall.answer == "Money for lanterns."
    assert recall.clues[0].grounding.score == 1
    assert recall.usage.calls == 0  # asked before
    assert retriever.memo.usage.tokens_cached > 0


@pytest.mark.parametrize("host", HOSTS)
def test_a_store_asks_for_the_language_model(host: str, tmp_path: Path) -> None:
    make, build = HOSTS[host]
    retriever = build(make(knows))
    retriever.memo.save(tmp_path / "store")
    with pytest.raises(StoreError, match="pass the same memory model"):
        type(retriever.memo).load(tmp_path / "store")
    loaded = type(retriever.memo).load(tmp_path / "store", memory=make(knows))
    assert loaded.recall(QUERY).answer == "Money for lanterns."


@pytest.mark.parametrize("host", HOSTS)
def test_a_reply_that_is_no_use_leaves_the_query(host: str) -> None:
    make, build = HOSTS[host]
    retriever = build(make("I'm sorry, I cannot do that."))
    found = retriever.memo.retrieve("Who insisted on lanterns?", k=1)
    assert EVIDENCE in found[0].passage.text
    assert "query alone" in retriever.memo.recall("Who insisted on lanterns?").warnings[-1]


@pytest.mark.parametrize("host", HOSTS)
def test_a_failing_provider_speaks_and_nothing_is_lost(host: str) -> None:
    broken = [True]

    def script(prompt: str) -> str:
        if broken[0]:
            raise RuntimeError("503: overloaded, try later")
        return knows(prompt)

    make, build = HOSTS[host]
    retriever = build(make(script))
    with pytest.raises(LLMError, match="503: overloaded, try later"):
        retriever.memo.retrieve(QUERY)
    broken[0] = False
    assert retriever.memo.recall(QUERY).clues


class Seen(BaseCallbackHandler):
    def __init__(self) -> None:
        self.retrievers: list[Any] = []
        self.models: list[Any] = []

    def on_retriever_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self.retrievers.append(run_id)

    def on_chat_model_start(self, *args: Any, parent_run_id: Any = None, **kwargs: Any) -> None:
        self.models.append(parent_run_id)


async def test_lang_chains_tracing_sees_the_memorys_calls_under_the_retrievers() -> None:
    retriever, seen = chain_retriever(langchain_memorag.LLMMemory(lang_chain_llm(knows))), Seen()
    retriever.invoke(QUERY, config={"callbacks": [seen]})
    await retriever.ainvoke(QUERY + " And when?", config={"callbacks": [seen]})
    assert len(seen.retrievers) == 2
    assert seen.models
    assert set(seen.models) == set(seen.retrievers)


async def test_llama_indexs_tracing_sees_them_too() -> None:
    retriever, handler = index_retriever(llamaindex_memorag.LLMMemory(llama_index_llm(knows))), SimpleSpanHandler()
    dispatcher = get_dispatcher()
    dispatcher.add_span_handler(handler)
    try:
        retriever.retrieve(QUERY)
        await retriever.aretrieve(QUERY + " And when?")
    finally:
        dispatcher.span_handlers.remove(handler)
    spans = {span.id_: span for span in handler.completed_spans}
    calls = [span for span in spans.values() if "complete" in span.id_]
    assert calls
    for span in calls:
        above = span
        while above.parent_id in spans:
            above = spans[above.parent_id]
        assert "etrieve" in above.id_
