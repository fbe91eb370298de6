"""FlagEmbedding's models, loaded by its classes and run without what its own `encode` adds.

`BGEM3FlagModel.encode` and `FlagReranker.compute_score` run their first batch twice, meet every RuntimeError with a
smaller batch (down to none, so that the cause is never seen), and start a pool of processes where there are several
devices. Here its classes load tokenizer and weights, and the model's forward pass is called as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbedderError, MemoRAGError, MissingExtraError, RerankerError, check_extra
from ..scores import Floats
from .pretrained import find_folder, not_had, pick_device, quiet_loading, read_config

M3_FILES = ("colbert_linear.pt", "sparse_linear.pt")
"""Files of BGE-M3's layout beside those of an XLM-RoBERTa."""

MOST_TOKENS = 16_384
"""Most tokens of a forward pass, padding counted: two texts of full length, or a batch of ordinary passages."""

_ROBERTA = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")
"""Model families whose positions begin after that of the padding token."""


@dataclass(frozen=True)
class Encoded:
    """What BGE-M3 returns for n texts; None for what was not requested.

    Args:
        dense: float32 [n, dimension], of unit length.
        lexical: Of each text, the numbers of its tokens, uint32 [m], rising, and how much each matters, float32 [m].
        colbert: Of each text, a unit vector for each token but the first, float32 [tokens - 1, dimension].
    """

    dense: Floats | None
    lexical: list[tuple[NDArray[np.uint32], Floats]] | None
    colbert: list[Floats] | None


class M3:
    """A loaded BGE-M3. Safe to call from several threads.

    Args:
        name: As it was asked for.
        folder: Where it lies.
        device: Of torch.
    """

    def __init__(self, name: str, folder: Path, device: str) -> None:
        config = read_config(folder, EmbedderError)
        missing = [file for file in M3_FILES if not (folder / file).is_file()]
        if config.get("model_type") != "xlm-roberta" or missing:
            raise EmbedderError(
                f"Expected BGE-M3's layout in {folder} (an xlm-roberta with {' and '.join(M3_FILES)}), found a "
                f"{config.get('model_type')!r} without {' and '.join(missing) or 'anything missing'}. FlagEmbedding would "
                f"make up what is missing. Any other model goes by SentenceTransformerEmbedder."
            )
        with _loading(name, EmbedderError):
            from FlagEmbedding import BGEM3FlagModel

            self._flag = BGEM3FlagModel(
                str(folder), use_fp16=device.startswith("cuda"), devices=[device], trust_remote_code=False
            )
        self._model = self._flag.model.to(device).eval()
        self._tokenizer = self._flag.tokenizer
        self._device = device
        self.name = name
        self.limit = _limit(config, self._tokenizer)
        self._mute = np.array(
            [
                n
                for n in (getattr(self._tokenizer, f"{kind}_token_id") for kind in ("cls", "eos", "pad", "unk"))
                if n is not None
            ]
        )
        self._lock = threading.Lock()

    def encode(
        self,
        texts: Sequence[str],
        *,
        max_length: int | None = None,
        batch_size: int = 32,
        dense: bool = False,
        lexical: bool = False,
        colbert: bool = False,
    ) -> Encoded:
        """Run the model once over `texts`, for all that is requested.

        Args:
            texts: Any number of them; what is longer than `max_length` is cut at its end.
            max_length: Tokens of a text; None for as many as the model has positions for.
            batch_size: Most texts of a forward pass.

        Raises:
            EmbedderError: What the model itself said; for a `max_length` beyond the model's positions.
        """
        length = check_length(max_length, self.limit, self.name, EmbedderError)
        vectors: list[Any] = [None] * len(texts)
        weights: list[Any] = [None] * len(texts)
        tokens: list[Any] = [None] * len(texts)

        def forward(batch: Any, rows: Sequence[int]) -> None:
            out = self._model(batch, return_dense=dense, return_sparse=lexical, return_colbert_vecs=colbert)
            for i, row in enumerate(rows):
                count = int(batch["attention_mask"][i].sum())
                if dense:
                    vectors[row] = _numpy(out["dense_vecs"][i])
                if lexical:
                    ids = batch["input_ids"][i, :count].cpu().numpy()
                    weights[row] = self._strongest(ids, _numpy(out["sparse_vecs"][i, :count, 0]))
                if colbert:
                    tokens[row] = _numpy(out["colbert_vecs"][i, : count - 1])

        with self._lock, _running(self.name, EmbedderError):
            read = self._tokenizer(list(texts), truncation=True, max_length=length) if len(texts) else {"input_ids": []}
            _forward(read, self._tokenizer, self._device, batch_size, forward)
        width = int(self._model.config.hidden_size)
        return Encoded(
            (np.stack(vectors) if vectors else np.zeros((0, width), np.float32)) if dense else None,
            weights if lexical else None,
            tokens if colbert else None,
        )

    def _strongest(self, ids: NDArray[np.int64], weights: Floats) -> tuple[NDArray[np.uint32], Floats]:
        """The largest weight of each token, special tokens left out."""
        counted = (weights > 0) & ~np.isin(ids, self._mute)
        numbers, place = np.unique(ids[counted], return_inverse=True)
        most = np.zeros(len(numbers), dtype=np.float32)
        np.maximum.at(most, place, weights[counted])
        return numbers.astype(np.uint32), most


