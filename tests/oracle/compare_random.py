# compare_random.py - makes random models of the Phi-4-mini architecture and compares Airlock's logits with transformers'.
"""Usage: python compare_random.py --tool BUILD/tests/logits_tool [--lora BUILD/plugins/.libs/lora.so]
                                  [--count 50] [--seed 1] [--keep-going]

Each model has its own shape (head_dim 32 to 128, rotary 0.5 to 1, any GQA ratio, odd vocabulary and intermediate
sizes, bf16, f16 or f32, tied or not, sharded or not, with and without LongRoPE) and is compared
  - with keys and values in float32 against transformers in float32: only the order of additions differs,
  - with keys and values as stored against transformers in the stored type: no further from float32 than that is,
  - in the tokens of a greedy continuation, up to near-ties,
  - and, with --lora, with a random PEFT adapter."""
import argparse
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

import phi4_random as r

FLOAT32_LIMIT = 1e-4  # of the largest logit; measured 1e-6 to 1e-5
NEAR_TIE = 1e-3


def draw_shape(rng):
    head_dim = rng.choice([16, 32, 64, 80, 96, 128])
    kv_heads = rng.choice([1, 1, 2, 3])
    heads = kv_heads * rng.choice([1, 2, 3, 4])
    partial = rng.choice([0.5, 0.75, 0.75, 1.0])
    original = rng.choice([24, 32, 50])
    return dict(hidden=head_dim * heads, heads=heads, kv_heads=kv_heads, layers=rng.choice([1, 2, 3]),
                intermediate=rng.choice([40, 77, 100, 131, 256]), partial=partial, tied=rng.random() < 0.6,
                longrope=rng.random() < 0.75, original=original, maximum=original * rng.choice([2, 4, 32]),
                theta=rng.choice([10000.0, 250000.0]), dtype=rng.choice(["bf16", "bf16", "f16", "f32"]),
                eps=rng.choice([1e-5, 1e-6]), shards=rng.choice([1, 1, 2, 5]), merges=rng.randrange(9),
                extra_vocab=rng.choice([0, 1, 35]), seed=rng.randrange(1 << 30))


def run(tool, directory, ids, *options):
    out = subprocess.run([tool, "-d", str(directory), *options, *map(str, ids)], check=True, capture_output=True)
    return out.stdout


def error(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max())


def add_adapter(model, directory, rng):
    modules = rng.sample(["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], rng.randrange(1, 5))
    config = LoraConfig(r=rng.choice([1, 3, 8]), lora_alpha=rng.choice([4, 7, 16]), use_rslora=rng.random() < 0.5,
                        target_modules=modules, task_type="CAUSAL_LM")
    peft_model = get_peft_model(model, config)
    for name, parameter in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    peft_model.save_pretrained(directory)
    return peft_model


def compare(args, rng, directory):
    """A line about one model, and whether it is as it should be."""
    shape = draw_shape(rng)
    config, known = r.write_model(directory, **shape)
    vocab = config["vocab_size"]
    length = rng.choice([1, 7, shape["original"], shape["original"] + 1, shape["original"] + 20])
    length = min(length, shape["maximum"] - 12)
    ids = [rng.randrange(vocab) for _ in range(length)]
    chunk = str(rng.choice([1, 5, 64]))
    model = r.load(directory)
    want = r.logits_of(model, ids).numpy()

    def ours(*options):
        return np.frombuffer(run(args.tool, directory, ids, "-c", chunk, *options), np.float32).reshape(length, vocab)

    e32 = error(ours("-k", "f32"), want)
    stored = error(ours(), want)
    theirs = error(r.logits_of(r.load(directory, r.DTYPES[shape["dtype"]]), ids).numpy(), want)
    good = e32 < FLOAT32_LIMIT and (stored <= theirs * 1.5 + FLOAT32_LIMIT)

    tokens, margin = r.greedy(model, ids, 10, known)
    answer = list(map(int, run(args.tool, directory, ids, "-c", chunk, "-k", "f32", "-g", "10").split()))
    same = answer == tokens
    good = good and (same or margin < NEAR_TIE)

    adapter = ""
    if args.lora:
        path = pathlib.Path(directory) / "adapter"
        with torch.no_grad():
            peft_model = add_adapter(model, path, rng).eval()
            want = r.logits_of(peft_model, ids).numpy()
        e = error(ours("-k", "f32", "-l", args.lora, "-a", str(path)), want)
        good = good and e < FLOAT32_LIMIT
        adapter = f" adapter {e:.1e}"
    text = " ".join(f"{k}={v}" for k, v in shape.items() if k != "seed")
    return good, (f"float32 {e32:.1e}  as stored {stored:.1e} (transformers {theirs:.1e})  greedy "
                  f"{'same' if same else f'differs, margin {margin:.1e}'}{adapter}  n={length} chunk={chunk} {text}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tool", required=True)
    p.add_argument("--lora")
    p.add_argument("--count", type=int, default=50)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--keep-going", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(1)
    bad = 0
    for i in range(args.seed, args.seed + args.count):
        with tempfile.TemporaryDirectory() as directory:
            good, line = compare(args, random.Random(i), directory)
        print(f"{'ok' if good else 'NOT OK'} seed {i}: {line}", flush=True)
        bad += not good
        if bad and not args.keep_going:
            break
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
