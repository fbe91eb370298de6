"""A beacon checkpoint of some kilobytes with random weights, in the layout of the published ones; made offline."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CONTROLS = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*CONTROLS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BEACON = {
    "beacon_window": 64,
    "beacon_stride": 64,
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


def make_checkpoint(folder: Path, positions: int) -> Path:
    """Write it into a new folder.

    Args:
        positions: The model's positions; with them goes what one memory may hold.
    """
    config = Qwen2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=len(TOKENS),
        max_position_embeddings=positions,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    folder.mkdir(parents=True)
    save_file(_weights(config), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), **BEACON}), "utf-8")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [4, 2]}), "utf-8")
    _tokenizer().save_pretrained(folder)
    return folder


def _weights(config: Qwen2Config) -> dict[str, torch.Tensor]:
    """Random, and far larger than a fresh model's, so that what is written depends on all that was read."""
    torch.manual_seed(7)
    state = {}
    for name, tensor in Qwen2ForCausalLM(config).state_dict().items():
        state[name] = 0.35 * torch.randn_like(tensor) + ("norm" in name)
        if any(f"{part}_proj" in name for part in "qkv"):
            state[name.replace("self_attn.", "self_attn.beacon_")] = 0.35 * torch.randn_like(tensor)
    state["model.beacon_embed_tokens.weight"] = 0.35 * torch.randn(1, config.hidden_size)
    written = torch.tensor([token in "ĠĊ" or (token.isascii() and token.isalpha()) for token in TOKENS])
    state["lm_head.weight"] *= written[:, None]  # letters, blanks and line ends alone are ever written
    return state


def _tokenizer() -> PreTrainedTokenizerFast:
    """A token for each byte, and ChatML."""
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(TOKENS)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=CONTROLS[3:],
    )
    fast.chat_template = TEMPLATE
    return fast
