"""Memories over LangChain models; their prompts may be LangChain prompt templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable

from memorag_integrations.contracts import LLM
from memorag_integrations.errors import InputError
from memorag_integrations.memories.gist import GistMemory as _GistMemory
from memorag_integrations.memories.llm import LLMMemory as _LLMMemory
from memorag_integrations.memories.prompt_memory import PromptMemoryModel
from memorag_integrations.prompts import Prompts, prompts_for

from .llm import NOSTREAM, LangChainLLM


class _FromTemplates(PromptMemoryModel):
    def __init__(
        self,
        llm: Runnable[Any, Any] | LLM,
        *,
        prompts: Prompts | Mapping[str, PromptTemplate] | None = None,
        **settings: Any,
    ) -> None:
        own = from_templates(prompts) if isinstance(prompts, Mapping) else prompts
        # what a memory asks is not an answer to an end user
        hidden = LangChainLLM(llm, tags=[NOSTREAM]) if isinstance(llm, Runnable) else llm
        super().__init__(hidden, prompts=own, **settings)


class LLMMemory(_FromTemplates, _LLMMemory):
    """`memorag_integrations.memories.llm.LLMMemory` of a LangChain model; the settings are the same.

    `prompts` may be {name of a template: `PromptTemplate`}; those not named are ours, in English.
    """


class GistMemory(_FromTemplates, _GistMemory):
    """`memorag_integrations.memories.gist.GistMemory` of a LangChain model; the settings are the same.

    `prompts` may be {name of a template: `PromptTemplate`}; those not named are ours, in English.
    """


def to_templates(prompts: Prompts) -> dict[str, PromptTemplate]:
    """Ours as LangChain's."""
    return {field.name: PromptTemplate.from_template(getattr(prompts, field.name)) for field in fields(prompts)}


def from_templates(templates: Mapping[str, PromptTemplate], base: Prompts | None = None) -> Prompts:
    """`base`, or ours in English, with these templates in their places.

    Raises:
        InputError: For a name that we have not, a template that is not an f-string `PromptTemplate`, or a missing field.
    """
    texts = {}
    for name, template in templates.items():
        if name not in Prompts.FIELDS:
            raise InputError(f"There is no template {name!r}; expected one of {', '.join(Prompts.FIELDS)}.")
        if not isinstance(template, PromptTemplate) or template.template_format != "f-string":
            raise InputError(
                f"The template {name!r} must be a langchain_core PromptTemplate in the f-string format, found "
                f"{getattr(template, 'template_format', type(template).__name__)!r}."
            )
        if template.partial_variables:
            raise InputError(f"The template {name!r} has partial variables; write their values into its text.")
        texts[name] = template.template
    return replace(base or prompts_for("en"), **texts)
