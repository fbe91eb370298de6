"""`Agent` over HTTP against a server on this machine, through OpenAI's own client."""

from __future__ import annotations

import pytest

from memorag_integrations import MemoRAG, Writer
from memorag_integrations.compat import Agent
from memorag_integrations.errors import InputError, LLMError
from tests.compat.api_server import Server, server
from tests.conftest import LIGHTHOUSE

__all__ = ["server"]


@pytest.fixture
def agent(server: Server) -> Agent:
    return Agent(
        "deepseek-chat", "deepseek", {"base_url": f"{server.url}/v1", "api_key": "secret"}, context_window=9000
    )


def test_where_each_source_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch):
    Agent("m", "azure", {"endpoint": server.url, "api_version": "2024-02-15-preview", "api_key": "secret"}).generate(
        "a"
    )
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    Agent("m", "openai", {"api_key": "secret"}).generate("b", max_new_tokens=9)
    Agent("m", "deepseek", {"base_url": f"{server.url}/beta", "api_key": "secret"}, None).generate("c", 9)
    azure, openai, deepseek = server.requests
    assert azure.path == "/openai/deployments/m/chat/completions?api-version=2024-02-15-preview"
    assert azure.headers["api-key"] == "secret"
    assert "max_tokens" not in azure.body
    assert openai.path == "/v1/chat/completions"
    assert openai.headers["authorization"] == "Bearer secret"
    assert (openai.body["max_completion_tokens"], openai.body["temperature"]) == (9, 0.0)
    assert deepseek.path == "/beta/chat/completions"
    assert deepseek.body["max_tokens"] == 9
    assert "temperature" not in deepseek.body


async def test_it_is_a_language_model_of_the_contract(agent: Agent, server: Server):
    completion = agent.complete("hi!", max_tokens=5)
    assert completion.text == "You said 3 characters."
    usage = completion.usage
    assert (usage.tokens_read, usage.tokens_cached, usage.tokens_generated, usage.calls) == (20, 10, 5, 1)
    assert (await agent.acomplete("hi!")).text == completion.text
    assert "|".join(agent.stream("hi!")) == "You|said|3|characters."
    assert [piece async for piece in agent.astream("hi!")] == ["You", "said", "3", "characters."]
    memo = MemoRAG(generator=agent)
    memo.memorize(LIGHTHOUSE, progress=False)
    assert memo.answer("Who lit the lamp?").text.startswith("You said ")
    assert "lit the lamp each dusk" in server.requests[-1].body["messages"][0]["content"]
    assert Writer(agent).room < 9000


def test_a_failure_that_passes_is_asked_again(agent: Agent, server: Server):
    server.failures = [503, 429]
    assert agent.generate("hi!") == ["You said 3 characters."]
    assert len(server.requests) == 3


def test_what_the_provider_says_comes_through_and_the_key_does_not(agent: Agent, server: Server):
    server.failures = [401]
    with pytest.raises(
        LLMError, match=r"deepseek deepseek-chat could not be asked: .*the model is overloaded"
    ) as error:
        agent.generate("hi!")
    assert "secret" not in str(error.value) + repr(agent)
    assert len(server.requests) == 1
    server.silent = True
    with pytest.raises(LLMError, match=r"replied without a text .*content_filter"):
        agent.generate("hi!")


@pytest.mark.parametrize(
    ("source", "api_dict", "message"),
    [
        ("anthropic", {"api_key": "k"}, "source must be one of azure, openai, deepseek; found 'anthropic'"),
        ("azure", {"api_key": "k", "endpoint": "e"}, "found no 'api_version'"),
        ("deepseek", {"api_key": "k"}, "must hold api_key, base_url; found no 'base_url'"),
        ("openai", {}, "must hold api_key and may hold base_url; found no 'api_key'"),
        ("openai", {"api_key": "k", "organisation": "o"}, "found 'organisation', which it does not know"),
    ],
)
def test_what_api_dict_must_hold(source: str, api_dict: dict[str, str], message: str):
    with pytest.raises(InputError, match=message):
        Agent("m", source, api_dict)