class CrossEncoder:
    """A loaded cross-encoder with one score, such as the BGE rerankers. Safe to call from several threads.

    Args:
        name, folder, device: As in `M3`.
    """

    def __init__(self, name: str, folder: Path, device: str) -> None:
        config = read_config(folder, RerankerError)
        made_for = [str(one) for one in config.get("architectures") or ()]
        if not any(one.endswith("ForSequenceClassification") for one in made_for):
            raise RerankerError(
                f"Expected a cross-encoder (…ForSequenceClassification) in {folder}, found {', '.join(made_for) or 'none'}: "
                f"transformers would make up the layer that scores. Use a reranker such as BAAI/bge-reranker-v2-m3."
            )
        labels = len(config.get("id2label") or ("LABEL_0", "LABEL_1"))
        if labels != 1:
            raise RerankerError(f"Expected a cross-encoder with one score in {folder}, found {labels} labels.")
        with _loading(name, RerankerError):
            from FlagEmbedding import FlagReranker

            self._flag = FlagReranker(
                str(folder), use_fp16=device.startswith("cuda"), devices=[device], trust_remote_code=False
            )
        model = self._flag.model.to(device).eval()
        self._model = model.half() if device.startswith("cuda") else model.float()
        self._tokenizer = self._flag.tokenizer
        self._device = device
        self.name = name
        self.limit = _limit(config, self._tokenizer)
        self._lock = threading.Lock()

    def score(
        self, query: str, passages: Sequence[str], *, max_length: int | None = None, batch_size: int = 32
    ) -> Floats:
        """float32 [len(passages)]: the model's logits, higher for what answers.

        Args:
            max_length: Tokens of query and passage together; the longer of the two is cut.
            batch_size: Most pairs of a forward pass.

        Raises:
            RerankerError: What the model itself said; for a `max_length` beyond the model's positions.
        """
        length = check_length(max_length, self.limit, self.name, RerankerError)
        scores = np.zeros(len(passages), dtype=np.float32)

        def forward(batch: Any, rows: Sequence[int]) -> None:
            scores[list(rows)] = _numpy(self._model(**batch, return_dict=True).logits.view(-1))

        with self._lock, _running(self.name, RerankerError):
            if len(passages):
                read = self._tokenizer([query] * len(passages), list(passages), truncation=True, max_length=length)
                _forward(read, self._tokenizer, self._device, batch_size, forward)
        return scores


class Preparing:
    """A class with a model to load; `prepare` begins with that before the first call."""

    @cached_property
    def _loaded(self) -> Any:
        raise NotImplementedError

    def prepare(self) -> Self:
        """Begin to import FlagEmbedding (seconds) and to load the weights, in a thread. The first call waits for the rest.

        An error is raised by the first call.
        """

        def load() -> None:
            with suppress(MemoRAGError):
                _ = self._loaded

        threading.Thread(target=load, name="memorag-prepare").start()
        return self


