# checkpoint.py - the demo's sizes, and its files in the form of a download from the Hub.

import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "demo"))
import vocabulary
from model import Phi4Multimodal

VOCABULARY = 512  # bytes and merges; the added tokens come after them
IMAGE, AUDIO = "<|endoftext10|>", "<|endoftext11|>"  # what stands for a picture's and a sound's rows
ADDED = vocabulary.ADDED[:1] + [(IMAGE, True, False), (AUDIO, True, False)] + vocabulary.ADDED[1:]
TOWER = {"hidden": 64, "inner": 128, "layers": 3}  # the last layer is never used, as in the original
TEXT = {
    "hidden_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 192,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "max_position_embeddings": 16384,
    "original_max_position_embeddings": 4096,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "initializer_range": 0.02,
}
AUDIO_CONFIG = {
    "activation": "swish",
    "attention_dim": 64,
    "attention_heads": 4,
    "batch_norm": False,
    "bias_in_glu": True,
    "causal": True,
    "chunk_size": -1,
    "cnn_layer_norm": True,
    "conv_activation": "swish",
    "conv_glu_type": "swish",
    "depthwise_multiplier": 1,
    "depthwise_seperable_out_channel": 64,
    "dropout_rate": 0.0,
    "encoder_embedding_config": {
        "input_size": 80
    },
    "ext_pw_kernel_size": 1,
    "ext_pw_out_channel": 64,
    "input_layer": "nemo_conv",
    "input_size": 80,
    "kernel_size": 3,
    "left_chunk": 18,
    "linear_units": 96,
    "nemo_conv_settings": {
        "conv_channels": 32
    },
    "num_blocks": 3,
    "relative_attention_bias_args": {
        "t5_bias_max_distance": 500,
        "type": "t5"
    },
    "time_reduction": 8
}


def config(ids, size):
    """config.json with the keys that the Hub's has for Phi-4-multimodal."""
    end_of_text = ids["<|endoftext|>"]
    pairs = int(TEXT["hidden_size"] // TEXT["num_attention_heads"] * TEXT["partial_rotary_factor"]) // 2
    return {
        "architectures": ["Phi4MMForCausalLM"],
        "model_type": "phi4mm",
        "audio_processor": {
            "config": AUDIO_CONFIG,
            "name": "cascades"
        },
        "embd_layer": {
            "audio_embd_layer": {
                "compression_rate": 8,
                "downsample_rate": 1,
                "embedding_cls": "audio",
                "projection_cls": "mlp",
                "use_conv_downsample": False,
                "use_qformer": False
            },
            "embedding_cls": "image_audio",
            "image_embd_layer": {
                "crop_size": 448,
                "embedding_cls": "tune_image",
                "hd_transform_order": "sub_glb",
                "image_token_compression_cls": "avg_pool_2d",
                "projection_cls": "mlp",
                "use_hd_transform": True,
                "with_learnable_separator": True
            }
        },
        "vision_lora": {
            "dp": 0.0,
            "layer": "layers.*((self_attn\\.(qkv_proj|o_proj))|(mlp\\.(gate_up|down)_proj))",
            "lora_alpha": 32,
            "r": 16
        },
        "speech_lora": {
            "dp": 0.0,
            "layer": "((layers.*self_attn\\.(qkv|o)_proj)|(layers.*mlp\\.(gate_up|down)_proj))",
            "lora_alpha": 40,
            "r": 20
        },
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0] * pairs,
            "long_factor": [round(1 + i * i / (pairs * pairs), 3) for i in range(pairs)]
        },
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
        "mlp_bias": False,
        "lm_head_bias": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.1",
        "use_cache": True,
        "vocab_size": size,
        **TEXT
    }


def write_start(folder, text):
    """Writes all files of `folder` but the weights: the vocabulary is made from the texts."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = vocabulary.train(text, VOCABULARY, folder, ADDED)
    size = (max(ids.values()) + 64) // 64 * 64  # rows past the last id are padding, as in Phi-4-multimodal
    vocabulary.write(folder / "config.json", dict(sorted(config(ids, size).items())))
    vocabulary.write(
        folder / "generation_config.json", {
            "_from_model_config": True,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": [ids["<|end|>"], ids["<|endoftext|>"]],
            "pad_token_id": ids["<|endoftext|>"],
            "transformers_version": "4.46.1"
        })
    vocabulary.write(folder / "preprocessor_config.json", {
        "audio_compression_rate": 8,
        "audio_downsample_rate": 1,
        "audio_feat_stride": 1,
        "dynamic_hd": 36
    })


def places(hidden):
    """[1024, hidden] to start the position embeddings from: sines and cosines of row and column."""
    rates = math.pi / 32 * 2**torch.arange(0, hidden // 4 / 4, 0.25)[:hidden // 4]
    at = torch.arange(32)[:, None] * rates
    waves = torch.cat([at.sin(), at.cos()], 1)
    return 0.5 * torch.cat([waves[:, None].expand(32, 32, -1), waves[None].expand(32, 32, -1)], 2).flatten(0, 1)


def fresh(folder, seed):
    """A model with the configuration in `folder` and random weights."""
    torch.manual_seed(seed)
    model = Phi4Multimodal(json.loads((folder / "config.json").read_text()), TOWER)
    with torch.no_grad():
        for name, p in model.model.layers.named_parameters():
            if "lora_B" in name:
                p.zero_()
            elif p.ndim == 2:
                p.normal_(0, p.shape[1]**-0.5)
        model.model.embed_tokens.weight.normal_(0, 0.3)
        model.vision.img_processor.embeddings.position_embedding.weight.copy_(places(TOWER["hidden"]))
        model.audio.encoder.relative_attention_bias_layer.bias_values.weight.zero_()
    return model


def save(model, folder):
    tensors = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # the container's user must read it


def load(folder):
    """The model in `folder`, its bf16 weights in f32."""
    tensors = load_file(str(folder / "model.safetensors"))
    base = "model.embed_tokens_extend.image_embed.img_processor."
    layers = 1 + max(int(name.split(".")[6]) for name in tensors if name.startswith(base + "encoder.layers."))
    inner, hidden = tensors[base + "encoder.layers.0.mlp.fc1.weight"].shape
    model = Phi4Multimodal(json.loads((folder / "config.json").read_text()),
                           {"hidden": hidden, "inner": inner, "layers": layers})
    model.load_state_dict({name: value.float() for name, value in tensors.items()})
    return model.eval()


class Encoder:
    """Messages to parts: lists of token ids, and the strings "image" and "audio" where those stand."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.added = {text: self.tokenizer.token_to_id(text) for text, _, _ in ADDED}

    def text(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def content(self, text):
        parts = []
        while text:
            found = min((text.find(mark), mark) for mark in ("<|image_1|>", "<|audio_1|>") if mark in text) \
                if "<|image_1|>" in text or "<|audio_1|>" in text else (len(text), "")
            at, mark = found
            if at:
                parts.append(self.text(text[:at]))
            if mark:
                parts.append(mark[2:7])
            text = text[at + len(mark):]
        return parts

    def __call__(self, messages):
        parts = []
        for message in messages:
            parts += [[self.added[f"<|{message['role']}|>"]], *self.content(message["content"]), [self.added["<|end|>"]]]
        return parts + [[self.added["<|assistant|>"]]]

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True)
