#!/usr/bin/env python3
# vision_golden.py - tiny random vision towers in both layouts, and the embeddings that transformers makes of pictures.
#
# usage: vision_golden.py OUT_DIR   (tests/golden/vision)
# A folder each: config.json and model.safetensors with the Hub's names or transformers' own, and
# expected.txt: for each picture of image_crops_golden.py "image W H TOKENS", then "row I VALUE..."
# with all numbers of some rows.  transformers runs in float32 with eager attention: its SDPA path
# would mask the tower causally when nothing is padding.
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Phi4MultimodalConfig, Phi4MultimodalVisionConfig
from transformers.models.phi4_multimodal import modeling_phi4_multimodal as m

from image_crops_golden import crops, plan

BASE = "model.embed_tokens_extend.image_embed."
HUB = {"sub_img_feature_extensor": "sub_GN", "global_img_feature_extensor": "glb_GN",
       "img_projection_up.": "img_projection.0.", "img_projection_down.": "img_projection.2."}
PICTURES = [(449, 448), (500, 450), (100, 100), (500, 900), (1, 1)]
CASES = {"hub_bf16": dict(hidden=32, inner=50, heads=16, layers=3, text=40, dtype=torch.bfloat16, hub=True),
         "native_f32": dict(hidden=24, inner=36, heads=3, layers=4, text=20, dtype=torch.float32, hub=False)}


def model(c, seed):
    torch.manual_seed(seed)
    vision = Phi4MultimodalVisionConfig(hidden_size=c["hidden"], intermediate_size=c["inner"],
                                        num_attention_heads=c["heads"], num_hidden_layers=c["layers"])
    config = Phi4MultimodalConfig(hidden_size=c["text"], vision_config=vision.to_dict(), num_hidden_layers=1)
    config.vision_config._attn_implementation = "eager"
    embed = m.Phi4MultimodalImageEmbedding(config).eval()
    assert embed.img_processor.config._attn_implementation == "eager"
    with torch.no_grad():
        for name, p in embed.named_parameters():
            p.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1 if p.ndim < 2 else 0.7 / p.shape[-1] ** 0.5)
        embed.img_processor.embeddings.patch_embedding.weight.normal_(0, 0.05)
        embed.img_processor.embeddings.position_embedding.weight.normal_(0, 0.5)
        for p in embed.parameters():
            p.copy_(p.to(c["dtype"]).float())
    return embed


def hub_name(name):
    for old, new in HUB.items():
        name = name.replace(old, new)
    return name


def save(folder, c, embed):
    tensors = {}
    for name, p in embed.named_parameters():
        name = hub_name(name) if c["hub"] else name
        tensors[BASE + name] = p.detach().to(c["dtype"]).contiguous()
    save_file(tensors, folder / "model.safetensors")
    config = {"hidden_size": c["text"]}
    if c["hub"]:
        config["embd_layer"] = {"image_embd_layer": {
            "crop_size": 448, "hd_transform_order": "sub_glb", "image_token_compression_cls": "avg_pool_2d",
            "projection_cls": "mlp", "use_hd_transform": True, "with_learnable_separator": True}}
    else:
        config["vision_config"] = {"num_attention_heads": c["heads"], "feature_layer": -2, "layer_norm_eps": 1e-6,
                                   "crop_size": 448, "image_size": 448, "patch_size": 14}
    (folder / "config.json").write_text(json.dumps(config))


def embeddings(c, embed, w, h):
    cols, rows, *_, tokens = plan(w, h)
    pixels, masks = crops(w, h)
    ids = torch.full((1, tokens), 200010)
    out = embed(ids, torch.zeros(1, tokens, c["text"]), pixels[None], torch.tensor([[rows * 448, cols * 448]]),
                masks[None])
    return out[0]


def interesting(w, h):
    *_, valid_cols, valid_rows, tokens = plan(w, h)
    width = (valid_cols + 1) // 2 + 1
    tiles = width * ((valid_rows + 1) // 2)
    return sorted({0, 1, width - 2, width - 1, width, tiles // 2, tiles - 2, tiles - 1, tiles, tiles + 1, tiles + 16,
                   tiles + 17, tiles + 18, tokens - 2, tokens - 1})


if __name__ == "__main__":
    out = Path(sys.argv[1])
    for seed, (name, c) in enumerate(CASES.items()):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        embed = model(c, seed)
        save(folder, c, embed)
        with open(folder / "expected.txt", "w") as f, torch.no_grad():
            for w, h in PICTURES:
                e = embeddings(c, embed, w, h)
                f.write(f"image {w} {h} {len(e)}\n")
                for i in interesting(w, h):
                    f.write(f"row {i} {' '.join(f'{float(v):.7g}' for v in e[i])}\n")
