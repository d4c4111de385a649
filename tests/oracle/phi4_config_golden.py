#!/usr/bin/env python3
# phi4_config_golden.py - config files as transformers writes them, in both spellings, and what its
# model makes of them.
"""Usage: phi4_config_golden.py > tests/golden/phi4_configs.txt

One line a configuration: a JSON object with config, generation and want."""
import json
import os
import random
import tempfile

import torch
from transformers import GenerationConfig, Phi3Config
from transformers.models.phi3.modeling_phi3 import Phi3Attention, Phi3RotaryEmbedding

random.seed(1)


def factors(n, top):
    return [round(1 + random.random() * top, 3) for _ in range(n)]


def longrope(n, **more):
    return {"type": "longrope", "short_factor": factors(n, 0.5), "long_factor": factors(n, 30), **more}


BASE = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
LONG = dict(BASE, max_position_embeddings=256, original_max_position_embeddings=32,
            partial_rotary_factor=0.75)
CASES = {
    "plain": BASE,
    "plain-partial": dict(BASE, partial_rotary_factor=0.5, rope_theta=500000.0),
    "no-kv-heads": {k: v for k, v in BASE.items() if k != "num_key_value_heads"},
    "longrope": dict(LONG, rope_scaling=longrope(6)),
    "longrope-full": dict(LONG, partial_rotary_factor=1.0, rope_scaling=longrope(8)),
    "longrope-attention-factor": dict(LONG, rope_scaling=longrope(6, attention_factor=1.5)),
    "longrope-factor": dict(LONG, rope_scaling=longrope(6, factor=4.0)),
    "longrope-not-longer": dict(LONG, max_position_embeddings=32, rope_scaling=longrope(6)),
    "longrope-theta": dict(LONG, rope_theta=12345.0, rope_scaling=longrope(6)),
    "longrope-su": dict(LONG, rope_scaling={**longrope(6), "type": "su", "original_max_position_embeddings": 32}),
    "longrope-inner-original": dict(
        {k: v for k, v in LONG.items() if k != "original_max_position_embeddings"},
        max_position_embeddings=8192, rope_scaling=longrope(6, original_max_position_embeddings=64)),
    "parameters": dict({k: v for k, v in LONG.items() if k != "partial_rotary_factor"},
                       rope_parameters=dict(longrope(6), rope_type="longrope", rope_theta=777.0,
                                            partial_rotary_factor=0.75,
                                            original_max_position_embeddings=32)),
    "window": dict(LONG, sliding_window=256, rope_scaling=longrope(6)),
    "tied": dict(BASE, tie_word_embeddings=True),
    "head-dim": dict(BASE, head_dim=24, partial_rotary_factor=0.75),
    "eos-list": dict(BASE, eos_token_id=[5, 2]),
    "eos-outside": dict(BASE, eos_token_id=32000),
}
GENERATION = {
    "tied": GenerationConfig(eos_token_id=[7, 8], do_sample=True, temperature=0.5, top_k=5, top_p=0.9,
                             repetition_penalty=1.1, max_new_tokens=17),
    "plain": GenerationConfig(),
}


def want(config):
    rope = Phi3RotaryEmbedding(config)
    attention = Phi3Attention(config, 0)
    eos = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    kind = config.rope_parameters["rope_type"]
    out = {"rotary_dim": 2 * len(rope.inv_freq), "head_dim": attention.head_dim,
           "kv_heads": config.num_key_value_heads, "attention_factor": float(rope.attention_scaling),
           "longrope": kind == "longrope", "theta": config.rope_parameters["rope_theta"],
           "tied": config.tie_word_embeddings, "eos": [i for i in eos if i < config.vocab_size],
           "inv_freq": rope.inv_freq.tolist()}
    if kind == "longrope":
        out["original"] = config.rope_parameters["original_max_position_embeddings"]
        position = torch.tensor([[out["original"]]])
        rope(torch.zeros(1), position)
        out["long_inv_freq"] = rope.inv_freq.tolist()
    return out


def line(name, written, config, generation):
    w = want(config)
    if generation and generation.get("eos_token_id"):
        w["eos"] = generation["eos_token_id"]
    print(json.dumps({"name": name, "config": written, "generation": generation, "want": w}))


for name, given in CASES.items():
    config = Phi3Config(**json.loads(json.dumps(given)))
    generation = None
    with tempfile.TemporaryDirectory() as d:
        if name in GENERATION:
            GENERATION[name].save_pretrained(d)
            with open(os.path.join(d, "generation_config.json")) as f:
                generation = json.load(f)
        config.save_pretrained(d)
        with open(os.path.join(d, "config.json")) as f:
            written = json.load(f)
    line(name, written, config, generation)
    # The spelling of transformers 4: what was given, as it was given.
    line(name + "-as-given", {"model_type": "phi3", **given}, config, generation)
