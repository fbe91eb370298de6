"""Tiny beacon checkpoints with random weights, made offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 320,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
BEACON: dict[str, Any] = {
    "beacon_window": 16,
    "beacon_stride": 16,
    "beacon_ratio": [4],
    "beacon_ratio_mix": "step-random",
    "beacon_param": ["q", "k", "v"],
    "beacon_pos": "interleave",
    "beacon_attn": "full-coverage",
    "beacon_attend_prev": True,
    "beacon_sink_size": 0,
    "beacon_parallel_window": 1,
    "beacon_embed_init": "eos",
}


CONTROLS = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def vocabulary() -> list[str]:
    """Control tokens, then one token for each byte."""
    from tokenizers import pre_tokenizers

    return [*CONTROLS, *sorted(pre_tokenizers.ByteLevel.alphabet())]


def make_checkpoint(folder: Path, family: str = "qwen2", trained: bool = True, **changes: Any) -> Path:
    """A checkpoint's folder with random weights; `changes` go into config.json."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    sizes = {k: v for k, v in {**SIZES, **changes}.items() if not k.startswith("beacon_")}
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**sizes))
    state = {}
    for name, tensor in model.state_dict().items():
        # Weights far larger than a fresh model's, so that attention is sharp and positions matter.
        state[name] = torch.randn_like(tensor) * (0.35 if tensor.dim() > 1 else 0.2) + (1.0 if "norm" in name else 0.0)
    if trained:
        for name in [n for n in state if any(f"{p}_proj" in n for p in "qkv")]:
            twin = name.replace("self_attn.", "self_attn.beacon_")
            state[twin] = torch.randn_like(state[name]) * (0.35 if state[name].dim() > 1 else 0.2)
        state["model.beacon_embed_tokens.weight"] = torch.randn(1, sizes["hidden_size"]) * 0.35
    # Only letters, blanks and line ends are ever written: all other tokens' logits are 0.
    written = [i for i, token in enumerate(vocabulary()) if token in "ĠĊ" or (token.isascii() and token.isalpha())]
    mute = torch.ones(len(state["lm_head.weight"]), 1)
    mute[written] = 0
    state["lm_head.weight"] *= 1 - mute
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = {**model.config.to_dict(), **BEACON, **{k: v for k, v in changes.items() if k.startswith("beacon_")}}
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.EvilForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [4, 2]}))
    add_tokenizer(folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit('code of a checkpoint must never run')\n")
    return folder


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def add_tokenizer(folder: Path, template: str | None = TEMPLATE) -> None:
    """A tokenizer of bytes with ChatML: ids 0 to 4 are control tokens, byte b is 5 + its place in the alphabet."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {token: i for i, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=CONTROLS[3:],
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
