# model.py - Phi-4-multimodal's architecture in PyTorch, its parameters named as in the Hub's checkpoint.

import math

import torch
from torch import nn
from torch.nn import functional as F

import processor

MODES = {"language": (None, None), "vision": ("vision", None), "speech": ("speech", "speech"),
         "vision_speech": ("vision", "vision")}  # adapter and projection of sounds


# ---- text ---------------------------------------------------------------------------------------


class Lora(nn.Module):
    """W x, and scale B A x of the adapter that is switched on."""

    def __init__(self, size_in, size_out, adapters):
        super().__init__()
        self.base_layer = nn.Linear(size_in, size_out, bias=False)
        self.lora_A = nn.ModuleDict({n: nn.Linear(size_in, c["r"], bias=False) for n, c in adapters.items()})
        self.lora_B = nn.ModuleDict({n: nn.Linear(c["r"], size_out, bias=False) for n, c in adapters.items()})
        self.scales = {n: c["lora_alpha"] / c["r"] for n, c in adapters.items()}

    def forward(self, x, adapter):
        y = self.base_layer(x)
        return y if adapter is None else y + self.scales[adapter] * self.lora_B[adapter](self.lora_A[adapter](x))


class RMSNorm(nn.Module):

    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotary(config, length):
    """Cosines and sines [length, rotated / 2] of LongRoPE; the length chooses the factors."""
    rotated = int(config["hidden_size"] // config["num_attention_heads"] * config["partial_rotary_factor"])
    original, most = config["original_max_position_embeddings"], config["max_position_embeddings"]
    factors = torch.tensor(config["rope_scaling"]["long_factor" if length > original else "short_factor"])
    frequencies = 1 / (factors * config["rope_theta"]**(torch.arange(0, rotated, 2) / rotated))
    angles = torch.arange(length)[:, None] * frequencies
    scale = math.sqrt(1 + math.log(most / original) / math.log(original)) if most > original else 1.0
    return angles.cos() * scale, angles.sin() * scale


def rotate(x, cos, sin):
    """Rotates the pairs (i, i + half) of the first 2 half numbers of each head; x: [..., length, head_dim]."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


class Attention(nn.Module):

    def __init__(self, c, adapters):
        super().__init__()
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.dim = c["hidden_size"] // self.heads
        self.qkv_proj = Lora(c["hidden_size"], (self.heads + 2 * self.kv_heads) * self.dim, adapters)
        self.o_proj = Lora(self.heads * self.dim, c["hidden_size"], adapters)

    def forward(self, x, turn, adapter, start, seen):
        q, k, v = self.qkv_proj(x, adapter).unflatten(-1, (-1, self.dim)).transpose(1, 2).split(
            [self.heads, self.kv_heads, self.kv_heads], 1)
        q, k = rotate(q, *turn)[:, :, start:], rotate(k, *turn)
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (k, v))
        causal = seen is None and start == 0
        if seen is not None:
            seen = seen[start:]
        elif start:
            seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(start)
        y = F.scaled_dot_product_attention(q, k, v, seen, is_causal=causal)
        return self.o_proj(y.transpose(1, 2).flatten(2), adapter)


class Mlp(nn.Module):

    def __init__(self, c, adapters):
        super().__init__()
        self.gate_up_proj = Lora(c["hidden_size"], 2 * c["intermediate_size"], adapters)
        self.down_proj = Lora(c["intermediate_size"], c["hidden_size"], adapters)

    def forward(self, x, adapter):
        gate, up = self.gate_up_proj(x, adapter).chunk(2, -1)
        return self.down_proj(up * F.silu(gate), adapter)


class Layer(nn.Module):

    def __init__(self, c, adapters):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c, adapters)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = Mlp(c, adapters)

    def forward(self, h, turn, adapter, start=0, seen=None):
        """[n, length, hidden] -> the same without its first `start` positions. seen: [length, length], which positions
        (second) each one (first) sees; without it those up to itself."""
        h = h[:, start:] + self.self_attn(self.input_layernorm(h), turn, adapter, start, seen)
        return h + self.mlp(self.post_attention_layernorm(h), adapter)


# ---- vision -------------------------------------------------------------------------------------


class VisionEmbeddings(nn.Module):

    def __init__(self, hidden):
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, hidden, processor.PATCH, processor.PATCH)
        self.position_embedding = nn.Embedding(32 * 32, hidden)


class VisionAttention(nn.Module):
    HEADS = 16  # not in the Hub's configuration: a constant of its code

    def __init__(self, hidden):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(hidden, hidden) for _ in range(4))

    def forward(self, x, mask):
        q, k, v = (p(x).unflatten(-1, (self.HEADS, -1)).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))


class VisionMlp(nn.Module):

    def __init__(self, hidden, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(hidden, inner), nn.Linear(inner, hidden)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):

    def __init__(self, hidden, inner):
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(hidden, 1e-6), nn.LayerNorm(hidden, 1e-6)
        self.self_attn, self.mlp = VisionAttention(hidden), VisionMlp(hidden, inner)

    def forward(self, x, mask=None):
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class VisionHead(nn.Module):
    """SigLIP's pooling head; in the checkpoint, never used."""

    def __init__(self, hidden, inner):
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, hidden))
        self.attention = nn.MultiheadAttention(hidden, VisionAttention.HEADS)
        self.layernorm, self.mlp = nn.LayerNorm(hidden, 1e-6), VisionMlp(hidden, inner)


