"""`MemoRAGQueryEngine`: the retriever under LlamaIndex's own response synthesizers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import BaseSynthesizer, ResponseMode
from llama_index.core.response_synthesizers.context_only import ContextOnly
from llama_index.core.response_synthesizers.no_text import NoText
from llama_index.core.schema import BaseNode, TransformComponent
from pydantic import BaseModel

from memorag_integrations.contracts import MemoryModel
from memorag_integrations.errors import InputError
from memorag_integrations.hosts.arguments import EngineSettings, check_names

from .adapters import app_llm
from .retriever import MemoRAGRetriever
from .settings import FROM_APP, HINTS, EmbedModel, HostReranker, RetrieverSettings, llm_or_error

_WITHOUT_LLM: Mapping[ResponseMode, type[NoText] | type[ContextOnly]] = {
    ResponseMode.NO_TEXT: NoText,
    ResponseMode.CONTEXT_ONLY: ContextOnly,
}


class AnswerSettings(TypedDict, total=False):
    """Settings of `RetrieverQueryEngine.from_args`: how the answer is written."""

    response_synthesizer: BaseSynthesizer | None
    node_postprocessors: list[BaseNodePostprocessor] | None
    response_mode: ResponseMode
    text_qa_template: BasePromptTemplate | None
    refine_template: BasePromptTemplate | None
    summary_template: BasePromptTemplate | None
    simple_template: BasePromptTemplate | None
    output_cls: type[BaseModel] | None
    use_async: bool
    streaming: bool
    multimodal: bool


class QueryEngineSettings(RetrieverSettings, AnswerSettings, total=False):
    """Settings of the retriever and of the answer."""


_ANSWER_NAMES = (
    *(
        name
        for name in inspect.signature(RetrieverQueryEngine.from_args).parameters
        if name not in ("retriever", "kwargs")
    ),
)


class MemoRAGQueryEngine(RetrieverQueryEngine):
    """A `RetrieverQueryEngine` over `MemoRAGRetriever`: streaming, async and response modes are LlamaIndex's own.

    Args:
        retriever: The retriever.
        response_synthesizer: What writes the answer; by default one over the LLM the app has set in `Settings`.
        node_postprocessors, callback_manager: As in LlamaIndex.

    Raises:
        InputError: Where there is nothing to write with.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        response_synthesizer: BaseSynthesizer | None = None,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if not isinstance(retriever, BaseRetriever):
            raise InputError(
                f"Expected a retriever, found {type(retriever).__name__}. Use MemoRAGQueryEngine.from_documents(documents), "
                f"or MemoRAGRetriever.from_index(index).as_query_engine()."
            )
        if response_synthesizer is None:
            from llama_index.core.response_synthesizers import get_response_synthesizer

            response_synthesizer = get_response_synthesizer(llm=llm_or_error(None), callback_manager=callback_manager)
        super().__init__(retriever, response_synthesizer, node_postprocessors, callback_manager)

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[BaseNode],
        llm: LLM | None = None,
        *,
        similarity_top_k: int | None = None,
        embed_model: EmbedModel = FROM_APP,
        memory: str | MemoryModel = "activation",
        reranker: HostReranker = None,
        transformations: Sequence[TransformComponent] | None = None,
        show_progress: bool = False,
        engine: EngineSettings | None = None,
        retriever: Mapping[str, Any] | None = None,
        **settings: Unpack[QueryEngineSettings],
    ) -> MemoRAGQueryEngine:
        """Memorize documents and answer from them.

        Args:
            documents: LlamaIndex documents.
            llm: What writes the answer; by default the one the app has set in `Settings`.
            similarity_top_k: Most nodes the answer is written from.
            embed_model, memory, reranker, transformations, show_progress, engine: Of `MemoRAGRetriever.from_documents`.
            retriever: Arguments of `MemoRAGRetriever.from_documents`, too.
            **settings: Settings of the retriever (filters, mode, …), and arguments of `RetrieverQueryEngine.from_args`
                (streaming, response_mode, …).

        Raises:
            InputError: Where there is no LLM to write with, or a value that cannot be; before anything is memorized.
            ArgumentError: For a name that neither of them has, or an argument that is given twice.
        """
        own, answer = _parts(settings)
        given = {
            name: value
            for name, value, default in (
                ("similarity_top_k", similarity_top_k, None), ("embed_model", embed_model, FROM_APP),
                ("memory", memory, "activation"), ("reranker", reranker, None),
                ("transformations", transformations, None), ("show_progress", show_progress, False),
                ("engine", engine, None),
            )
            if value is not default
        }  # fmt: skip
        for name in retriever or {}:
            if name in given or name in own:
                raise InputError(f"{name} is given twice: as an argument, and in retriever={{…}}. Leave one out.")
        answer = _with_llm(llm, answer)
        known = [*inspect.signature(MemoRAGRetriever.from_documents).parameters, *RetrieverSettings.__annotations__]
        check_names(
            "retriever", retriever or {}, [name for name in known if name not in ("documents", "settings")], HINTS
        )
        made = MemoRAGRetriever.from_documents(documents, **{**given, **own, **(retriever or {})})
        return cls._of(made, answer)

    @classmethod
    def from_args(  # type: ignore[override]
        cls,
        retriever: BaseRetriever,
        llm: LLM | None = None,
        response_synthesizer: BaseSynthesizer | None = None,
        **settings: Any,
    ) -> MemoRAGQueryEngine:
        """As in LlamaIndex, but without an LLM it is an error, not an OpenAI default; so is an argument that is not known."""
        if not isinstance(retriever, BaseRetriever):
            return cls(retriever)  # says what to do instead
        check_names("MemoRAGQueryEngine.from_args", settings, _ANSWER_NAMES, HINTS)
        return cls._of(retriever, _with_llm(llm, {**settings, "response_synthesizer": response_synthesizer}))

    @classmethod
    def _of(cls, retriever: BaseRetriever, answer: Mapping[str, Any]) -> MemoRAGQueryEngine:
        engine: MemoRAGQueryEngine = super().from_args(retriever, **answer)  # type: ignore[assignment]
        return engine


