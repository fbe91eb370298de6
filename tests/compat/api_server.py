"""A small server that speaks as OpenAI, Azure and DeepSeek do, on this machine, and remembers what it was sent."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

CHAT = "/chat/completions"


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Status codes of the next replies, before it answers again."""
    silent: bool = False


def reply_to(body: dict[str, Any]) -> str:
    return f"You said {len(body['messages'][0]['content'])} characters."


def handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if server.failures:
                self._send(server.failures.pop(0), json.dumps({"error": {"message": "the model is overloaded"}}))
            elif not self.path.split("?")[0].endswith(CHAT):
                self._send(404, json.dumps({"error": {"message": "no such path"}}))
            elif body.get("stream"):
                chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in reply_to(body).split(" ")]
                whole = "".join(f"data: {json.dumps({**self._head(body), **chunk})}\n\n" for chunk in chunks)
                self._send(200, whole + "data: [DONE]\n\n", "text/event-stream")
            else:
                message = {"role": "assistant", "content": None if server.silent else reply_to(body)}
                choice = {
                    "index": 0,
                    "message": message,
                    "finish_reason": "content_filter" if server.silent else "stop",
                }
                usage = {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35}
                usage["prompt_tokens_details"] = {"cached_tokens": 10}
                self._send(200, json.dumps({**self._head(body), "choices": [choice], "usage": usage}))

        def _head(self, body: dict[str, Any]) -> dict[str, Any]:
            return {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}

        def _send(self, status: int, text: str, kind: str = "application/json") -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[Server]:
    state = Server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(state)) as http_server:
        state.url = f"http://127.0.0.1:{http_server.server_port}"
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield state
        http_server.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state
