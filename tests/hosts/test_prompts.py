"""Prompts replaced in each host's own way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.prompts import PromptTemplate as ChainTemplate
from llama_index.core.prompts import ChatPromptTemplate as IndexChatTemplate
from llama_index.core.prompts import PromptTemplate as IndexTemplate

import langchain_memorag
import llamaindex_memorag
from langchain_memorag import memories as chain
from llamaindex_memorag import memories as index
from memorag_integrations.documents import Document, Shard
from memorag_integrations.errors import InputError
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.prompts import prompts_for

from ..scripted import ScriptedLLM, instructions_of, lang_chain_llm, llama_index_llm

FINE = json.dumps({"spans": ["Ann came"]})
SHARD = Shard((Document("Ann came. Bob left."),))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ours_survive_the_way_through_either_host(language: str) -> None:
    ours = prompts_for(language)
    assert index.from_templates(index.to_templates(ours)) == ours
    assert chain.from_templates(chain.to_templates(ours)) == ours
    values = {"tag": "t", "query": "q", "spans": 1, "questions": 2, "language": "l"}
    expected = ours.recall.format(**values)
    assert index.to_templates(ours)["recall"].format(**values) == expected
    assert chain.to_templates(ours)["recall"].format(**values) == expected


def test_llama_indexs_prompt_mixin() -> None:
    llm = ScriptedLLM(FINE)
    model = llamaindex_memorag.LLMMemory(llm)
    memory = model.form(SHARD)
    assert '{"spans"' in model.get_prompts()["recall"].template  # type: ignore[attr-defined]
    model.update_prompts(
        {"recall": IndexTemplate('Find {query} and say {"spans": []}'), "text_qa_template": IndexTemplate("x")}
    )
    memory.recall(["Who?"], scores=[])
    assert instructions_of(llm.prompts[0]) == 'Find Who? and say {"spans": []}'
    assert model.get_prompts()["recall"].template == 'Find {query} and say {"spans": []}'  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="context_str"):
        model.update_prompts({"recall": IndexTemplate("{query} {context_str}")})
    with pytest.raises(InputError, match="PromptTemplate"):
        model.update_prompts({"recall": IndexChatTemplate(message_templates=[])})


def test_a_retrievers_prompts_are_its_memorys_and_a_new_one_is_asked_with_at_once() -> None:
    from llama_index.core import Document as IndexDocument

    llm = ScriptedLLM(FINE)
    retriever = llamaindex_memorag.MemoRAGRetriever.from_documents(
        [IndexDocument(text="Ann came. Bob left.")], embed_model=None, memory=llamaindex_memorag.LLMMemory(llm)
    )
    assert "memory:recall" in retriever.get_prompts()
    retriever.retrieve("Who?")
    retriever.retrieve("Who?")
    assert len(llm.prompts) == 1
    retriever.update_prompts({"memory:recall": IndexTemplate("Now find {query}")})
    retriever.retrieve("Who?")
    assert instructions_of(llm.prompts[1]) == "Now find Who?"
    plain = llamaindex_memorag.MemoRAGRetriever.from_documents([IndexDocument(text="Ann came.")], embed_model=None)
    assert plain.get_prompts() == {}


def test_lang_chains_prompt_templates(tmp_path: Any) -> None:
    llm = ScriptedLLM(FINE)
    own = {"recall": ChainTemplate.from_template("Find {query} and say {{}}")}
    langchain_memorag.LLMMemory(llm, prompts=own).form(SHARD).recall(["Who?"], scores=[])
    assert instructions_of(llm.prompts[0]) == "Find Who? and say {}"
    gist = {"gist": ChainTemplate.from_template("Shorten.")}
    langchain_memorag.GistMemory(llm, prompts=gist, folder=tmp_path, words=2).form(SHARD)
    assert instructions_of(llm.prompts[1]) == "Shorten."
    for wrong, said in (
        ({"recal": own["recall"]}, "recal"),
        ({"recall": ChatPromptTemplate.from_template("{query}")}, "f-string"),
        ({"recall": ChainTemplate.from_template("{{ query }}", template_format="mustache")}, "mustache"),
        ({"recall": ChainTemplate.from_template("no")}, "query"),
        ({"recall": ChainTemplate.from_template("{query} {x}").partial(x="y")}, "partial"),
    ):
        with pytest.raises(InputError, match=said):
            langchain_memorag.LLMMemory(llm, prompts=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("package", "model"), [(llamaindex_memorag, llama_index_llm(FINE)), (langchain_memorag, lang_chain_llm(FINE))]
)
def test_a_hosts_model_goes_in_as_it_is(package: Any, model: Any, tmp_path: Any) -> None:
    assert package.LLMMemory(model).form(SHARD).recall(["Who?"], scores=[])[0].clues
    assert package.GistMemory(model, folder=tmp_path).form(SHARD).recall(["Who?"], scores=[])[0].clues
    assert isinstance(package.LLMMemory(model), LLMMemory)
    with pytest.raises(InputError, match="name, context_window"):
        package.LLMMemory("gpt-4")
