# audio_encoder_golden.py - writes tests/golden/audio_encoder: tiny random speech encoders and what transformers computes.
"""Usage: python audio_encoder_golden.py tests/golden/audio_encoder [SEED]

With SEED the sizes and lengths are random, for a look beyond the golden files: write them to
FOLDER/tests/golden/audio_encoder and run tests/test_audio_encoder with top_srcdir=FOLDER.

Each case is a folder: config.json and model.safetensors in the Hub's form or in transformers' own, and expected.txt:
    clip NAME FRAMES LONGEST MODE SEED   LONGEST 0: alone in its request; MODE speech or vision
    row I VALUE...                       embedding of step I (float32)
Features are not stored: feature(seed, t, m) below is also in tests/test_audio_encoder.c.  The computation is that of
transformers' modules in float32 with two changes: where transformers adds its boolean mask to the position bias, keys
that are padding get the least float here, as the Hub's code has it; and the cutting into chunks, which fails there for
several long clips, is done with reshape.
"""
import json
import math
import pathlib
import random
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Phi4MultimodalAudioConfig, Phi4MultimodalConfig
from transformers.models.phi4_multimodal import modeling_phi4_multimodal as m

BASE = "model.embed_tokens_extend.audio_embed."
CASES = {
    "hub_bf16": dict(hidden=32, inner=24, heads=2, blocks=2, kernel=3, channels=12, reach=500, text=40, hub=True,
                     dtype=torch.bfloat16, seed=1),
    "native_f32": dict(hidden=24, inner=40, heads=3, blocks=3, kernel=5, channels=8, reach=7, text=24, hub=False,
                       dtype=torch.float32, seed=2),
}
# name, frames of the clips of one request, mode
REQUESTS = [("short", [8], "speech"), ("one_frame", [1], "speech"), ("steps_13", [98], "vision"),
            ("exactly_500", [4000], "speech"), ("steps_501", [4001], "speech"), ("41_s", [4098], "vision"),
            ("three", [17, 98, 41], "speech"), ("long_and_short", [90, 4105], "speech"),
            ("two_equal", [4003, 4003], "vision")]
HUB_NAMES = [("up_proj_for_speech", "audio_projection.speech.0"), ("gate_up_proj", "net.0.linear"),
             ("down_proj_for_speech", "audio_projection.speech.2"), ("self_attn.q_proj", "self_attn.linear_q"),
             ("up_proj_for_vision_speech", "audio_projection.vision.0"), ("self_attn.k_proj", "self_attn.linear_k"),
             ("down_proj_for_vision_speech", "audio_projection.vision.2"), ("down_proj", "net.2"),
             ("self_attn.v_proj", "self_attn.linear_v"), ("self_attn.o_proj", "self_attn.linear_out")]


