"""A stock causal language model that reads a text once, in bounded pieces, and branches that go on from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, MemoryModelError
from .branches import BranchCache, Entries, SharedPrefix
from .cache import GrowingCache
from .onednn import use_onednn

PIECE = 1024
"""Most tokens of one pass of a branch or a reading: bounds the activations, whatever the text's length."""
ALONE = 16
"""Tokens above which a branch is read in a pass of its own."""
PROBE = (24, 16)
"""Tokens of the probe, and how many of them are read into the cache."""


@dataclass
class CausalDecoder:
    """A transformers causal language model over our caches.

    Args:
        model: Loaded with `attention.register()` as its attention.
        window: Most positions.
    """

    model: Any
    window: int

    def __post_init__(self) -> None:
        self.model.eval()
        if self.device.type == "cpu":
            use_onednn(self.model)

    @property
    def dtype(self) -> torch.dtype:
        """Of activations and of the cache."""
        return self.model.get_input_embeddings().weight.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where token embeddings are looked up."""
        return self.model.get_input_embeddings().weight.device  # type: ignore[no-any-return]

    @property
    def layers(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def vocabulary(self) -> int:
        return int(self.model.config.vocab_size)

    def check(self, held: int, tokens: int) -> None:
        """Whether so many tokens more fit behind those held.

        Raises:
            InputError: Where they do not.
        """
        if held + tokens > self.window:
            raise InputError(
                f"Expected at most {self.window - held:,} tokens behind the {held:,} read, for a window of "
                f"{self.window:,}; found {tokens:,}, the reply included. Shorten the prompt, or lower max_tokens."
            )

    def check_ids(self, ids: Sequence[int]) -> None:
        """Raises InputError for ids that are no tokens of the model."""
        bad = next((i for i in ids if not 0 <= i < self.vocabulary), None)
        if bad is not None:
            raise InputError(
                f"Expected token ids from 0 to {self.vocabulary - 1}, found {bad}: the tokenizer has more tokens than "
                f"the model. Get the checkpoint's own tokenizer."
            )

    def read(self, cache: GrowingCache, ids: Sequence[int]) -> Iterator[int]:
        """Read tokens into a cache, a piece a pass, without computing any logits.

        Args:
            cache: Holds what was read before; changed in place, and whole after every pass.
            ids: Token ids.

        Yields:
            How many of `ids` have been read.

        Raises:
            InputError: For ids that are no tokens, or more than the window holds.
        """
        self.check_ids(ids)
        self.check(cache.length, len(ids))
        for start in range(0, len(ids), PIECE):
            self._piece(cache, ids[start : start + PIECE])
            yield min(len(ids), start + PIECE)

    @torch.inference_mode()
    def _piece(self, cache: GrowingCache, ids: Sequence[int]) -> None:
        before = cache.length
        positions = torch.arange(before, before + len(ids), device=self.device).unsqueeze(0)
        rows = torch.tensor([list(ids)], device=self.device)
        try:
            self.model.base_model(input_ids=rows, position_ids=positions, past_key_values=cache, use_cache=True)
        except BaseException:
            cache.truncate(before)
            raise

    def prove(self) -> None:
        """Whether the model goes on from a cache as if it had read everything anew, tried on a few random tokens.

        For families that no test of ours reads with: a model may pass attention's arguments on in a way of its own,
        and a cache that is ignored raises nothing.

        Raises:
            MemoryModelError: Where the two differ.
        """
        length, held = PROBE
        if self.window < length:
            raise MemoryModelError(f"Expected a window of at least {length} tokens, found {self.window}.")
        ids = torch.randint(0, self.vocabulary, (length,), generator=torch.Generator().manual_seed(1)).tolist()
        try:
            expected, found = self._anew(ids), self._continued(ids, held)
        except MemoryModelError:
            raise
        except Exception as error:  # a stranger's forward may raise anything
            raise MemoryModelError(
                f"A {self.model.config.model_type} model cannot be read through our cache ({error!r}). "
                f"Use a model of another family."
            ) from error
        error_allowed = (0.02 if self.dtype == torch.float32 else 0.3) * float(expected.std())
        if not float((expected - found).abs().max()) <= error_allowed:
            raise MemoryModelError(
                f"A {self.model.config.model_type} model goes on from our cache otherwise than from the same text read "
                f"anew (logits off by {float((expected - found).abs().max()):.3g}, at most {error_allowed:.3g} was "
                f"expected): its attention is not known to fit. Use a model of another family."
            )

    @torch.inference_mode()
    def _anew(self, ids: list[int]) -> Tensor:
        """The stock model's logits after the last token, [vocabulary]."""
        config = self.model.config
        ours = config._attn_implementation
        try:
            config._attn_implementation = "eager"
            output = self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=False)
        finally:
            config._attn_implementation = ours
        return output.logits[0, -1].float()  # type: ignore[no-any-return]

    def _continued(self, ids: list[int], held: int) -> Tensor:
        cache = GrowingCache(self.layers)
        for _ in self.read(cache, ids[:held]):
            pass
        logits = PrefixBranches(self, cache.entries(), 2).feed([ids[held:], ids[: len(ids) - held]])[0]
        assert logits is not None
        return logits


