"""Tiny checkpoints in the layouts of BGE-M3, of the BGE rerankers and of sentence-transformers, with random weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from tests.conftest import BAKERY, LIGHTHOUSE, RIVER

HIDDEN = 32
POSITIONS = 8194
SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


@cache
def sentencepiece_model() -> bytes:
    """A unigram model of 180 pieces, trained on the tests' corpus by one thread: the same bytes each time."""
    import sentencepiece

    folder = Path(mkdtemp())
    text = folder / "text"
    text.write_text(
        "\n".join(line for line in (LIGHTHOUSE + "\n" + BAKERY + "\n" + RIVER).split("\n") if line), "utf-8"
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "unigram"),
        model_type="unigram",
        vocab_size=180,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    return (folder / "unigram.model").read_bytes()


def add_tokenizer(folder: Path) -> int:
    """XLM-RoBERTa's tokenizer over those pieces, as BGE-M3 has it on the hub; and the size of its vocabulary."""
    import sentencepiece
    from transformers import XLMRobertaTokenizer

    pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    vocabulary: list[tuple[str, float]] = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, len(pieces))]
    vocabulary.append(("<mask>", 0.0))
    tokenizer = XLMRobertaTokenizer(vocab=vocabulary, model_max_length=POSITIONS - 2)
    tokenizer.save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_model())
    return len(tokenizer)


def make_m3(folder: Path, seed: int = 3) -> Path:
    """BGE-M3's layout: an XLM-RoBERTa, and two linear layers beside it as `.pt`."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = XLMRobertaConfig(vocab_size=add_tokenizer(folder), **SIZES)
    model = XLMRobertaModel(config)
    spread(model)
    model.save_pretrained(folder)
    torch.save(torch.nn.Linear(HIDDEN, HIDDEN).state_dict(), folder / "colbert_linear.pt")
    torch.save(torch.nn.Linear(HIDDEN, 1).state_dict(), folder / "sparse_linear.pt")
    return folder


def make_reranker(folder: Path, labels: int = 1, seed: int = 4) -> Path:
    """The BGE rerankers' layout: an XLM-RoBERTa with one score."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = XLMRobertaConfig(vocab_size=add_tokenizer(folder), num_labels=labels, **SIZES)
    model = XLMRobertaForSequenceClassification(config)
    spread(model)
    model.save_pretrained(folder)
    return folder


def make_stella(folder: Path, seed: int = 5) -> Path:
    """What Stella's family looks like: mean pooling, a Dense layer to another width, and prompts of its own names."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

    make_m3(folder / "inner", seed)
    inner = Transformer(str(folder / "inner"))
    torch.manual_seed(seed)
    model = SentenceTransformer(
        modules=[inner, Pooling(HIDDEN, "mean"), Dense(HIDDEN, 24, activation_function=torch.nn.Identity())],
        prompts={"s2p_query": "The keeper lit the lamp: ", "s2s_query": "The flood of 1987: "},
        device="cpu",
    )
    model.save(str(folder / "model"))
    return folder / "model"


def spread(model: torch.nn.Module) -> None:
    """Weights far larger than a fresh model's, so that texts differ."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() > 1:
                tensor.normal_(0.0, 0.3)
            elif "bias" in name:
                tensor.normal_(0.0, 0.1)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")