_loaded: WeakValueDictionary[tuple[str, Path, str], Any] = WeakValueDictionary()
_loading_lock = threading.Lock()


def load_m3(model: str, device: str | None) -> M3:
    """BGE-M3 from a folder or the hub. A model that another object has loaded is shared.

    Raises:
        MissingExtraError: Without FlagEmbedding.
        EmbedderError: Where it cannot be had, or is not one.
    """
    loaded: M3 = _load(M3, model, device, EmbedderError)
    return loaded


def load_cross_encoder(model: str, device: str | None) -> CrossEncoder:
    """A cross-encoder from a folder or the hub. A model that another object has loaded is shared.

    Raises:
        MissingExtraError: Without FlagEmbedding.
        RerankerError: Where it cannot be had, or is not one.
    """
    loaded: CrossEncoder = _load(CrossEncoder, model, device, RerankerError)
    return loaded


def is_m3_folder(path: str) -> bool:
    """Whether a local folder has the files of BGE-M3's layout."""
    folder = Path(path).expanduser()
    return all((folder / file).is_file() for file in (*M3_FILES, "config.json"))


def check_length(max_length: int | None, limit: int, name: str, error: type[MemoRAGError]) -> int:
    """`max_length`, or the model's limit for None; raises `error` for more than the limit."""
    if max_length is not None and max_length > limit:
        raise error(f"max_length={max_length} is beyond the {limit} tokens that {name} has positions for. Pass less.")
    return limit if max_length is None else max_length


def _load(kind: type[Any], model: str, device: str | None, error: type[MemoRAGError]) -> Any:
    check_extra(f"The model {model!r}", "bge")
    where, folder = pick_device(device, error), find_folder(model, error).path.resolve()
    with _loading_lock:
        loaded = _loaded.get((kind.__name__, folder, where))
        if loaded is None:
            loaded = _loaded[(kind.__name__, folder, where)] = kind(model, folder, where)
        return loaded


def _forward(
    read: Any, tokenizer: Any, device: str, batch_size: int, forward: Callable[[Any, Sequence[int]], None]
) -> None:
    """Call `forward` with each padded batch on the device and the rows of its texts, the longest texts first."""
    import torch

    lengths = np.array([len(ids) for ids in read["input_ids"]], dtype=np.intp)
    order = np.argsort(-lengths, kind="stable")
    at = 0
    with torch.inference_mode():
        while at < len(order):
            most = max(1, min(batch_size, MOST_TOKENS // int(lengths[order[at]])))
            rows = order[at : at + most].tolist()
            batch = tokenizer.pad(
                {name: [values[row] for row in rows] for name, values in read.items()}, return_tensors="pt"
            )
            forward(batch.to(device), rows)
            at += most


def _limit(config: dict[str, Any], tokenizer: Any) -> int:
    """Most tokens of a text: what the model has positions for, and what its tokenizer allows."""
    reserved = int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in _ROBERTA else 0
    return min(int(config["max_position_embeddings"]) - reserved, int(tokenizer.model_max_length))


def _numpy(tensor: Any) -> Floats:
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)


@contextmanager
def _loading(name: str, error: type[MemoRAGError]) -> Iterator[None]:
    """Errors of importing, reading and unpickling become one error that says what to do."""
    try:
        with quiet_loading():
            yield
    except ImportError as caught:
        raise MissingExtraError(f"The model {name!r}", "bge") from caught
    except Exception as caught:  # Of torch, transformers, safetensors, pickle and FlagEmbedding.
        raise error(not_had(name, caught)) from caught


@contextmanager
def _running(name: str, error: type[MemoRAGError]) -> Iterator[None]:
    """A failure of the model becomes `error`, with the model's own message."""
    try:
        yield
    except RuntimeError as caught:  # CUDA's out-of-memory error is one.
        full = "out of memory" in str(caught)
        raise error(
            f"{name} failed: {caught}" + (" Pass a smaller batch_size, or device='cpu'." if full else "")
        ) from caught
