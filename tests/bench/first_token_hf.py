# first_token_hf.py - a picture and a sound to the first token: transformers and this project on the same weights.
"""Usage: python first_token_hf.py BUILD_DIR [TEXT_LAYERS [WIDTHxHEIGHT [SECONDS [ROUNDS]]]]

Makes a random checkpoint with the model's own towers (27 and 24 layers) and TEXT_LAYERS (default 2) of its 32 text
layers, a small vocabulary and no adapters, in a scratch folder; then runs, on 2 threads, transformers in bf16 and in
float32, and tests/bench/bench_first_token of BUILD_DIR on the bf16 file.  Each is given the file and gives the first
token; the best of ROUNDS (default 2) of time and of processor time.  Needs about 12 GB of memory; all layers run
with 24 GB.  With more than 8 layers transformers runs in bf16 only.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "oracle"))
import audio_encoder_golden as audio  # noqa: E402
import phi4_random  # noqa: E402
import vision_golden as vision  # noqa: E402
from transformers import Phi4MultimodalConfig, Phi4MultimodalFeatureExtractor  # noqa: E402
from transformers.models.phi4_multimodal import modeling_phi4_multimodal as m  # noqa: E402
from transformers.models.phi4_multimodal.image_processing_phi4_multimodal import (  # noqa: E402
    Phi4MultimodalImageProcessor)


def make(folder, layers):
    """The model in bf16, its checkpoint in the Hub's layout, and the ids of the added tokens."""
    phi4_random.SPECIAL += ["<|endoftext10|>", "<|endoftext11|>"]
    ids, added = phi4_random.write_tokenizer(folder)
    shape = dict(hidden=3072, layers=layers, heads=24, kv_heads=8, intermediate=8192)
    written = phi4_random.config_of(vocab=ids, eos=added["<|endoftext|>"], longrope=False, original=4096,
                                    maximum=131072, **shape)
    config = Phi4MultimodalConfig(
        hidden_size=3072, num_hidden_layers=layers, num_attention_heads=24, num_key_value_heads=8, vocab_size=ids,
        intermediate_size=8192, tie_word_embeddings=True, pad_token_id=0,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.75),
        audio_config=dict(bias_max_distance=500, audio_token_id=added["<|endoftext11|>"]),
        vision_config=dict(image_token_id=added["<|endoftext10|>"]))
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    model = m.Phi4MultimodalForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    tensors = {}
    for name, p in list(model.named_parameters()) + list(model.named_buffers()):
        if "inv_freq" in name or name == "lm_head.weight":
            continue
        if "norm" not in name and p.ndim > 1:
            with torch.no_grad():
                p.normal_(0, 1 / p[0].numel() ** 0.5)
        base = vision.BASE if vision.BASE in name else audio.BASE if audio.BASE in name else ""
        rename = vision.hub_name if base == vision.BASE else audio.hub_name if base else str
        tensors[base + rename(name[len(base):])] = p.detach().to(torch.bfloat16).contiguous()
    save_file(tensors, folder / "model.safetensors")
    hub = audio.hub_config(dict(text=3072, hidden=1024, inner=1536, heads=16, blocks=24, kernel=3, channels=1024, reach=500))
    written |= {"model_type": "phi4mm", "audio_processor": hub["audio_processor"], "embd_layer": {
        "image_embd_layer": {"crop_size": 448, "hd_transform_order": "sub_glb", "use_hd_transform": True},
        "audio_embd_layer": hub["embd_layer"]["audio_embd_layer"]}}
    (folder / "config.json").write_text(json.dumps(written))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [added["<|end|>"]]}))
    return model, added


def image_inputs(file, added, dtype):
    out = Phi4MultimodalImageProcessor()(Image.open(file).convert("RGB"), return_tensors="pt")
    n = int(out["num_img_tokens"][0])
    ids = [added["<|user|>"]] + [added["<|endoftext10|>"]] * n + list(range(10)) + [added["<|assistant|>"]]
    return dict(input_ids=torch.tensor([ids]), image_pixel_values=out["image_pixel_values"].to(dtype),
                image_sizes=out["image_sizes"], image_attention_mask=out["image_attention_mask"])


def audio_inputs(file, added, dtype):
    samples = np.frombuffer(file.read_bytes()[44:], np.int16).astype(np.float32) / 32768
    out = Phi4MultimodalFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    n = int(out["audio_embed_sizes"][0])
    ids = [added["<|user|>"]] + [added["<|endoftext11|>"]] * n + list(range(10)) + [added["<|assistant|>"]]
    return dict(input_ids=torch.tensor([ids]), audio_input_features=out["audio_input_features"].to(dtype),
                audio_embed_sizes=out["audio_embed_sizes"])


@torch.no_grad()
def best(model, inputs, file, added, dtype, rounds):
    took, used = [], []
    for _ in range(rounds):
        begin, cpu = time.monotonic(), time.process_time()
        given = inputs(file, added, dtype)
        int(model(**given, logits_to_keep=1, use_cache=True).logits[0, -1].argmax())
        took.append(time.monotonic() - begin)
        used.append(time.process_time() - cpu)
    return f"{min(took):.3f} s, processor {min(used):.3f} s to the first token of {given['input_ids'].shape[1]}"


def write_media(folder, size, seconds):
    rng = np.random.default_rng(1)
    w, h = (int(n) for n in size.split("x"))
    Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)).save(folder / "picture.png")
    sound = (rng.standard_normal(int(seconds * 16000)) * 3000).astype(np.int16).tobytes()
    head = b"RIFF" + (len(sound) + 36).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data"
    (folder / "sound.wav").write_bytes(head + len(sound).to_bytes(4, "little") + sound)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    layers, size, seconds, rounds = [*sys.argv[2:], *[2, "448x448", 30, 2][len(sys.argv) - 2:]]
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        model, added = make(folder, int(layers))
        write_media(folder, size, float(seconds))
        print(f"torch {torch.__version__}; {layers} text layers; a picture of {size}, {seconds} s of sound", flush=True)
        work = [("image", image_inputs, folder / "picture.png"), ("audio", audio_inputs, folder / "sound.wav")]
        for kind, _, file in work:
            subprocess.run([build / "tests/bench/bench_first_token", build / "plugins/.libs/phi4-multimodal.so",
                            build / "airlock-media-worker", folder, kind, file, str(rounds), "2"], check=True)
        for dtype in (torch.bfloat16, torch.float32)[:1 if int(layers) > 8 else 2]:
            model = model.to(dtype)
            for kind, inputs, file in work:
                print(f"{kind}: transformers {dtype}: {best(model, inputs, file, added, dtype, int(rounds))}", flush=True)


if __name__ == "__main__":
    main()
