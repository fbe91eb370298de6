"""The loop over windows: a stock transformers decoder that reads a text and keeps only its beacons."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..decoding.attention import Prefix
from ..decoding.cache import GrowingCache
from ..decoding.checkpoint import FAMILIES
from ..decoding.onednn import use_onednn
from ..errors import InputError, MemoryModelError
from .compaction import compact
from .layout import Layout, Step, check_reach
from .projection import Route, RoutedLinear
from .rope import check_rope
from .settings import BeaconSettings

EMBEDDING = "model.beacon_embed_tokens.weight"


@dataclass
class BeaconState:
    """A memory in the making, or a copy of one that is being asked.

    Args:
        layout: The numbers.
        cache: The memory's entries and the open window's, of every layer.
        batch: Texts of equal length that are read side by side.
    """

    layout: Layout
    cache: GrowingCache
    batch: int = 1


@dataclass
class BeaconDecoder:
    """A stock decoder with beacons.

    Args:
        model: A transformers causal language model of one of `FAMILIES`; its projections are replaced in place.
        settings: How it compresses.
        tensors: Beacon parameters by their published names. Those missing start as copies of the ordinary ones.

    Raises:
        MemoryModelError: For a family or RoPE that is not supported, or tensors that do not fit.
    """

    model: Any
    settings: BeaconSettings
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        config = self.model.config
        if config.model_type not in FAMILIES:
            raise MemoryModelError(
                f"Expected a model of the families {', '.join(FAMILIES)}, found {config.model_type!r}: "
                f"its attention is not known to fit."
            )
        check_rope(config)
        self.route = Route()
        self.lock = threading.RLock()
        self.missing: list[str] = []
        used = self._route_projections() | {EMBEDDING}
        self.embedding = self._beacon_embedding()
        unknown = sorted(set(self.tensors) - used)
        if unknown:
            raise MemoryModelError(
                f"The checkpoint has beacon tensors that its config.json does not speak of: {', '.join(unknown[:4])}. "
                f"beacon_param lists {', '.join(self.settings.projections)}; correct it if they belong there."
            )
        self.tensors = {}
        self.model.eval()
        if self.device.type == "cpu":
            use_onednn(self.model)

    def _route_projections(self) -> set[str]:
        names = set()
        for i, layer in enumerate(self.model.model.layers):
            for which in self.settings.projections:
                raw = getattr(layer.self_attn, f"{which}_proj")
                prefix = f"model.layers.{i}.self_attn.beacon_{which}_proj"
                beacon = self._beacon_projection(raw, prefix)
                names |= {f"{prefix}.{name}" for name, _ in beacon.named_parameters()}
                setattr(layer.self_attn, f"{which}_proj", RoutedLinear(raw, beacon, self.route))
        return names

    def _beacon_projection(self, raw: Any, prefix: str) -> nn.Linear:
        device = raw.weight.device
        dtype = self.dtype
        beacon = nn.Linear(raw.in_features, raw.out_features, raw.bias is not None, device="meta")
        for name, shape in [(n, tuple(p.shape)) for n, p in beacon.named_parameters()]:
            key = f"{prefix}.{name}"
            tensor = self.tensors.get(key)
            if tensor is None:
                self.missing.append(key)
                tensor = _plain_weight(raw, name)
            _check_shape(key, tensor, shape)
            parameter = nn.Parameter(tensor.detach().to(device, dtype, copy=True), requires_grad=False)
            setattr(beacon, name, parameter)
        return beacon

    def _beacon_embedding(self) -> Tensor:
        table = self.model.get_input_embeddings().weight
        row = self.tensors.get(EMBEDDING)
        if row is None:
            self.missing.append(EMBEDDING)
            token = getattr(self.model.config, f"{self.settings.embed_init}_token_id", None)
            token = token[0] if isinstance(token, list) and token else token
            if not isinstance(token, int) or not 0 <= token < table.shape[0]:
                raise MemoryModelError(
                    f"The beacon embedding starts as a copy of the {self.settings.embed_init} token's row, but "
                    f"config.json has {self.settings.embed_init}_token_id = {token!r}. Set it there."
                )
            row = table[token : token + 1]
        _check_shape(EMBEDDING, row, (1, table.shape[1]))
        return row.detach().to(table.device, self.dtype, copy=True)

    @property
    def dtype(self) -> torch.dtype:
        """Of activations and of the memory."""
        return self.model.get_input_embeddings().weight.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where token embeddings are looked up."""
        return self.model.get_input_embeddings().weight.device  # type: ignore[no-any-return]

    @property
    def frequencies(self) -> Tensor:
        """RoPE's, [head size / 2]."""
        return self.model.model.rotary_emb.inv_freq  # type: ignore[no-any-return]

    @property
    def max_positions(self) -> int:
        return int(self.model.config.max_position_embeddings)

    @property
    def beacon_token(self) -> int:
        """The beacon's id, which no text may contain."""
        return int(self.model.config.vocab_size)

    def start(self, ratios: tuple[int, ...] | None = None, batch: int = 1) -> BeaconState:
        """An empty memory, with the checkpoint's ratios or others."""
        layout = Layout.new(self.settings.window, ratios or self.settings.ratios, self.settings.mix)
        return BeaconState(layout, GrowingCache(self.model.config.num_hidden_layers), batch)

    def check(self, layout: Layout, tokens: int) -> None:
        """Whether `tokens` more raw tokens are within reach, known before the first of them is read.

        Raises:
            InputError: Naming the ratio that would do.
        """
        check_reach(layout, tokens, self.max_positions)

    def feed(self, state: BeaconState, ids: Tensor) -> Tensor:
        """Read tokens, and compress every window that fills up.

        Args:
            state: Changed in place.
            ids: int64 [batch, n], n at least 1.

        Returns:
            The hidden states of the last pass's raw tokens, [batch, tokens, hidden]; see `logits`.

        Raises:
            InputError: For ids that are no tokens of the model, a wrong batch, or a text beyond reach.
        """
        return deque(self.passes(state, ids), maxlen=1).pop()[1]

    def passes(self, state: BeaconState, ids: Tensor) -> Iterator[tuple[Step, Tensor]]:
        """`feed`, pass by pass, each with its raw tokens' hidden states. Stopping in between leaves a whole state."""
        self.check_ids(state, ids)
        self.check(state.layout, ids.shape[1])
        at = 0
        while at < ids.shape[1]:
            step, after = state.layout.step(ids.shape[1] - at)
            hidden = self._pass(state, step, ids[:, at : at + step.raw])
            state.layout = after
            at += step.raw
            yield step, hidden

    def check_ids(self, state: BeaconState, ids: Tensor) -> None:
        if ids.dim() != 2 or ids.shape[0] != state.batch or ids.shape[1] < 1:
            raise InputError(f"Expected token ids [{state.batch}, at least 1], found {list(ids.shape)}.")
        low, high = int(ids.min()), int(ids.max())
        if high == self.beacon_token:
            raise InputError(f"The text contains the token id {high}, which is the beacon's own: no text may have it.")
        if low < 0 or high > self.beacon_token:
            raise InputError(f"Expected token ids from 0 to {self.beacon_token - 1}, found {low if low < 0 else high}.")

    @torch.inference_mode()
    def _pass(self, state: BeaconState, step: Step, ids: Tensor) -> Tensor:
        with self.lock:
            self.route.follow(step.stride, self.device)
            rows = self.embed(ids)
            positions = torch.arange(step.start, step.start + rows.shape[1], device=self.device).unsqueeze(0)
            before = state.cache.length
            try:
                hidden = self.run(rows, positions, state.cache)
                if step.completes:
                    full = state.layout.full_window(step)
                    compact(state.cache, state.layout.memory, full, self.frequencies)
            except BaseException:
                state.cache.truncate(before)
                raise
            return self.route.split(hidden)[0]

    def embed(self, ids: Tensor) -> Tensor:
        """[batch, raw] → [batch, rows, hidden], the beacons of the current route among them."""
        raw = self.model.get_input_embeddings()(ids.to(self.device))
        return self.route.join(raw, self.embedding)

    def run(
        self, rows: Tensor, positions: Tensor, cache: Any, mask: Tensor | None = None, prefix: Prefix | None = None
    ) -> Tensor:
        """The stock decoder over embedded rows, without the head: [batch, rows, hidden]."""
        extra = {} if prefix is None else {"prefix": prefix}
        output = self.model.model(
            inputs_embeds=rows,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **extra,
        )
        return output.last_hidden_state  # type: ignore[no-any-return]

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits, float32 [..., vocabulary], of hidden states [..., hidden]."""
        return self.model.get_output_embeddings()(hidden).float()  # type: ignore[no-any-return]


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise MemoryModelError(
            f"Expected {name} of shape {list(expected)}, found {list(tensor.shape)}: "
            f"the checkpoint's files and its config.json do not belong together."
        )


def _plain_weight(linear: Any, name: str) -> Tensor:
    """A parameter of the ordinary projection, to start a beacon's from."""
    tensor: Tensor = getattr(linear, name)
    if not tensor.is_floating_point():
        raise MemoryModelError(
            f"The checkpoint has no beacon {name}s and its own are quantised: they cannot be copied. "
            f"Load it without quantisation, or use a trained beacon checkpoint."
        )
    return tensor