def _parts(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the retriever, and of the answer; some are of both."""
    retrieval = [*RetrieverSettings.__annotations__]
    others = ["similarity_top_k", "embed_model", "memory", "reranker", "transformations", "show_progress", "engine"]
    known = dict.fromkeys([*retrieval, *_ANSWER_NAMES, *others])
    check_names("MemoRAGQueryEngine", settings, list(known), HINTS)
    own = {name: value for name, value in settings.items() if name in retrieval}
    return own, {name: value for name, value in settings.items() if name in _ANSWER_NAMES}


def _with_llm(llm: LLM | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `RetrieverQueryEngine.from_args` with an LLM and, where none is asked, a synthesizer; LlamaIndex would
    look for OpenAI in their places.
    """
    synthesizer, mode = settings.get("response_synthesizer"), settings.get("response_mode", ResponseMode.COMPACT)
    try:
        silent = _WITHOUT_LLM.get(ResponseMode(mode))
    except ValueError:
        modes = ", ".join(one.value for one in ResponseMode)
        raise InputError(f"response_mode must be one of {modes}; found {mode!r}.") from None
    if synthesizer is None and silent is None:
        return {**settings, "llm": llm_or_error(llm), "response_mode": ResponseMode(mode)}
    never_asked = llm or app_llm() or MockLLM()  # the synthesizer brings its own, or writes nothing
    if synthesizer is None and silent is not None:
        manager = settings.get("callback_manager")
        synthesizer = silent(llm=never_asked, callback_manager=manager, streaming=settings.get("streaming", False))
    return {**settings, "llm": never_asked, "response_synthesizer": synthesizer}