class PrefixBranches:
    """Branches that go on from a cache, which they only read; each may fill the window by itself.

    Args:
        decoder: The model that read it.
        entries: Its keys and values, batch 1; none for branches that start from nothing.
        count: How many branches.
    """

    def __init__(self, decoder: CausalDecoder, entries: Entries, count: int) -> None:
        self.decoder = decoder
        self._shared = SharedPrefix(entries, 0, count)
        self._cache = BranchCache(decoder.layers, count)
        self.lengths = [self._shared.length] * count

    @property
    def nbytes(self) -> int:
        """Bytes of the branches' own entries."""
        return self._cache.nbytes

    @property
    def copied(self) -> int:
        """Bytes of the branches' own entries that were moved as they grew."""
        return self._cache.copied

    def check(self, tokens: Sequence[int]) -> None:
        """Raises InputError where a branch cannot read so many tokens more, generated ones included."""
        for length, count in zip(self.lengths, tokens, strict=True):
            self.decoder.check(length, count)

    def feed(self, tokens: Sequence[Sequence[int]]) -> list[Tensor | None]:
        """Read tokens on each branch.

        Args:
            tokens: For each branch the ids to read; none for a branch that waits.

        Returns:
            For each branch the logits after its last token, float32 [vocabulary], or None where it read nothing.

        Raises:
            InputError: For ids that are no tokens, or a branch beyond the window.
        """
        for ids in tokens:
            self.decoder.check_ids(ids)
        self.check([len(ids) for ids in tokens])
        pending = [list(ids) for ids in tokens]
        logits: list[Tensor | None] = [None] * len(pending)
        while any(pending):
            # A prompt is read alone, causally over what is its own; side by side it would need a mask over all.
            long = [branch for branch, ids in enumerate(pending) if len(ids) > ALONE][:1]
            for branch, found in self._round(pending, long or range(len(pending))).items():
                logits[branch] = found
        return logits

    @torch.inference_mode()
    def _round(self, pending: list[list[int]], branches: Iterable[int]) -> dict[int, Tensor]:
        """One pass over a piece of each of these. Gives the logits of those that have nothing left to read."""
        device = self.decoder.device
        pieces = {branch: pending[branch][:PIECE] for branch in branches if pending[branch]}
        owners = [branch for branch, piece in pieces.items() for _ in piece]
        starts = {branch: self.lengths[branch] for branch in pieces}
        positions = [starts[branch] + i for branch, piece in pieces.items() for i in range(len(piece))]
        ends = torch.tensor([len(piece) for piece in pieces.values()]).cumsum(0) - 1
        done = [len(pending[branch]) == len(piece) for branch, piece in pieces.items()]
        before = self._cache.length
        self._shared.own_start, mask = self._cache.admit(owners, device)
        self._shared.look(owners, device)
        try:
            output = self.decoder.model(
                input_ids=torch.tensor([[i for piece in pieces.values() for i in piece]], device=device),
                attention_mask=mask,
                position_ids=torch.tensor([positions], device=device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=ends[torch.tensor(done)].to(device),
                prefix=self._shared,
            )
        except BaseException:
            self._cache.retract(before)
            raise
        for branch, piece in pieces.items():
            del pending[branch][: len(piece)]
            self.lengths[branch] += len(piece)
        finished = [branch for branch, is_done in zip(pieces, done, strict=True) if is_done]
        return dict(zip(finished, output.logits[0].float(), strict=True))
