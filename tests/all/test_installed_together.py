"""Our wheel beside the newest of what an app has installed: pip resolves it, and the hosts' own parts work with ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BESIDE = [
    "llama-index-retrievers-bm25",
    "langchain",
    "langchain-classic",
    "langgraph",
    "langchain-chroma",
    "langchain-qdrant",
    "llama-index-vector-stores-qdrant",
    "llama-index-vector-stores-chroma",
    "langchain-community",
]
CASES = ["pytest", "pytest-asyncio"]


def run(*command: object, **how) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, env=environment, **how)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """An environment of its own. MEMORAG_TOGETHER names one to be used again, for work on these cases."""
    kept = os.environ.get("MEMORAG_TOGETHER")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("together") / "venv"
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-q"]
    if not python.exists():
        run(sys.executable, "-m", "venv", folder)
    wheels = tmp_path_factory.mktemp("wheels")
    run(*pip, "wheel", "--no-deps", "-w", wheels, ROOT)
    [wheel] = wheels.glob("memorag_integrations-*.whl")
    run(*pip, "uninstall", "-y", "memorag-integrations")
    run(*pip, "install", f"{wheel}[llamaindex,langchain]", *BESIDE, *CASES)
    return python


def test_pip_resolves_them_together(python):
    assert "No broken requirements found" in run(python, "-m", "pip", "check")
    listed = run(python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check").lower()
    for name in (*BESIDE, "memorag-integrations", "pystemmer"):
        assert f"{name}==" in listed, name
    assert "torch==" not in listed


def test_the_hosts_own_parts_work_with_ours(python, tmp_path):
    (tmp_path / "cases.py").write_bytes((ROOT / "tests" / "all" / "together_cases.py").read_bytes())
    said = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "cases.py", cwd=tmp_path)
    assert "passed" in said or "100%" in said
