"""`MemoRAGLite`: a memory of gists that a small model writes, for long texts on small machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import engine
from ..contracts import Embedder
from ..memories.gist import GistMemory
from ..memories.prompt_memory import PromptMemory
from ..memories.recall_cache import uncached
from .arguments import (
    Retrieval,
    as_document,
    check_count,
    check_one_generator,
    check_retrieval,
    find_embedder,
    refuse_unknown,
)
from .pipeline import WINDOW, Pipeline, TokenSplitter, print_sizes

GENERATOR, RETRIEVER = "Qwen/Qwen2.5-1.5B-Instruct", "BAAI/bge-m3"
CHARACTERS = 4
"""Of a token, about: what the original counts in tokens, a memory of gists counts in characters."""
WORDS = 11
"""Tokens of text for one word of its gist, about as in the original (512 tokens of gist for 4,096)."""


class MemoRAGLite(Pipeline):
    """One small model that writes the gists, the clues and the answers, and a retriever.

    Args:
        gen_model_name_or_path: Its checkpoint, a folder or a repo id; None for Qwen2.5-1.5B-Instruct.
        ret_model_name_or_path, ret_hit, retrieval_chunk_size, cache_dir, access_token, load_in_4bit, enable_flash_attn,
        retrieval: See `MemoRAG`.
        customized_gen_model: In the checkpoint's place; see `MemoRAG`.

    Raises:
        InputError, MemoryModelError: As `MemoRAG`.
    """

    def __init__(
        self,
        gen_model_name_or_path: str | None = None,
        ret_model_name_or_path: str | Embedder = RETRIEVER,
        customized_gen_model: object = None,
        ret_hit: int = 3,
        retrieval_chunk_size: int = 512,
        cache_dir: str | None = None,
        access_token: str | None = None,
        load_in_4bit: bool = False,
        enable_flash_attn: bool = True,
        *,
        retrieval: Retrieval = "memorag",
        **unknown: Any,
    ) -> None:
        refuse_unknown("MemoRAGLite", MemoRAGLite.__init__, unknown)
        check_count(ret_hit=ret_hit, retrieval_chunk_size=retrieval_chunk_size)
        self.ret_hit, self.retrieval = ret_hit, check_retrieval(retrieval)
        self.splitter = TokenSplitter(retrieval_chunk_size)
        check_one_generator(gen_model_name_or_path, customized_gen_model)
        self.embedder = find_embedder(ret_model_name_or_path, cache_dir, access_token)
        if customized_gen_model is None:
            from .models import Model  # brings torch, which a generator behind an API does without

            customized_gen_model = Model(
                gen_model_name_or_path or GENERATOR,
                cache_dir,
                access_token,
                load_in_4bit=load_in_4bit,
                enable_flash_attn=enable_flash_attn,
            )
        self.gen_model = customized_gen_model
        self.reset()

    @property
    def memo(self) -> engine.MemoRAG:
        return self._memo

    def memorize(  # the original's further arguments
        self,
        context: str,
        save_dir: str | Path | None = None,
        print_stats: bool = True,
        batch_size: int = 1,
        gist_chunk_size: int = 4096,
    ) -> None:
        """Have each stretch compressed to its gist, cut the text and index it. A stop loses little: gists are kept.

        Args:
            context, save_dir, print_stats: See `MemoRAG.memorize`.
            batch_size: Gists that are written at once.
            gist_chunk_size: Tokens of a stretch, about.
        """
        check_count(batch_size=batch_size, gist_chunk_size=gist_chunk_size)
        memo = self._over(self._gists(gist_chunk_size, batch_size))
        memo.memorize(as_document(context), split=self.splitter.split, save_dir=save_dir)
        self._memo = memo
        if print_stats:
            print_sizes(memo, save_dir)

    def load(self, save_dir: str | Path, print_stats: bool = False, gist_chunk_size: int = 4096) -> None:
        """Read what `memorize(save_dir=…)` wrote with the same gist_chunk_size.

        Raises:
            StoreError: As `Memory.load`; also for gists of another model or size.
        """
        memory = self._gists(gist_chunk_size, 1)
        self._memo = engine.MemoRAG.load(save_dir, embedder=self.embedder, memory=memory, generator=self._llm)
        if print_stats:
            print_sizes(self._memo, save_dir)

    def reset(self) -> None:
        """Forget the text."""
        self._memo = self._over(self._gists(4096, 1))

    def answer(self, query: str, max_new_tokens: int = 128) -> str:
        """The answer from the gists alone."""
        return self._formed.answer(query, max_tokens=max_new_tokens).text

    def recall(self, query: str, **unknown: Any) -> str:
        """Text clues: passages to look up, one a line. One reply holds these, the questions and a draft answer."""
        refuse_unknown("MemoRAGLite.recall", MemoRAGLite.recall, unknown)
        return "\n".join(clue.text for clue in self.memo.recall(query).clues if clue.kind == "span")

    def rewrite(self, query: str, **unknown: Any) -> str:
        """Surrogate questions, one a line."""
        refuse_unknown("MemoRAGLite.rewrite", MemoRAGLite.rewrite, unknown)
        return "\n".join(clue.text for clue in self.memo.recall(query).clues if clue.kind == "question")

    def summarize(self, max_new_tokens: int = 512) -> str:
        """The text's key points, one a line."""
        return self._formed.summarize(max_tokens=max_new_tokens).text

    def __call__(
        self,
        query: str | None = None,
        context: str | None = None,
        task_type: str = "memorag",
        prompt_template: str | None = None,
        max_new_tokens: int = 256,
        reset_each_call: bool = False,
        use_memory_answer: bool = False,
    ) -> str:
        """An answer or a summary: `MemoRAG.__call__`, with the query first."""
        return self._run(context, query, task_type, prompt_template, max_new_tokens, reset_each_call, use_memory_answer)

    @property
    def _formed(self) -> PromptMemory:
        memory = uncached(self.memo.corpus.memories[0])
        assert isinstance(memory, PromptMemory)
        return memory

    def _gists(self, tokens: int, batch_size: int) -> GistMemory:
        llm = self._llm
        return GistMemory(
            llm,
            context_window=llm.context_window or WINDOW,
            reply_tokens=512,
            stretch=max(200, CHARACTERS * tokens),
            words=max(20, tokens // WORDS),
            together=batch_size,
        )

    def _over(self, memory: GistMemory) -> engine.MemoRAG:
        return engine.MemoRAG(memory, self.embedder, generator=self._llm)

    def _answer(self, query: str, max_new_tokens: int) -> str:
        return self.answer(query, max_new_tokens)

    def _key_points(self) -> str:
        return self.summarize()
