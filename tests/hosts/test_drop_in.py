"""The page docs/hosts.md: an app in each host, before and after, runs; one line differs."""

import re
from difflib import unified_diff
from pathlib import Path

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core import Document, MockEmbedding
from llama_index.core.llms import MockLLM

from tests.hosts.test_langchain import WordEmbeddings

PAGE = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text("utf-8")
APPS = dict(
    zip(
        ("llamaindex", "langchain"),
        [*zip(*[iter(re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M))] * 2, strict=False)],
        strict=False,
    )
)
TEXTS = {"anna": "Anna kept the mill after the flood.", "old": "Tomas left for the sea in the old boat."}


def run(app: str, host: str) -> dict:
    if host == "llamaindex":
        names = {
            "documents": [Document(text=text, id_=id) for id, text in TEXTS.items()],
            "news": Document(text="Tomas came home.", id_="news"),
            "embed_model": MockEmbedding(embed_dim=8),
            "llm": MockLLM(max_tokens=8),
        }
    else:
        names = {
            "documents": [LangChainDocument(page_content=text, id=id) for id, text in TEXTS.items()],
            "news": LangChainDocument(page_content="Tomas came home.", id="news"),
            "embedding": WordEmbeddings(),
        }
    exec(compile(app, "docs/hosts.md", "exec"), names)
    return names


@pytest.mark.parametrize("host", APPS)
def test_an_app_runs_before_and_after_and_one_line_differs(host):
    before, after = APPS[host]
    changed = list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))
    assert len([line for line in changed if line.startswith("-") and not line.startswith("---")]) == 1
    assert len([line for line in changed if line.startswith("+") and not line.startswith("+++")]) == 1
    theirs, ours = run(before, host), run(after, host)
    assert len(ours["found"]) == len(theirs["found"]) == 2
    if host == "llamaindex":
        assert {node.text for node in ours["found"]} == {node.text for node in theirs["found"]}
        assert str(ours["answer"])
        assert set(ours["index"].ref_doc_info) == {"anna", "news"}
    else:
        assert {one.page_content for one in ours["found"]} == {one.page_content for one in theirs["found"]}
        assert "Anna kept" in ours["context"]
        assert [one.id for one in ours["store"].get(["anna", "old", "news"])] == ["anna", "news"]
