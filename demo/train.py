# train.py - trains the demo model and its two adapters and writes them like a Hub download.

import argparse
import itertools
import json
import math
import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Phi3Config, Phi3ForCausalLM

import data
import vocabulary

HERE = Path(__file__).parent
VOCABULARY = 1650  # bytes and merges; the added tokens come after them
ORIGINAL_POSITIONS = 512
SHAPE = {
    "hidden_size": 192,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 448,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": ORIGINAL_POSITIONS,
    "sliding_window": 8192,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "initializer_range": 0.02,
    "rope_scaling": {
        "type": "longrope",
        "short_factor": [1.0] * 12,
        "long_factor": [1.0, 1.1, 1.25, 1.45, 1.75, 2.15, 2.7, 3.4, 4.3, 5.4, 6.6, 8.0]
    },
}
RANKS = {"dates": 32, "pirate": 16}  # of the adapters
TARGETS = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
IGNORED = -100
LONG_SEED = 2  # added to the seed: other conversations than in the first stage


def write_config(folder, ids, size):
    """Writes config.json and generation_config.json in the form the Hub has for Phi-4-mini."""
    end_of_text = ids["<|endoftext|>"]
    config = {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "mlp_bias": False,
        "lm_head_bias": False,
        "transformers_version": "4.45.0",
        "vocab_size": size,
        **SHAPE
    }
    vocabulary.write(folder / "config.json", dict(sorted(config.items())))
    vocabulary.write(
        folder / "generation_config.json", {
            "_from_model_config": True,
            "bos_token_id": end_of_text,
            "eos_token_id": [ids["<|end|>"], end_of_text],
            "pad_token_id": end_of_text,
            "transformers_version": "4.45.0"
        })


class Encoder:
    """Turns conversations into (ids, labels); only the assistant's part and <|end|> are learned."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.added = {text: self.tokenizer.token_to_id(text) for text, _, _ in vocabulary.ADDED}

    def __call__(self, messages):
        ids, labels = [], []
        for message in messages:
            content = self.tokenizer.encode(message["content"],
                                            add_special_tokens=False).ids + [self.added["<|end|>"]]
            learned = message["role"] == "assistant"
            ids += [self.added[f"<|{message['role']}|>"]] + content
            labels += [IGNORED] + (content if learned else [IGNORED] * len(content))
        return ids, labels


def batches(stream, encode, tokens, seed, pad):
    """Yields (ids, labels) of about `tokens` tokens, its rows of similar length: little padding.

    Rows longer than ORIGINAL_POSITIONS never share a batch with shorter ones, since the longest row
    chooses the rotary factors of all.
    """
    rng = random.Random(seed)
    while True:
        rows = sorted((encode(messages) for messages, _ in itertools.islice(stream, 768)),
                      key=lambda row: len(row[0]))
        made, start = [], 0
        for end in range(1, len(rows) + 1):
            width = len(rows[min(end, len(rows) - 1)][0])
            crosses = len(rows[start][0]) <= ORIGINAL_POSITIONS < width
            if end == len(rows) or crosses or width * (end - start + 1) > tokens:
                made.append(rows[start:end])
                start = end
        rng.shuffle(made)
        for group in made:
            width = len(group[-1][0])
            yield (torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group]),
                   torch.tensor([labels + [IGNORED] * (width - len(labels))
                                 for _, labels in group]))


def loss_of(model, ids, labels):
    """Cross entropy of the next token; the head runs on the learned positions alone."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    keep = wanted != IGNORED
    return torch.nn.functional.cross_entropy(base.lm_head(hidden[keep]).float(), wanted[keep])


def optimise(model, optimizers, stream, steps, name, warmup=60):
    """Runs `steps` steps; the rates rise over `warmup` steps, then fall to 0 along a cosine."""
    start, rates = time.time(), [[group["lr"] for group in o.param_groups] for o in optimizers]
    shown = 0.0
    model.train()
    for step in range(steps):
        scale = min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for optimizer, own in zip(optimizers, rates):
            for group, rate in zip(optimizer.param_groups, own):
                group["lr"] = rate * scale
        loss = loss_of(model, *next(stream))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        for optimizer in optimizers:
            optimizer.step()
        shown += loss.item()
        if (step + 1) % 50 == 0:
            print(
                f"{name}: step {step + 1} of {steps}, loss {shown / 50:.4f}, "
                f"{time.time() - start:.0f} s",
                flush=True)
            shown = 0.0


