#!/usr/bin/env python3
# lora_golden.py - small adapters made by peft, and what peft adds to each layer with them.
"""Usage: lora_golden.py DIRECTORY    (tests/golden/lora)

DIRECTORY/CASE/ gets adapter_config.json, adapter_model.safetensors and expect.safetensors: x16 and
x24 are the inputs of layers of that width, and MODULE is what peft adds to its output (float32)."""
import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

SHAPE = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, vocab_size=20, bos_token_id=1, eos_token_id=2, pad_token_id=0,
             tie_word_embeddings=True)
SPLIT = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
ROWS = {"q_proj": 16, "k_proj": 8, "v_proj": 8, "gate_proj": 24, "up_proj": 24}
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def lora(**more):
    return LoraConfig(init_lora_weights=False, **more)


# name: (fused model?, dtype of the file, configuration)
CASES = {
    "all-linear": (True, torch.float32, lora(r=4, lora_alpha=8, target_modules="all-linear")),
    "bf16": (True, torch.bfloat16, lora(r=2, lora_alpha=2, target_modules=["qkv_proj", "down_proj"])),
    "f16": (True, torch.float16, lora(r=2, lora_alpha=3, target_modules=["o_proj", "gate_up_proj"])),
    "rslora": (True, torch.float32, lora(r=3, lora_alpha=5, use_rslora=True, target_modules=["o_proj"])),
    "patterns": (True, torch.float32, lora(
        r=4, lora_alpha=4, target_modules="all-linear",
        rank_pattern={"qkv_proj": 2, r"layers\.1\.mlp\..*": 5, "^model.layers.0.self_attn.o_proj": 3},
        alpha_pattern={"layers.0.self_attn.qkv_proj": 3, "down_proj": 16, "proj": 1})),
    "layers": (True, torch.float32, lora(r=2, target_modules=["down_proj", "o_proj"], layers_to_transform=[1])),
    "layers-pattern": (True, torch.float32, lora(
        r=2, target_modules=["down_proj"], layers_to_transform=0, layers_pattern="layers")),
    "regex": (True, torch.float32, lora(r=2, target_modules=r".*\.0\.mlp\.(gate_up|down)_proj")),
    "exclude": (True, torch.float32, lora(
        r=2, target_modules=["o_proj", "down_proj"], exclude_modules=r".*\.1\..*")),
    "recipe": (True, torch.float32, lora(r=2, target_modules=EVERY)),
    "split": (False, torch.float32, lora(r=2, lora_alpha=4, target_modules=EVERY)),
    "split-bf16": (False, torch.bfloat16, lora(r=2, lora_alpha=4, target_modules=EVERY)),
    "split-some": (False, torch.bfloat16, lora(
        r=2, lora_alpha=3, target_modules=["q_proj", "v_proj", "up_proj"],
        rank_pattern={"q_proj": 3, "v_proj": 1}, alpha_pattern={"v_proj": 7})),
    "split-one": (False, torch.float32, lora(r=2, target_modules=["k_proj"])),
}


def base(fused):
    torch.manual_seed(0)
    return Phi3ForCausalLM(Phi3Config(**SHAPE)) if fused else LlamaForCausalLM(LlamaConfig(**SHAPE))


def deltas(model):
    """What peft adds to the weight of each module, by its name in the causal model."""
    return {name.removeprefix("base_model.model."): module.get_delta_weight("default").double()
            for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}


def fuse(weights):
    """The same under the names of the fused model, zeros for parts that are not there."""
    out = dict(weights)
    for fused, parts in SPLIT.items():
        for name in list(out):
            where, last = name.rsplit(".", 1)
            if last not in parts or name not in out:
                continue
            whole = [out.pop(f"{where}.{p}", None) for p in parts]
            out[f"{where}.{fused}"] = torch.cat(
                [torch.zeros(ROWS[p], 16).double() if w is None else w for p, w in zip(parts, whole)])
    return out


def write(directory, fused, dtype, config):
    shutil.rmtree(directory, ignore_errors=True)
    torch.manual_seed(1)
    get_peft_model(base(fused), config, autocast_adapter_dtype=False).save_pretrained(directory)
    os.remove(os.path.join(directory, "README.md"))
    path = os.path.join(directory, "adapter_model.safetensors")
    save_file({k: v.to(dtype) for k, v in load_file(path).items()}, path)
    # Read again by peft, so that what is expected is peft's reading of the file.
    model = PeftModel.from_pretrained(base(fused), directory)
    x = {n: torch.randn(3, n) for n in (16, 24)}
    expect = {f"x{n}": v for n, v in x.items()}
    for name, w in fuse(deltas(model)).items():
        expect[name] = (x[w.shape[1]].double() @ w.T).float()
    save_file(expect, os.path.join(directory, "expect.safetensors"))


def rename(directory, source):
    """As an in-memory dump has it: no prefix, and the adapter's name in each key."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory)
    path = os.path.join(directory, "adapter_model.safetensors")
    save_file({k.removeprefix("base_model.model.").replace(".weight", ".default.weight"): v
               for k, v in load_file(path).items()}, path)


def minimal(directory, source):
    """The least legal configuration: rank and alpha are peft's defaults."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory)
    with open(os.path.join(directory, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "target_modules": ["o_proj"]}, f)


def main(top):
    for name, case in CASES.items():
        write(os.path.join(top, name), *case)
    rename(os.path.join(top, "names"), os.path.join(top, "all-linear"))
    full = os.path.join(top, "full")
    write(full, True, torch.float32, lora(target_modules=["o_proj"]))
    minimal(os.path.join(top, "minimal"), full)
    shutil.rmtree(full)


main(sys.argv[1])
