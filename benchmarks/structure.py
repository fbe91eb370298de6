"""How much code a reader passes: files and functions of one retrieval, and methods that are written twice.

    python benchmarks/structure.py

Counts, for `retrieve` with the embedded memory and with a language-model memory (scripted), the files and the functions
of this package that run, after a first retrieval has loaded everything. Then it counts what is written twice: sync and async
functions of one name in one class or module (`recall`, `arecall`), both with a body of more than two statements.
"""

import ast
import os
import re
import sys
from pathlib import Path

import memorag_integrations
from memorag_integrations import Document, LLMMemory, MemoRAG
from memorag_integrations.clues import Usage
from memorag_integrations.contracts import LLM, Completion

PACKAGE = Path(memorag_integrations.__file__).parent
TEXT = "The mill stood by the river. Anna kept it after the flood.\n\nTomas left for the sea. He wrote to nobody."
QUERY = "Why does Tomas leave Anna and the mill?"


class Scripted(LLM):
    """Answers each prompt with the same clues."""

    name = "scripted"
    context_window = 8192

    def complete(self, prompt, *, max_tokens=None):
        reply = '{"spans": ["Tomas left for the sea."], "questions": ["Who kept the mill?"], "answer": "For the sea."}'
        return Completion(reply, Usage(calls=1))

    def stream(self, prompt, *, max_tokens=None):
        yield self.complete(prompt).text

    def astream(self, prompt, *, max_tokens=None):
        raise NotImplementedError


def passed(memory) -> tuple[set[str], set[tuple[str, str]]]:
    """Files and functions of the package that one retrieval runs, comprehensions and lambdas aside."""
    memo = MemoRAG(memory)
    memo.memorize([Document(TEXT, "novel")], progress=False)
    memo.retrieve("Who kept the mill?")
    files: set[str] = set()
    functions: set[tuple[str, str]] = set()

    def note(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)) and not code.co_name.startswith("<"):
            files.add(os.path.relpath(code.co_filename, PACKAGE))
            functions.add((code.co_filename, code.co_qualname))

    sys.setprofile(note)
    try:
        memo.retrieve(QUERY)
    finally:
        sys.setprofile(None)
    return files, functions


def twins() -> list[str]:
    """Async functions with a sync twin in the same class or module, both with a body of more than two statements."""
    pairs = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
            sync = {node.name: node for node in scope.body if isinstance(node, ast.FunctionDef)}
            for node in scope.body:
                twin = sync.get(re.sub("^(_?)a", r"\1", node.name)) if isinstance(node, ast.AsyncFunctionDef) else None
                if twin is not None and min(count(twin), count(node)) > 2:
                    pairs.append(f"{path.relative_to(PACKAGE)}: {twin.name}, {node.name}")
    return pairs


def count(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Statements of a body, nested ones too, the docstring aside."""
    first = function.body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = function.body[1:] if docstring else function.body
    return sum(isinstance(node, ast.stmt) for statement in body for node in ast.walk(statement))


if __name__ == "__main__":
    for name, memory in (("embedded memory", "activation"), ("language-model memory", LLMMemory(Scripted()))):
        files, functions = passed(memory)
        print(f"retrieve, {name}: {len(files)} files, {len(functions)} functions")
        if "-v" in sys.argv:
            print("  " + "\n  ".join(sorted(files)))
    pairs = twins()
    print(f"written twice: {len(pairs)}")
    print("  " + "\n  ".join(pairs))