def train_base(folder, steps, seed, tokens):
    """Trains the vocabulary and the base model into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = vocabulary.train(data.tokenizer_text(seed), VOCABULARY, folder)
    size = (max(ids.values()) +
            64) // 64 * 64  # rows past the last id are padding, as in Phi-4-mini
    write_config(folder, ids, size)
    torch.manual_seed(seed)
    model = Phi3ForCausalLM(Phi3Config.from_pretrained(folder)).float()
    print(
        f"base: {sum(p.numel() for p in model.parameters())} parameters, "
        f"vocabulary {max(ids.values()) + 1}",
        flush=True)
    optimise_base(model, folder, data.base_stream(seed), steps, seed, tokens, 3e-3, "base")


def train_long(folder, steps, seed, tokens):
    """Continues the base model in `folder` (its bf16 weights, in f32) with more long conversations.

    The first stage sees few positions near and beyond ORIGINAL_POSITIONS; here half the text is
    there, on both sides.
    """
    torch.manual_seed(seed)
    model = Phi3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    stream = data.base_stream(seed + LONG_SEED, long=True)
    optimise_base(model, folder, stream, steps, seed, tokens, 2e-3, "long")


def optimise_base(model, folder, stream, steps, seed, tokens, rate, name):
    """Trains all weights, the matrices with Muon and the rest with AdamW, and writes them."""
    encode = Encoder(folder)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    ]
    rows = batches(stream, encode, tokens, seed, encode.added["<|endoftext|>"])
    optimise(model, optimizers, rows, steps, name)
    tensors = {
        name: value.detach().to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items() if name != "lm_head.weight"
    }
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})


def train_adapter(name, folder, base, steps, seed, tokens, rank):
    """Trains the adapter on the finished base (its bf16 weights, in f32) and saves it."""
    torch.manual_seed(seed)
    model = Phi3ForCausalLM.from_pretrained(base, dtype=torch.float32)
    encode = Encoder(base)
    lora = LoraConfig(r=rank,
                      lora_alpha=2 * rank,
                      lora_dropout=0.0,
                      target_modules=TARGETS,
                      bias="none",
                      task_type="CAUSAL_LM",
                      base_model_name_or_path="demo/model")
    model = get_peft_model(model, lora)
    optimizer = torch.optim.Muon([p for p in model.parameters() if p.requires_grad],
                                 lr=4e-3,
                                 weight_decay=0.0,
                                 adjust_lr_fn="match_rms_adamw")
    stream = batches(data.adapter_stream(name, seed), encode, tokens, seed,
                     encode.added["<|endoftext|>"])
    optimise(model, [optimizer], stream, steps, name)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = "demo/model"
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    config = json.loads((folder / "adapter_config.json").read_text())
    config["target_modules"] = sorted(config["target_modules"])
    vocabulary.write(folder / "adapter_config.json", config)


def main():
    parser = argparse.ArgumentParser(
        description="Train the demo model and its adapters; writes model/ and adapters/.")
    parser.add_argument("stages",
                        nargs="*",
                        default=["base", "long", "dates", "pirate"],
                        help="base, long, dates, pirate (default: all, in this order)")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--base-steps", type=int, default=3300)
    parser.add_argument("--long-steps", type=int, default=3600)
    parser.add_argument("--dates-steps", type=int, default=2000)
    parser.add_argument("--pirate-steps", type=int, default=600)
    parser.add_argument("--tokens", type=int, default=1600, help="tokens in a batch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    base = args.out / "model"
    for stage in args.stages:
        if stage == "base":
            train_base(base, args.base_steps, args.seed, args.tokens)
        elif stage == "long":
            train_long(base, args.long_steps, args.seed, args.tokens)
        else:
            steps = {"dates": args.dates_steps, "pirate": args.pirate_steps}[stage]
            train_adapter(stage, args.out / "adapters" / stage, base, steps, args.seed, args.tokens,
                          RANKS[stage])


if __name__ == "__main__":
    main()
