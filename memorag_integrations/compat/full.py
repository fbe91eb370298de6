"""`MemoRAG` with the original's constructor and calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import engine
from ..contracts import Embedder
from .arguments import (
    Retrieval,
    as_document,
    check_count,
    check_one_generator,
    check_retrieval,
    find_embedder,
    refuse_unknown,
)
from .models import Memory, Model
from .pipeline import Pipeline, TokenSplitter, print_sizes


class MemoRAG(Pipeline):
    """A memory model, a retriever and a generator over one text.

    Args:
        mem_model_name_or_path: The memory's checkpoint, a folder or a repo id: a memory checkpoint, or any instruct model
            that holds the text; its config.json tells which.
        ret_model_name_or_path: The retriever: "BAAI/bge-m3", another model's name or folder, "minilm", or an `Embedder`.
        gen_model_name_or_path: The generator's checkpoint; the memory model writes where there is no generator.
        customized_gen_model: In its place an `Agent`, an `LLM` of the contract, or any object with generate(prompt,
            max_new_tokens=…).
        ret_hit: Hits of one search; see `retrieval`.
        retrieval_chunk_size: Most tokens of a passage.
        cache_dir, access_token: For the hub.
        beacon_ratio: Raw tokens for one memory entry, for a memory checkpoint alone; None for 4.
        load_in_4bit: Quantised weights of memory model and generator, on CUDA (the `quantised` extra).
        enable_flash_attn: Taken for the original's sake: attention always runs on torch's fused kernels.
        retrieval: "memorag", our fusion, with as many pieces of evidence as ret_hit for query and each clue; or
            "per-clue-union", as the original: ret_hit dense hits of each, without repeats.

    Raises:
        InputError: For an unknown argument, and for one that cannot be honoured.
        MemoryModelError: Where a checkpoint cannot be had, is an encoder, or has no chat template.
    """

    def __init__(
        self,
        mem_model_name_or_path: str,
        ret_model_name_or_path: str | Embedder,
        gen_model_name_or_path: str | None = None,
        customized_gen_model: object = None,
        ret_hit: int = 3,
        retrieval_chunk_size: int = 512,
        cache_dir: str | None = None,
        access_token: str | None = None,
        beacon_ratio: int | None = None,
        load_in_4bit: bool = False,
        enable_flash_attn: bool = True,
        *,
        retrieval: Retrieval = "memorag",
        **unknown: Any,
    ) -> None:
        refuse_unknown("MemoRAG", MemoRAG.__init__, unknown)
        check_count(ret_hit=ret_hit, retrieval_chunk_size=retrieval_chunk_size)
        self.ret_hit, self.retrieval = ret_hit, check_retrieval(retrieval)
        self.splitter = TokenSplitter(retrieval_chunk_size)
        how = {"load_in_4bit": load_in_4bit, "enable_flash_attn": enable_flash_attn}
        check_one_generator(gen_model_name_or_path, customized_gen_model)
        embedder = find_embedder(ret_model_name_or_path, cache_dir, access_token)
        self.mem_model = Memory(mem_model_name_or_path, cache_dir, access_token, beacon_ratio, **how)
        if gen_model_name_or_path:
            customized_gen_model = Model(gen_model_name_or_path, cache_dir, access_token, **how)
        self.gen_model = self.mem_model if customized_gen_model is None else customized_gen_model
        self.mem_model.settings = {"embedder": embedder, "generator": self._llm}
        self.mem_model.reset()

    @property
    def memo(self) -> engine.MemoRAG:
        return self.mem_model.memo

    def memorize(self, context: str, save_dir: str | Path | None = None, print_stats: bool = False) -> None:
        """Form the memory, cut the text and index it.

        Args:
            context: One text.
            save_dir: Folder of the store, which `load` reads.
            print_stats: Whether to print sizes.

        Raises:
            InputError: For anything but a text, a blank one, or one beyond the memory's reach.
            StoreError: Where something else lies in the folder, such as what the original wrote.
        """
        self.memo.memorize(as_document(context), split=self.splitter.split, save_dir=save_dir)
        if print_stats:
            print_sizes(self.memo, save_dir)

    def load(self, save_dir: str | Path, print_stats: bool = False) -> None:
        """Read what `memorize(save_dir=…)` wrote; nothing is encoded again.

        Raises:
            StoreError: As `Memory.load`.
        """
        self.mem_model.load(save_dir)
        if print_stats:
            print_sizes(self.memo, save_dir)

    def reset(self) -> None:
        """Forget the text."""
        self.mem_model.reset()

    def __call__(
        self,
        context: str | None = None,
        query: str | None = None,
        task_type: str = "memorag",
        prompt_template: str | None = None,
        max_new_tokens: int = 256,
        reset_each_call: bool = False,
        use_memory_answer: bool = False,
    ) -> str:
        """An answer or a summary.

        Args:
            context: The text; memorized first where it is not the one that is. None for the one that is.
            query: The question; not for a summary.
            task_type: "memorag" answers from evidence that the memory's clues find, "qa" from memory alone, "summarize"
                writes from the memory's key points and the evidence for them.
            prompt_template: The generator's prompt, with {context} and, but for a summary, {input}.
            max_new_tokens: Most tokens that are written.
            reset_each_call: Whether to forget everything first.
            use_memory_answer: Whether the memory's own answer is searched with, and shown to the generator.

        Raises:
            InputError: For an unknown task, a blank query, a template of other fields, no text.
            LLMError: What the generator's provider said.
        """
        return self._run(context, query, task_type, prompt_template, max_new_tokens, reset_each_call, use_memory_answer)

    def _answer(self, query: str, max_new_tokens: int) -> str:
        return self.mem_model.answer(query, max_new_tokens)

    def _key_points(self) -> str:
        return self.mem_model.summarize()
