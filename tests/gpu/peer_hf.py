#!/usr/bin/env python3
# peer_hf.py - transformers on the same weights and device: seconds of a decode step for some numbers of rows.
#
# usage: peer_hf.py MODEL_DIR CONTEXT TOKENS BATCH,... [--device cuda|cpu]
import argparse
import time

import torch
from transformers import AutoModelForCausalLM

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("context", type=int)
p.add_argument("tokens", type=int)
p.add_argument("batch")
p.add_argument("--device", default="cuda")
a = p.parse_args()
start = time.monotonic()
m = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.bfloat16, attn_implementation="sdpa").to(a.device).eval()
print(f"{'transformers: load':<44} {time.monotonic() - start:10.4g} s", flush=True)


def seconds(rows, new):
    ids = torch.tensor([[(i * 7919 + r * 104729 + 11) % 100000 % m.config.vocab_size for i in range(a.context)]
                        for r in range(rows)], device=a.device)
    best = 1e30
    for _ in range(2):
        begin = time.monotonic()
        m.generate(ids, attention_mask=torch.ones_like(ids), min_new_tokens=new, max_new_tokens=new, do_sample=False,
                   pad_token_id=0, eos_token_id=None)
        if a.device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - begin)
    return best


with torch.no_grad():
    for rows in map(int, a.batch.split(",")):
        step = (seconds(rows, a.tokens) - seconds(rows, 1)) / (a.tokens - 1)
        what = f"transformers: {rows} rows of {a.context} tokens: step"
        print(f"{what:<44} {step * 1e3:10.4g} ms        {rows / step:.1f} tokens/s", flush=True)