class Tower(nn.Module):

    def __init__(self, hidden, inner, layers):
        super().__init__()
        self.embeddings = VisionEmbeddings(hidden)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList([VisionLayer(hidden, inner) for _ in range(layers)])})
        self.post_layernorm, self.head = nn.LayerNorm(hidden, 1e-6), VisionHead(hidden, inner)

    def forward(self, pixels, valid, keep=None):
        """pixels [n, 3, rows 14, columns 14], valid (rows, columns) of patches -> pooled pairs of patches
        [n, rows / 2, columns / 2, hidden]; both counts even. With keep, bool [rows / 2, columns / 2], as if there were
        only those pairs: [pairs, hidden] of one crop. For training: fewer patches cost less.

        The feature is what the last layer but one gives. Patches beyond `valid` look, but are not seen, and stand at
        place 0; only an odd last row or column of them can reach a pooled feature, so a crop may be cut to even counts.
        """
        x = self.embeddings.patch_embedding(pixels)
        n, hidden, rows, cols = x.shape
        r, c = torch.arange(rows), torch.arange(cols)
        seen = (r < valid[0])[:, None] & (c < valid[1])
        place = (32 * r // valid[0])[:, None] * 32 + 32 * c // valid[1]
        x = x.flatten(2).transpose(1, 2) + self.embeddings.position_embedding((place * seen).flatten())
        if keep is not None:
            pairs = lambda t: t.unflatten(0, (rows, cols)).unflatten(1, (-1, 2)).unflatten(0, (-1, 2)).transpose(1, 2)[keep]
            chosen = pairs(torch.arange(rows * cols)).flatten()
            x, seen = x[:, chosen], seen.flatten()[chosen]
        mask = None if bool(seen.all()) else seen.flatten()[None, None, None, :].expand(n, 1, x.shape[1], -1)
        if keep is not None:
            return self.layers(x, mask)[0].unflatten(0, (-1, 4)).mean(1)
        return F.avg_pool2d(self.layers(x, mask).transpose(1, 2).unflatten(2, (rows, cols)), 2).permute(0, 2, 3, 1)

    def layers(self, x, mask=None):
        for layer in self.encoder["layers"][:-1]:
            x = layer(x, mask)
        return x

    def some(self, pixels, cells, shift):
        """As forward() for whole square views, but as if there were only the pairs of patches `cells` [n, k], which are
        numbered row by row; places moved by `shift`. Returns [n, k, hidden]. For training: fewer patches cost less."""
        x = self.embeddings.patch_embedding(pixels)
        n, hidden, side, _ = x.shape
        at = torch.arange(side) * (32 // side)
        place = (at[:, None] + shift[0]) * 32 + at + shift[1]
        x = x.permute(0, 2, 3, 1) + self.embeddings.position_embedding(place)
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).reshape(n, side * side // 4, 4, hidden)
        x = x.gather(1, cells[:, :, None, None].expand(-1, -1, 4, hidden)).flatten(1, 2)
        return self.layers(x).unflatten(1, (-1, 4)).mean(2)


def mlp(size_in, size_out):
    return nn.Sequential(nn.Linear(size_in, size_out), nn.GELU(), nn.Linear(size_out, size_out))


class ImageEmbed(nn.Module):

    def __init__(self, hidden, inner, layers, text):
        super().__init__()
        self.img_processor = Tower(hidden, inner, layers)
        self.sub_GN = nn.Parameter(torch.randn(1, 1, 1, hidden))
        self.glb_GN = nn.Parameter(torch.randn(1, 1, hidden))
        self.img_projection = mlp(hidden, text)

    def features(self, image):
        """Pooled features of a Pillow picture: tiles [rows, columns, hidden], squeezed view [16, 16, hidden]."""
        crops, valid, (rows, cols, valid_rows, valid_cols) = processor.crops(image)
        whole = self.img_processor(crops[:1], valid[0])[0]
        tiles = torch.zeros(16 * rows, 16 * cols, whole.shape[-1])
        for i in range(rows * cols):
            vr, vc = valid[1 + i]
            if vr and vc:
                even = vr + vr % 2, vc + vc % 2
                crop = crops[1 + i:2 + i, :, :14 * even[0], :14 * even[1]]
                r, c = i // cols * 16, i % cols * 16
                tiles[r:r + even[0] // 2, c:c + even[1] // 2] = self.img_processor(crop, (vr, vc))[0]
        return tiles[:(valid_rows + 1) // 2, :(valid_cols + 1) // 2], whole

    def assemble(self, tiles, whole):
        """Embeddings [tokens, text]: tiles, one glb_GN, the squeezed view; a sub_GN behind each row."""
        rows = [torch.cat([t, self.sub_GN[0].expand(t.shape[0], 1, -1)], 1).flatten(0, 1) for t in (tiles, whole)]
        return self.img_projection(torch.cat([rows[0], self.glb_GN[0], rows[1]]))


# ---- sound --------------------------------------------------------------------------------------


class Glu(nn.Module):

    def __init__(self, d):
        super().__init__()
        self.ext_pw_conv_1d = nn.Conv1d(d, 2 * d, 1)
        self.b1, self.b2 = nn.Parameter(torch.zeros(1, d, 1)), nn.Parameter(torch.zeros(1, d, 1))

    def forward(self, x):
        a, b = self.ext_pw_conv_1d(x).chunk(2, 1)
        return (a + self.b1) * F.silu(b + self.b2)


class Separable(nn.Module):

    def __init__(self, d, kernel):
        super().__init__()
        self.dw_conv, self.pw_conv = nn.Conv1d(d, d, kernel, groups=d), nn.Conv1d(d, d, 1)


class Conv(nn.Module):

    def __init__(self, d, kernel):
        super().__init__()
        self.layer_norm, self.glu = nn.LayerNorm(d), Glu(d)
        self.dw_sep_conv_1d, self.ext_pw_conv_1d = Separable(d, kernel), nn.Conv1d(d, d, 1)

    def forward(self, x):
        y = self.glu(self.layer_norm(x).transpose(1, 2))
        y = self.dw_sep_conv_1d.dw_conv(F.pad(y, (self.dw_sep_conv_1d.dw_conv.kernel_size[0] - 1, 0)))
        return self.ext_pw_conv_1d(F.silu(self.dw_sep_conv_1d.pw_conv(y))).transpose(1, 2)


class Gated(nn.Module):

    def __init__(self, d, inner):
        super().__init__()
        self.linear = nn.Linear(d, 2 * inner)

    def forward(self, x):
        value, gate = self.linear(x).chunk(2, -1)
        return value * F.silu(gate)


class FeedForward(nn.Module):

    def __init__(self, d, inner):
        super().__init__()
        self.layer_norm = nn.LayerNorm(d)
        self.net = nn.ModuleDict({"0": Gated(d, inner), "2": nn.Linear(inner, d)})

    def forward(self, x):
        return self.net["2"](self.net["0"](self.layer_norm(x)))


class AudioAttention(nn.Module):

    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, bias):
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for p in (self.linear_q, self.linear_k, self.linear_v))
        return self.linear_out(F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2))


class Block(nn.Module):

    def __init__(self, c):
        super().__init__()
        d, inner = c["attention_dim"], c["linear_units"]
        self.feed_forward_in, self.feed_forward_out = FeedForward(d, inner), FeedForward(d, inner)
        self.layer_norm_att, self.layer_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.self_attn, self.conv = AudioAttention(d, c["attention_heads"]), Conv(d, c["kernel_size"])

    def forward(self, x, bias):
        x = x + 0.5 * self.feed_forward_in(x)
        x = x + self.self_attn(self.layer_norm_att(x), bias)
        x = x + self.conv(x)
        return self.layer_norm(x + 0.5 * self.feed_forward_out(x))


class Subsample(nn.Module):

    def __init__(self, d, channels):
        super().__init__()
        wide = lambda: nn.Conv2d(channels, channels, 3, 2, 1, groups=channels)
        self.conv = nn.Sequential(nn.Conv2d(1, channels, 3, 2, 1), nn.ReLU(), wide(), nn.Conv2d(channels, channels, 1),
                                  nn.ReLU(), wide(), nn.Conv2d(channels, channels, 1), nn.ReLU())
        self.out = nn.Linear(channels * 10, d)

    def forward(self, x):
        return self.out(self.conv(x[:, None]).transpose(1, 2).flatten(2))


class Scale(nn.Module):

    def __init__(self):
        super().__init__()
        self.register_buffer("global_mean", torch.zeros(80))
        self.register_buffer("global_invstd", torch.ones(80))


class RelativeBias(nn.Module):

    def __init__(self, reach, heads):
        super().__init__()
        self.reach, self.bias_values = reach, nn.Embedding(2 * reach, heads)

    def forward(self, length):
        """[1, heads, length, length]: of key j for query i, by clamp(j - i)."""
        at = torch.arange(length)
        apart = (at[None, :] - at[:, None]).clamp(-self.reach, self.reach - 1) + self.reach
        return self.bias_values(apart).permute(2, 0, 1)[None]


class AudioEncoder(nn.Module):

    def __init__(self, c):
        super().__init__()
        self.encoder_embedding = Scale()
        self.embed = Subsample(c["attention_dim"], c["nemo_conv_settings"]["conv_channels"])
        self.relative_attention_bias_layer = RelativeBias(c["relative_attention_bias_args"]["t5_bias_max_distance"],
                                                          c["attention_heads"])
        self.encoders = nn.ModuleList([Block(c) for _ in range(c["num_blocks"])])

    def forward(self, features):
        """[n, frames, 80] of clips of one length, at most 40 seconds -> [n, ceil(frames / 8), d]."""
        x = self.embed((features - self.encoder_embedding.global_mean) * self.encoder_embedding.global_invstd)
        bias = self.relative_attention_bias_layer(x.shape[1])
        for block in self.encoders:
            x = block(x, bias)
        return x


class AudioEmbed(nn.Module):

    def __init__(self, c, text):
        super().__init__()
        self.encoder = AudioEncoder(c)
        self.audio_projection = nn.ModuleDict({n: mlp(c["attention_dim"], text) for n in ("speech", "vision")})


# ---- all of it ----------------------------------------------------------------------------------


class Extend(nn.Module):

    def __init__(self, config, tower):
        super().__init__()
        self.image_embed = ImageEmbed(tower["hidden"], tower["inner"], tower["layers"], config["hidden_size"])
        self.audio_embed = AudioEmbed(config["audio_processor"]["config"], config["hidden_size"])


class Body(nn.Module):

    def __init__(self, config, tower):
        super().__init__()
        adapters = {name: config[f"{name}_lora"] for name in ("vision", "speech")}
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.embed_tokens_extend = Extend(config, tower)
        self.layers = nn.ModuleList([Layer(config, adapters) for _ in range(config["num_hidden_layers"])])
        self.norm = RMSNorm(config["hidden_size"], config["rms_norm_eps"])


class Phi4Multimodal(nn.Module):
    """config: config.json. tower: hidden, inner and layers of the vision tower, which the Hub's configuration lacks."""

    def __init__(self, config, tower):
        super().__init__()
        self.config, self.model = config, Body(config, tower)

    @property
    def vision(self):
        return self.model.embed_tokens_extend.image_embed

    @property
    def audio(self):
        return self.model.embed_tokens_extend.audio_embed

    def hidden(self, embeddings, mode, start=0, places=None, seen=None):
        """[n, length, hidden] of embeddings -> what the last layer gives from position `start` on, normalised. places
        [length] and seen (as Layer has it) let several continuations of one beginning stand behind each other."""
        adapter, turn = MODES[mode][0], rotary(self.config, embeddings.shape[1])
        if places is not None:
            turn = [part[places] for part in turn]
        for layer in self.model.layers[:-1]:
            embeddings = layer(embeddings, turn, adapter, 0, seen)
        return self.model.norm(self.model.layers[-1](embeddings, turn, adapter, start, seen))

    def logits(self, hidden):
        return hidden @ self.model.embed_tokens.weight.T

    def sound_rows(self, encoded, mode):
        return self.audio.audio_projection[MODES[mode][1]](encoded)
