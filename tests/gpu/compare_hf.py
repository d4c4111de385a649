#!/usr/bin/env python3
# compare_hf.py - whole-model logits and greedy tokens of the CUDA ops against transformers on the same weights.
#
# usage: compare_hf.py LOGITS_OF MODEL_DIR [--device cuda|cpu] [--prompt N] [--tokens N]
# Ours (bf16) and transformers in bf16 are both held against transformers in float32; ours may be at most half as far
# again.  Greedy: our token is the reference's, or within the error of it (a near tie); how many are equal is told.
import argparse
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoModelForCausalLM

p = argparse.ArgumentParser()
p.add_argument("program")
p.add_argument("model")
p.add_argument("--device", default="cuda")
p.add_argument("--prompt", type=int, default=200)
p.add_argument("--tokens", type=int, default=24)
a = p.parse_args()
torch.backends.cuda.matmul.allow_tf32 = False


def model(dtype):
    return AutoModelForCausalLM.from_pretrained(a.model, dtype=dtype, attn_implementation="eager").to(a.device).eval()


@torch.no_grad()
def logits(m, ids):
    return m(torch.tensor([ids], device=a.device), use_cache=False).logits[0].float().cpu().numpy()


exact = model(torch.float32)
vocab = exact.config.vocab_size
prompt = [(i * 7919 + 11) % vocab for i in range(a.prompt)]
with tempfile.NamedTemporaryFile() as f:
    said = subprocess.run([a.program, a.model, f.name, str(a.tokens), *map(str, prompt)], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    ours = np.fromfile(f.name, np.float32).reshape(a.prompt + a.tokens, vocab)
ids = prompt + [int(i) for i in said.split()]
want = logits(exact, ids)
del exact
rounded = logits(model(torch.bfloat16), ids)
scale = np.abs(want).max(1, keepdims=True)
ours_far = float((np.abs(ours - want) / scale).max())
theirs_far = float((np.abs(rounded - want) / scale).max())
rows = want[a.prompt - 1 : a.prompt + a.tokens - 1]
chosen = np.array(ids[a.prompt :])
gap = (rows.max(1) - rows[np.arange(a.tokens), chosen]) / scale[a.prompt - 1 : a.prompt + a.tokens - 1, 0]
equal = int((chosen == rows.argmax(1)).sum())
print(f"logits: ours {ours_far:.4f}, transformers in bf16 {theirs_far:.4f} of the largest from float32; "
      f"greedy: {equal} of {a.tokens} equal, the others within {float(gap.max()):.4f}")
if not ours_far <= 1.5 * theirs_far + 0.002:
    sys.exit("compare_hf: the logits are further away than bf16 explains")
if not gap.max() <= 2 * ours_far:
    sys.exit("compare_hf: a greedy token is no near tie of the reference's")
