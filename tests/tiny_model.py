"""A tiny random Hugging Face checkpoint, made on the spot: a Llama of two layers and a byte-level vocabulary."""

from __future__ import annotations

from pathlib import Path

CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def make_tiny_model(folder: Path, *, chat: bool, window: int = 4096, brief: bool = False) -> Path:
    """Write config, safetensors weights and tokenizer to `folder`; returns it.

    `brief`: half of the vocabulary ends a reply, so that it has a few tokens.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: i for i, char in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.add_special_tokens({"additional_special_tokens": special[:3]})
    if chat:
        fast.chat_template = CHAT
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=window, eos_token_id=fast.eos_token_id,
        bos_token_id=None, pad_token_id=fast.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    if brief:
        model.generation_config.eos_token_id = [fast.eos_token_id, *range(0, len(alphabet), 2)]
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