def features(seed, frames):
    """Integer arithmetic, so that C gives the same; between 0 and 20, with silence now and then."""
    t = np.arange(frames, dtype=np.uint64)[:, None]
    f = np.arange(80, dtype=np.uint64)[None, :]
    x = (t * np.uint64(2654435761) + f * np.uint64(40503) + np.uint64(seed) * np.uint64(97)) % np.uint64(1 << 32)
    x = (x * np.uint64(1664525) + np.uint64(1013904223)) % np.uint64(1 << 32)
    values = (x >> np.uint64(16)).astype(np.float32) * np.float32(20 / 65536)
    values[(np.arange(frames) // 24 % 5) == 3] = 0
    return torch.from_numpy(values)


class HubMask(m.Phi4MultimodalAudioModel):
    """The mask as numbers: 0 where a key is seen, the least float where it is not."""

    @staticmethod
    def as_numbers(mask):
        return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)

    def forward_embeddings(self, hidden_states, masks):
        hidden_states, hs_mask, masks = super().forward_embeddings(hidden_states, masks)
        return hidden_states, self.as_numbers(hs_mask), masks

    def calculate_hs_mask(self, hidden_states, device, mask):
        return self.as_numbers(super().calculate_hs_mask(hidden_states, device, mask))


# The sequence is a multiple of the chunk when this is called.
m.unfold_tensor = lambda x, chunk: x.reshape(-1, chunk, x.shape[-1])


def make_model(c):
    torch.manual_seed(c["seed"])
    audio = Phi4MultimodalAudioConfig(
        hidden_size=c["hidden"], intermediate_size=c["inner"], num_attention_heads=c["heads"], num_blocks=c["blocks"],
        kernel_size=c["kernel"], nemo_conv_channels=c["channels"], bias_max_distance=c["reach"],
        ext_pw_out_channel=c["hidden"], depthwise_separable_out_channel=c["hidden"], attn_implementation="eager")
    config = Phi4MultimodalConfig(hidden_size=c["text"], audio_config=audio.to_dict(), num_hidden_layers=1)
    config.audio_config._attn_implementation = "eager"
    embed = m.Phi4MultimodalAudioEmbedding(config).eval()
    embed.encoder.__class__ = HubMask
    with torch.no_grad():
        for name, p in list(embed.named_parameters()) + list(embed.named_buffers()):
            fan_in = p[0].numel() if p.dim() > 1 else 1
            noise = torch.randn_like(p)
            if name.endswith("global_mean"):
                value = 8 + 2 * noise
            elif name.endswith("global_invstd"):
                value = 0.15 + 0.02 * noise
            elif "norm" in name and name.endswith("weight"):
                value = 1 + 0.2 * noise
            elif name.endswith("bias_values.weight"):
                value = 1.5 * noise
            else:
                value = noise / math.sqrt(fan_in) if p.dim() > 1 and fan_in > 1 else 0.3 * noise
            p.copy_(value.to(c["dtype"]).float())
    return embed, config


def hub_name(name):
    for native, hub in HUB_NAMES:
        if native in name:
            return name.replace(native, hub)
    return name


def hub_config(c):
    return {"model_type": "phi4mm", "hidden_size": c["text"], "embd_layer": {"audio_embd_layer": {
        "compression_rate": 8, "downsample_rate": 1, "projection_cls": "mlp", "use_conv_downsample": False,
        "use_qformer": False}}, "audio_processor": {"name": "cascades", "config": {
            "activation": "swish", "attention_dim": c["hidden"], "attention_heads": c["heads"], "batch_norm": False,
            "bias_in_glu": True, "causal": True, "chunk_size": -1, "conv_activation": "swish",
            "conv_glu_type": "swish", "depthwise_multiplier": 1, "depthwise_seperable_out_channel": c["hidden"],
            "ext_pw_kernel_size": 1, "ext_pw_out_channel": c["hidden"], "input_layer": "nemo_conv", "input_size": 80,
            "kernel_size": c["kernel"], "left_chunk": 18, "linear_units": c["inner"],
            "nemo_conv_settings": {"conv_channels": c["channels"]}, "num_blocks": c["blocks"],
            "relative_attention_bias_args": {"t5_bias_max_distance": c["reach"], "type": "t5"},
            "time_reduction": 8}}}


def native_config(config):
    written = json.loads(config.to_json_string())  # only what differs from the defaults, as save_pretrained has it
    return {k: written[k] for k in ("model_type", "hidden_size", "audio_config") if k in written}


def save(folder, c, embed, config):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = dict(embed.named_parameters()) | dict(embed.named_buffers())
    rename = hub_name if c["hub"] else (lambda name: name)
    save_file({BASE + rename(k): v.detach().to(c["dtype"]).contiguous() for k, v in tensors.items()},
              folder / "model.safetensors")
    text = json.dumps(hub_config(c) if c["hub"] else native_config(config), indent=1)
    (folder / "config.json").write_text(text + "\n")


def embeddings(embed, clips, mode):
    """As the processor batches the clips of one request, and Phi4MultimodalAudioEmbedding takes them."""
    longest = max(len(x) for x in clips)
    batch = torch.stack([torch.nn.functional.pad(x, (0, 0, 0, longest - len(x))) for x in clips])
    mask = None
    if len(clips) > 1:
        mask = torch.arange(longest)[None, :] < torch.tensor([len(x) for x in clips])[:, None]
    up, down = ((embed.up_proj_for_speech, embed.down_proj_for_speech) if mode == "speech" else
                (embed.up_proj_for_vision_speech, embed.down_proj_for_vision_speech))
    with torch.no_grad():
        out = down(torch.nn.functional.gelu(up(embed.encoder(batch, mask))))
    return [y[: -(-len(x) // 8)] for x, y in zip(clips, out)]


def rows_of_interest(n):
    return sorted({i for i in (0, 1, 2, n // 2, 498, 499, 500, 501, n - 2, n - 1) if 0 <= i < n})


def randomise(seed):
    rng = random.Random(seed)
    for c in CASES.values():
        heads = rng.choice([1, 2, 3, 5])
        c.update(heads=heads, hidden=heads * rng.choice([6, 8, 17, 64]), inner=rng.choice([1, 31, 50, 128]), seed=seed,
                 blocks=rng.choice([1, 2, 4]), kernel=rng.choice([1, 2, 3, 7]), channels=rng.choice([1, 5, 33]),
                 reach=rng.choice([1, 3, 100, 500, 600]), text=rng.choice([8, 33, 70]))
    for i, (name, frames, mode) in enumerate(REQUESTS):
        REQUESTS[i] = (name, [rng.choice([rng.randint(1, 200), rng.randint(3990, 4010), rng.randint(1, 9000)])
                              for _ in frames], mode)


def main():
    if len(sys.argv) > 2:
        randomise(int(sys.argv[2]))
    for name, c in CASES.items():
        embed, config = make_model(c)
        folder = pathlib.Path(sys.argv[1]) / name
        save(folder, c, embed, config)
        lines = []
        for request, (title, frames, mode) in enumerate(REQUESTS):
            clips = [features(10 * request + i, n) for i, n in enumerate(frames)]
            for i, y in enumerate(embeddings(embed, clips, mode)):
                longest = max(frames) if len(frames) > 1 else 0
                lines.append(f"clip {title} {frames[i]} {longest} {mode} {10 * request + i}")
                lines += [f"row {r} " + " ".join(f"{v:.7g}" for v in y[r].tolist()) for r in rows_of_interest(len(y))]
            print(name, title, f"largest {max(float(y.abs().max()) for y in embeddings(embed, clips, mode)):.3g}")
        (folder / "expected.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
