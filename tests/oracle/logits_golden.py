# logits_golden.py - writes tests/golden/logits: tiny random models, and what transformers computes for them.
"""Usage: python logits_golden.py tests/golden/logits

Each case is a folder: a checkpoint, adapters beside it, and expected.txt of lines
    sequence NAME            then for this sequence:
    adapter FOLDER           optional: the adapter that was active
    prompt ID...
    greedy ID...             what generate() continues with (float32)
    row POSITION LOGIT...    float32 logits of the prompt at a position
"""
import json
import pathlib
import random
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

import phi4_random as r

CASES = {
    "longrope_bf16_gqa3": dict(hidden=96, layers=2, heads=6, kv_heads=2, intermediate=112, seed=101, extra_vocab=5),
    "plain_f32_untied": dict(hidden=48, layers=2, heads=2, kv_heads=2, intermediate=80, seed=102, dtype="f32",
                             longrope=False, tied=False),
    "longrope_f16_gqa4_sharded": dict(hidden=64, layers=3, heads=4, kv_heads=1, intermediate=72, seed=103,
                                      dtype="f16", shards=3, partial=0.5),
    "longrope_bf16_gqa2_rotary1": dict(hidden=64, layers=2, heads=2, kv_heads=1, intermediate=100, seed=104,
                                       partial=1.0, merges=7, tied=False),
}
# name: (prompt length, tokens to generate); original_max_position_embeddings is 32
SEQUENCES = {"short": (9, 8), "grows_long": (27, 12), "at_the_border": (32, 3), "long_prompt": (45, 6)}


def write_sequence(out, name, model, ids, n, known, adapter=None):
    tokens, margin = r.greedy(model, ids, n, known)
    logits = r.logits_of(model, ids)
    out.append(f"sequence {name}")
    if adapter:
        out.append(f"adapter {adapter}")
    out.append("prompt " + " ".join(map(str, ids)))
    out.append("greedy " + " ".join(map(str, tokens)))
    for position in sorted({0, len(ids) // 2, len(ids) - 1}):
        out.append(f"row {position} " + " ".join(f"{v:.6g}" for v in logits[position].tolist()))
    return margin


def prompts(seed, known):
    rng = random.Random(seed)
    return {name: ([rng.randrange(known) for _ in range(length)], n) for name, (length, n) in SEQUENCES.items()}


def fused_adapter(model, directory, seed):
    """A real PEFT adapter, ranks and alphas differing by module, rslora."""
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["qkv_proj", "o_proj", "gate_up_proj",
                        "down_proj"], rank_pattern={"o_proj": 3}, alpha_pattern={"down_proj": 9},
                        task_type="CAUSAL_LM")
    peft_model = get_peft_model(model, config)
    for name, parameter in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.15)
    peft_model.save_pretrained(directory)
    return peft_model


def split_adapter(model, directory, seed):
    """q, k, v, gate and up under the names of an unfused model; the reference is the merged weight."""
    g = torch.Generator().manual_seed(seed)
    c = model.config
    head_dim = c.hidden_size // c.num_attention_heads
    q, kv, mlp = c.num_attention_heads * head_dim, c.num_key_value_heads * head_dim, c.intermediate_size
    parts = [("self_attn.q_proj", "qkv_proj", 0, q), ("self_attn.k_proj", "qkv_proj", q, kv),
             ("self_attn.v_proj", "qkv_proj", q + kv, kv), ("mlp.gate_proj", "gate_up_proj", 0, mlp),
             ("mlp.up_proj", "gate_up_proj", mlp, mlp)]
    rank, alpha, tensors = 3, 5, {}
    for i, layer in enumerate(model.model.layers):
        for name, fused, first, rows in parts:
            a = (torch.randn(rank, c.hidden_size, generator=g) / c.hidden_size**0.5).bfloat16()
            b = (0.3 * torch.randn(rows, rank, generator=g)).bfloat16()
            key = f"base_model.model.model.layers.{i}.{name}."
            tensors[key + "lora_A.weight"], tensors[key + "lora_B.weight"] = a, b
            module = getattr(layer.self_attn if "attn" in name else layer.mlp, fused)
            module.weight.data[first:first + rows] += alpha / rank * (b.float() @ a.float())
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    (directory / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": rank, "lora_alpha": alpha, "task_type": "CAUSAL_LM", "bias": "none",
        "target_modules": ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]}, indent=1))
    return model


def write_case(base, name, shape):
    directory = base / name
    seed = shape["seed"]
    _, known = r.write_model(directory, **shape)
    out, margins = [], []
    for sequence, (ids, n) in prompts(seed, known).items():
        margins.append(write_sequence(out, sequence, r.load(directory), ids, n, known))
    if name == "longrope_bf16_gqa3":
        for kind, make in (("adapter_fused", fused_adapter), ("adapter_split", split_adapter)):
            model = make(r.load(directory), directory / kind, seed + 7)
            for file in ("README.md",):
                (directory / kind / file).unlink(missing_ok=True)
            if kind == "adapter_fused":
                config = directory / kind / "adapter_config.json"
                data = json.loads(config.read_text())
                data["base_model_name_or_path"] = None
                config.write_text(json.dumps(data, indent=1))
                model = PeftModel.from_pretrained(r.load(directory), directory / kind).eval().merge_and_unload()
            for sequence in ("short", "grows_long"):
                ids, n = prompts(seed, known)[sequence]
                margins.append(write_sequence(out, f"{sequence}_{kind}", model, ids, n, known, kind))
    (directory / "expected.txt").write_text("\n".join(out) + "\n")
    print(f"{name}: smallest greedy margin {min(margins):.4f}")


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    for case, parameters in CASES.items():
        write_case(target, case, parameters)
