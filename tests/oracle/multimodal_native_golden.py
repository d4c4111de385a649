#!/usr/bin/env python3
# multimodal_native_golden.py - the model of tests/golden/multimodal in transformers' own layout, its adapters as peft saves them.
#
# usage: multimodal_native_golden.py OUT_DIR   (tests/golden/multimodal_native)
# transformers' Phi4MultimodalForCausalLM and peft write the files; the script then loads them again with both and
# fails unless text, a picture and a sound give the tokens and log-probabilities of ../multimodal/expected.txt.
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file
from transformers import Phi4MultimodalConfig
from transformers.models.phi4_multimodal import modeling_phi4_multimodal as m

import audio_encoder_golden as audio_oracle
import image_crops_golden as crops_oracle
import vision_golden as vision_oracle

warnings.filterwarnings("ignore")
here = Path(__file__).resolve().parent
golden, out = here.parent / "golden", Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
hub = load_file(golden / "multimodal" / "model.safetensors")
written = json.loads((golden / "multimodal" / "config.json").read_text())
tokenizer = json.loads((golden / "multimodal" / "tokenizer.json").read_text())
added = {a["content"]: a["id"] for a in tokenizer["added_tokens"]}
config = Phi4MultimodalConfig(
    hidden_size=48, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, intermediate_size=64,
    vocab_size=written["vocab_size"], max_position_embeddings=written["max_position_embeddings"],
    original_max_position_embeddings=written["original_max_position_embeddings"], tie_word_embeddings=True,
    rms_norm_eps=written["rms_norm_eps"], pad_token_id=0, bos_token_id=0, eos_token_id=written["eos_token_id"],
    rope_parameters=dict(rope_type="default", rope_theta=written["rope_theta"],
                         partial_rotary_factor=written["partial_rotary_factor"]),
    audio_config=dict(hidden_size=16, intermediate_size=12, num_attention_heads=2, num_blocks=1, nemo_conv_channels=4,
                      bias_max_distance=500, ext_pw_out_channel=16, depthwise_separable_out_channel=16,
                      audio_token_id=added["<|endoftext11|>"]),
    vision_config=dict(hidden_size=32, intermediate_size=40, num_attention_heads=16, num_hidden_layers=2,
                       image_token_id=added["<|endoftext10|>"]))
config._attn_implementation = config.vision_config._attn_implementation = config.audio_config._attn_implementation = "eager"


def hub_name(name):
    for base, rename in ((vision_oracle.BASE, vision_oracle.hub_name), (audio_oracle.BASE, audio_oracle.hub_name)):
        if name.startswith(base):
            return base + rename(name[len(base):])
    return name if name in hub else name.replace(".weight", ".base_layer.weight")


model = m.Phi4MultimodalForCausalLM(config).eval()
with torch.no_grad():
    for name, p in list(model.named_parameters()) + list(model.named_buffers()):
        if hub_name(name) in hub:
            p.copy_(hub[hub_name(name)])
        else:
            assert "inv_freq" in name or "post_layernorm" in name or ".head." in name or name == "lm_head.weight", name
model.save_pretrained(out)
for file in ("tokenizer.json", "generation_config.json"):
    shutil.copy(golden / "multimodal" / file, out / file)

TARGETS = r".*model\.layers\.\d+\.(self_attn\.(qkv_proj|o_proj)|mlp\.(gate_up_proj|down_proj))"
for mode, r in (("vision", 6), ("speech", 9)):
    adapted = get_peft_model(model, LoraConfig(r=r, lora_alpha=2 * r, target_modules=TARGETS))
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if ".lora_" in name:
                p.copy_(hub[name.removeprefix("base_model.model.").replace(".default.", f".{mode}.")])
    adapted.save_pretrained(out / f"{mode}-lora")
    (out / f"{mode}-lora" / "README.md").unlink(missing_ok=True)
    model = adapted.unload()

# ---- and back: what users of transformers and peft would get ----


@torch.no_grad()
def answer(mode, parts, **media):
    base = m.Phi4MultimodalForCausalLM.from_pretrained(out, attn_implementation="eager", dtype=torch.float32).eval()
    base.model.embed_tokens_extend.image_embed.img_processor.config._attn_implementation = "eager"
    assert base.model.layers[0].self_attn.config._attn_implementation == "eager"
    loaded = PeftModel.from_pretrained(base, out / f"{mode}-lora").eval() if mode else base
    ids, found = torch.tensor([parts]), []
    for _ in range(5):
        logp = loaded(input_ids=ids, use_cache=False, **media).logits[0, -1].log_softmax(-1)
        found += [int(logp.argmax()), float(logp.max())]
        ids = torch.cat([ids, torch.tensor([[found[-2]]])], 1)
    return found


def text(s):
    from tokenizers import Tokenizer
    return Tokenizer.from_file(str(out / "tokenizer.json")).encode(s).ids


def picture(name):
    image = Image.open(golden / "images" / name).convert("RGB")
    crops_oracle.picture = lambda w, h: np.asarray(image)
    cols, rows, *_, tokens = crops_oracle.plan(*image.size)
    pixels, masks = crops_oracle.crops(*image.size)
    return tokens, dict(image_pixel_values=pixels[None], image_sizes=torch.tensor([[rows * 448, cols * 448]]),
                        image_attention_mask=masks[None])


def sound(name):
    mel = torch.from_numpy(np.fromfile(golden / "audio" / name, np.float32).reshape(-1, 80).copy())
    n = -(-len(mel) // 8)
    return n, dict(audio_input_features=mel[None], audio_embed_sizes=torch.tensor([n]))


user, assistant, end = added["<|user|>"], added["<|assistant|>"], added["<|end|>"]
n_image, image = picture("rgb.png")
n_sound, heard = sound("wav16k_s16.mel")
got = {
    "text": answer(None, [user] + text("who are you") + [end, assistant]),
    "image": answer("vision", [user] + [added["<|endoftext10|>"]] * n_image + text("what is it") + [end, assistant], **image),
    "audio": answer("speech", [user] + [added["<|endoftext11|>"]] * n_sound + text("what was said") + [end, assistant], **heard),
}
expected = dict(line.split(" ", 1) for line in (golden / "multimodal" / "expected.txt").read_text().splitlines())
for name, numbers in got.items():
    want = [float(x) for x in expected[name].split()]
    assert np.allclose(numbers, want, atol=1e-3), (name, numbers, want)
print("transformers and peft give the same answers:", ", ".join(got))
