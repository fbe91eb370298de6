"""Memories over LlamaIndex models, with their prompts open to LlamaIndex's prompt mixin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from llama_index.core.llms import LLM as HostLLM
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.prompts.mixin import PromptMixin

from memorag_integrations.contracts import LLM
from memorag_integrations.errors import InputError
from memorag_integrations.memories.gist import GistMemory as _GistMemory
from memorag_integrations.memories.llm import LLMMemory as _LLMMemory
from memorag_integrations.memories.prompt_memory import PromptMemoryModel
from memorag_integrations.prompts import Prompts, prompts_for

from .llm import as_llm

_FIELD = re.compile(r"\{\{([a-zA-Z_]\w*)\}\}")


class _OpenPrompts(PromptMixin, PromptMemoryModel):
    """`get_prompts` and `update_prompts`: the English templates, or those given in their place.

    An update replaces the template for queries of every language. Recalls under way keep the one they began with.
    """

    def __init__(self, llm: HostLLM | LLM, **settings: Any) -> None:
        super().__init__(as_llm(llm), **settings)

    def _get_prompts(self) -> dict[str, BasePromptTemplate]:
        return dict(to_templates(self.prompts or prompts_for("en")))

    def _get_prompt_modules(self) -> dict[str, PromptMixin]:
        return {}

    def _update_prompts(self, prompts_dict: dict[str, BasePromptTemplate]) -> None:
        known = {name: prompt for name, prompt in prompts_dict.items() if name in Prompts.FIELDS}
        if known:
            object.__setattr__(self, "prompts", from_templates(known, self.prompts))


class LLMMemory(_OpenPrompts, _LLMMemory):
    """`memorag_integrations.memories.llm.LLMMemory` of a LlamaIndex model; the settings are the same."""


class GistMemory(_OpenPrompts, _GistMemory):
    """`memorag_integrations.memories.gist.GistMemory` of a LlamaIndex model; the settings are the same."""


def to_templates(prompts: Prompts) -> dict[str, PromptTemplate]:
    """Ours as LlamaIndex's: there a brace that is no field stands once."""
    texts = {field.name: getattr(prompts, field.name) for field in fields(prompts)}
    return {name: PromptTemplate(text.replace("{{", "{").replace("}}", "}")) for name, text in texts.items()}


def from_templates(templates: Mapping[str, BasePromptTemplate], base: Prompts | None = None) -> Prompts:
    """`base`, or ours in English, with these templates in their places.

    Raises:
        InputError: For a name that we have not, a template that is not a `PromptTemplate`, or a field that is missing.
    """
    texts = {}
    for name, template in templates.items():
        if name not in Prompts.FIELDS:
            raise InputError(f"There is no template {name!r}; expected one of {', '.join(Prompts.FIELDS)}.")
        if not isinstance(template, PromptTemplate):
            raise InputError(f"The template {name!r} must be a PromptTemplate, found {type(template).__name__}.")
        escaped = template.template.replace("{", "{{").replace("}", "}}")
        texts[name] = _FIELD.sub(r"{\1}", escaped)
    return replace(base or prompts_for("en"), **texts)
