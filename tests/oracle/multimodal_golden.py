#!/usr/bin/env python3
# multimodal_golden.py - a tiny model with everything in the Hub's layout, and its greedy answers to text, pictures and sound.
#
# usage: multimodal_golden.py OUT_DIR   (tests/golden/multimodal)
# The reference: embeddings from transformers' image and audio modules, put where the placeholders
# stand; logits from transformers' Phi-3 with W + scale B A as weights, in float32.
# expected.txt: "NAME ID LOGPROB ID LOGPROB ..." for each request of tests/test_phi4_multimodal.c.
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import audio_encoder_golden as audio_oracle
import image_crops_golden as crops_oracle
import phi4_random
import vision_golden as vision_oracle

TOKENS = 5
R = {"vision": 6, "speech": 9}
here = Path(__file__).resolve().parent
out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
phi4_random.SPECIAL += ["<|endoftext10|>", "<|endoftext11|>"]
config, vocab = phi4_random.write_model(out, 7, dtype="f32", hidden=48, layers=2, heads=3, kv_heads=1, intermediate=64,
                                        maximum=4096, original=4096, longrope=False)
base = phi4_random.load(out)
added = {a["content"]: a["id"] for a in json.loads((out / "tokenizer.json").read_text())["added_tokens"]}

vc = dict(hidden=32, inner=40, heads=16, layers=2, text=48, dtype=torch.float32, hub=True)
ac = dict(hidden=16, inner=12, heads=2, blocks=1, kernel=3, channels=4, reach=500, text=48, hub=True, dtype=torch.float32, seed=3)
vision = vision_oracle.model(vc, 3)
audio, _ = audio_oracle.make_model(ac)

tensors = {}
torch.manual_seed(11)
lora = {}
for name, p in phi4_random.tensors_of(config, "f32", 7).items():
    if "proj" not in name:
        tensors[name] = p
        continue
    module = name[: -len(".weight")]
    tensors[module + ".base_layer.weight"] = p
    for mode, r in R.items():
        a, b = torch.randn(r, p.shape[1]) / p.shape[1] ** 0.5, torch.randn(p.shape[0], r) * 0.2
        tensors[f"{module}.lora_A.{mode}.weight"], tensors[f"{module}.lora_B.{mode}.weight"] = a, b
        lora[mode, name] = 2.0 * b @ a
for name, p in vision.named_parameters():
    tensors[vision_oracle.BASE + vision_oracle.hub_name(name)] = p.detach()
for name, p in list(audio.named_parameters()) + list(audio.named_buffers()):
    tensors[audio_oracle.BASE + audio_oracle.hub_name(name)] = p.detach()
save_file({k: v.contiguous() for k, v in tensors.items()}, out / "model.safetensors")
config |= {"model_type": "phi4mm", "architectures": ["Phi4MMForCausalLM"],
           "vision_lora": {"r": 6, "lora_alpha": 12}, "speech_lora": {"r": 9, "lora_alpha": 18},
           "audio_processor": audio_oracle.hub_config(ac)["audio_processor"],
           "embd_layer": {"image_embd_layer": {"crop_size": 448, "hd_transform_order": "sub_glb", "use_hd_transform": True},
                          "audio_embd_layer": audio_oracle.hub_config(ac)["embd_layer"]["audio_embd_layer"]}}
(out / "config.json").write_text(json.dumps(config, indent=1))


def picture_rows(name):
    image = Image.open(here.parent / "golden" / "images" / name).convert("RGB")
    crops_oracle.picture = lambda w, h: np.asarray(image)
    return vision_oracle.embeddings(vc, vision, *image.size)


def sound_rows(name, mode):
    mel = np.fromfile(here.parent / "golden" / "audio" / name, np.float32).reshape(-1, 80)
    return audio_oracle.embeddings(audio, [torch.from_numpy(mel.copy())], mode)[0]


def text(s):
    from tokenizers import Tokenizer
    return Tokenizer.from_file(str(out / "tokenizer.json")).encode(s).ids


@torch.no_grad()
def answer(mode, parts):
    """parts: token ids or (placeholder, rows)."""
    table = base.model.embed_tokens.weight
    h = torch.cat([table[torch.tensor(p)] if isinstance(p, list) else p for p in parts])
    saved = {}
    for name, p in base.named_parameters():
        if (mode, name) in lora:
            saved[name] = p.clone()
            p += lora[mode, name]
    found = []
    for _ in range(TOKENS):
        logp = base(inputs_embeds=h[None], use_cache=False).logits[0, -1].log_softmax(-1)
        i = int(logp.argmax())
        found += [str(i), f"{float(logp[i]):.7g}"]
        h = torch.cat([h, table[i][None]])
    for name, p in base.named_parameters():
        if name in saved:
            p.copy_(saved[name])
    return " ".join(found)


user, assistant, end = added["<|user|>"], added["<|assistant|>"], added["<|end|>"]
with torch.no_grad():
    a, b = picture_rows("rgb.png"), picture_rows("palette.gif")
    speech, beside = sound_rows("wav16k_s16.mel", "speech"), sound_rows("wav16k_s16.mel", "vision")
lines = {
    "text": answer(None, [[user] + text("who are you") + [end, assistant]]),
    "image": answer("vision", [[user], a, text("what is it") + [end, assistant]]),
    "two": answer("vision", [[user], a, text("or "), b, text("which") + [end, assistant]]),
    "audio": answer("speech", [[user], speech, text("what was said") + [end, assistant]]),
    "both": answer("vision", [[user], b, beside, [end, assistant]]),
}
(out / "expected.txt").write_text("".join(f"{k} {v}\n" for k, v in lines.items()))
