# phi4_random.py - writes random models of the Phi-4-mini architecture and asks transformers for their logits.
"""Weights are drawn so that attention and MLP matter (unit variance through each layer); the reference computes
in float32 on the stored bf16, f16 or f32 values, which is what Airlock's CPU ops do."""
import json
import os
import pathlib

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
NAMES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
SPECIAL = ["<|endoftext|>", "<|endofprompt|>", "<|assistant|>", "<|end|>", "<|user|>", "<|system|>"]
PLAIN_ADDED = ["<|tool|>", "<|/tool|>"]
PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_characters():
    """The printable stand-ins of the 256 bytes in byte-level BPE."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]


def write_tokenizer(directory, merges=8):
    """256 bytes, a few merges, then the added tokens.  Returns the number of ids."""
    vocab = {c: i for i, c in enumerate(byte_characters())}
    pairs = [("h", "e"), ("t", "he"), ("i", "n"), ("e", "r"), ("\u0120", "the"), ("o", "n"), ("a", "n"), ("o", "r")]
    pairs = pairs[:merges]
    for a, b in pairs:
        vocab[a + b] = len(vocab)
    added = []
    for content in SPECIAL + PLAIN_ADDED:
        added.append({
            "id": len(vocab) + len(added), "content": content, "single_word": False, "lstrip": False,
            "rstrip": not content.startswith("<|endof"), "normalized": False, "special": content in SPECIAL,
        })
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": [list(p) for p in pairs]},
    }
    (pathlib.Path(directory) / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    return len(vocab) + len(added), {a["content"]: a["id"] for a in added}


def config_of(*, hidden, layers, heads, kv_heads, intermediate, vocab, partial=0.75, longrope=True, tied=True,
              original=32, maximum=128, theta=10000.0, dtype="bf16", eps=1e-5, eos, seed=0):
    """config.json as a Phi-4-mini checkpoint has it."""
    g = torch.Generator().manual_seed(seed + 1)
    head_dim = hidden // heads
    pairs = int(head_dim * partial) // 2
    config = {
        "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "attention_bias": False,
        "attention_dropout": 0.0, "bos_token_id": eos, "eos_token_id": eos, "pad_token_id": eos, "embd_pdrop": 0.0,
        "hidden_act": "silu", "hidden_size": hidden, "initializer_range": 0.02, "intermediate_size": intermediate,
        "max_position_embeddings": maximum, "num_attention_heads": heads, "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads, "original_max_position_embeddings": original,
        "partial_rotary_factor": partial, "resid_pdrop": 0.0, "rms_norm_eps": eps, "rope_scaling": None,
        "rope_theta": theta, "sliding_window": 262144, "tie_word_embeddings": tied, "torch_dtype": NAMES[dtype],
        "use_cache": True, "vocab_size": vocab,
    }
    if longrope:
        long_factor = (1 + 30 * torch.rand(pairs, generator=g, dtype=torch.float64).sort().values).tolist()
        short_factor = (1 + 0.2 * torch.rand(pairs, generator=g, dtype=torch.float64)).tolist()
        config["rope_scaling"] = {
            "type": "longrope", "long_factor": [round(f, 6) for f in long_factor],
            "short_factor": [round(f, 6) for f in short_factor],
        }
    return config


def tensors_of(config, dtype, seed):
    g = torch.Generator().manual_seed(seed)
    hidden, inter, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = hidden // heads

    def matrix(rows, cols, gain=1.0):
        return (torch.randn(rows, cols, generator=g) * gain / cols**0.5).to(DTYPES[dtype])

    def norm():
        return (1 + 0.2 * torch.randn(hidden, generator=g)).to(DTYPES[dtype])

    t = {"model.embed_tokens.weight": (0.4 * torch.randn(vocab, hidden, generator=g)).to(DTYPES[dtype])}
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        t[p + "input_layernorm.weight"] = norm()
        t[p + "self_attn.qkv_proj.weight"] = matrix((heads + 2 * kv_heads) * head_dim, hidden, 1.5)
        t[p + "self_attn.o_proj.weight"] = matrix(hidden, heads * head_dim, 1.2)
        t[p + "post_attention_layernorm.weight"] = norm()
        t[p + "mlp.gate_up_proj.weight"] = matrix(2 * inter, hidden, 1.3)
        t[p + "mlp.down_proj.weight"] = matrix(hidden, inter, 1.2)
    t["model.norm.weight"] = norm()
    if not config["tie_word_embeddings"]:
        t["lm_head.weight"] = matrix(vocab, hidden, 2.0)
    return t


def save_checkpoint(directory, tensors, shards=1):
    directory = pathlib.Path(directory)
    if shards == 1:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return
    names, weight_map = list(tensors), {}
    for s in range(shards):
        part = names[s * len(names) // shards:(s + 1) * len(names) // shards]
        file = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
        save_file({n: tensors[n] for n in part}, directory / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def write_model(directory, seed, dtype="bf16", shards=1, merges=8, extra_vocab=0, **shape):
    """A whole checkpoint.  extra_vocab: padding rows of the embedding beyond the tokenizer."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    ids, added = write_tokenizer(directory, merges)
    config = config_of(vocab=ids + extra_vocab, eos=added["<|endoftext|>"], dtype=dtype, seed=seed, **shape)
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    generation = {"bos_token_id": added["<|endoftext|>"], "eos_token_id": [added["<|end|>"], added["<|endoftext|>"]],
                  "pad_token_id": added["<|endoftext|>"]}
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=1))
    save_checkpoint(directory, tensors_of(config, dtype, seed), shards)
    return config, ids


def load(directory, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager").eval()


@torch.no_grad()
def logits_of(model, ids):
    """[len(ids), vocab] float32: the whole sequence as one prompt."""
    return model(torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def greedy(model, ids, n, known):
    """n tokens by generate(), never ending early; ids from `known` on are never chosen, as in Airlock.
    Returns the tokens and the smallest distance between the two best logits on the way."""
    banned = list(range(known, model.config.vocab_size))
    model.generation_config.eos_token_id = None
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                         do_sample=False, max_new_tokens=n, suppress_tokens=banned or None, output_scores=True,
                         return_dict_in_generate=True, pad_token_id=0)
    margin = min((s[0].topk(2).values[0] - s[0].topk(2).values[1]).item() for s in out.scores)
    return out.sequences[0, len(ids):].tolist(), margin
