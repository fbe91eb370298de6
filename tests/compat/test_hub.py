"""Downloads go to `cache_dir` with `access_token`: a hub on this machine serves tiny checkpoints, some of them gated."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secret"

SCRIPT = """
import json, sys
from memorag_integrations.compat import MemoRAG
from memorag_integrations.errors import MemoRAGError
token, cache, memory, text = sys.argv[1:]
try:
    pipe = MemoRAG(memory, "owner/retriever", "owner/generator", cache_dir=cache, access_token=token, retrieval_chunk_size=40)
    pipe.memorize(text)
    answer = pipe(query="Who lit the lamp?", max_new_tokens=8)
    print(json.dumps({"passages": len(pipe.retrieval_corpus), "answer": answer}))
except MemoRAGError as error:
    print(type(error).__name__, error)
"""


@dataclass
class Hub:
    folders: dict[str, Path]
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def listing(folder: Path) -> list[dict[str, Any]]:
    """A repository's tree as the hub tells it."""
    return [
        {"type": "file", "path": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "oid": f"{at:040x}"}
        for at, path in enumerate(sorted(folder.rglob("*")))
        if path.is_file()
    ]


def handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0].strip("/")
            hub.asked.append((path, self.headers.get("Authorization")))
            repo = "/".join(path.removeprefix("api/models/").split("/")[:2])
            if "gated" in repo and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(401, b"", {"X-Error-Code": "GatedRepo"})
            folder = hub.folders.get(repo)
            if folder is None:
                return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            if path.startswith("api/models/"):
                about: Any = {"id": repo, "modelId": repo, "sha": COMMIT}
                return self._send_json(listing(folder) if "/tree/" in path else about)
            file = folder / path.split("/", 4)[-1]
            if not file.is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            data = file.read_bytes()
            tag = hashlib.sha256(data).hexdigest()
            return self._send(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

        do_HEAD = do_GET

        def _send_json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def hub(beacon: str, instruct: str, retriever: str) -> Iterator[Hub]:
    folders = {"owner/memory": beacon, "owner/gated": beacon, "owner/generator": instruct, "owner/retriever": retriever}
    hub = Hub({repo: Path(folder) for repo, folder in folders.items()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(hub)) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


def run(hub: Hub, home: Path, *arguments: str) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in ("HF_TOKEN", "HF_HUB_CACHE")}
    there = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=kept | there, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_everything_is_fetched_with_the_token_into_the_cache(hub: Hub, tmp_path: Path):
    cache = tmp_path / "cache"
    said = json.loads(run(hub, tmp_path / "home", TOKEN, str(cache), "owner/gated", "The lamp was lit by Ewan. " * 20))
    assert said["passages"] > 1
    assert said["answer"]
    assert sorted(path.name for path in cache.glob("models--*")) == [
        "models--owner--gated", "models--owner--generator", "models--owner--retriever",
    ]  # fmt: skip
    assert not list((tmp_path / "home").rglob("models--*"))
    assert {token for path, token in hub.asked if "owner/" in path} == {f"Bearer {TOKEN}"}
    assert not list(cache.rglob("modeling_evil.py")), "no code is fetched"


def test_a_gated_model_without_a_token(hub: Hub, tmp_path: Path):
    said = run(hub, tmp_path / "home", "", str(tmp_path / "cache"), "owner/gated", "x")
    assert said.startswith("MemoryModelError The model 'owner/gated' could not be loaded")
    assert "accept its terms at https://huggingface.co/owner/gated, then set HF_TOKEN" in said
    assert not any("memory" in path or "safetensors" in path for path, _ in hub.asked if "gated" in path)


def test_a_model_that_nobody_has(hub: Hub, tmp_path: Path):
    said = run(hub, tmp_path / "home", "", str(tmp_path / "cache"), "owner/nothing", "x")
    assert "There is no such repository, or it is private" in said
