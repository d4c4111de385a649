# compare_random_multimodal.py - makes random multimodal models, pictures and sounds, and compares what Airlock makes of them with transformers.
"""Usage: python compare_random_multimodal.py --build BUILD [--count 5] [--seed 1] [--keep-going] [--long]

BUILD has tests/media_tool, airlock-media-worker and the phi4-multimodal plugin.  Each model has its own widths, heads, layers,
kernels and adapters, bf16 or float32, in the Hub's layout.  Compared are, for awkward pictures and sounds:
  pixels       of all crops, with Pillow's canvas and PyTorch's squeezed view
  tower        the 16 x 16 features of each crop, with transformers' SigLIP in float32
  features     the log-mel frames, with the Hub processor's formulas (audio_golden.py) on sound resampled by scipy
  embeddings   of pictures and sounds, with transformers' modules in float32
  answers      five greedy tokens' log-probabilities of the whole model: text, pictures, sounds, both
Everything is compared with Airlock's exact products; of bf16 models the embeddings once more with the rounded ones, which may
be as far from float32 as transformers in bf16 is.  --long: 10 minutes of 44.1 kHz as well.
"""
import argparse
import copy
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import scipy.signal
import soundfile
import torch
from PIL import Image
from safetensors.torch import save_file

import audio_encoder_golden as audio
import audio_golden
import image_crops_golden as crops
import phi4_random
import vision_golden as vision

phi4_random.SPECIAL += ["<|endoftext10|>", "<|endoftext11|>"]
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
TOKENS = 5
# Of the largest number, but for features and log-probabilities; see docs/pitfalls.md for what is rounded.
LIMITS = {"pixels": 1e-6, "tower": 1e-4, "features": 5e-3, "embeddings": 2e-4, "answers": 1e-3}
# Two filters may differ by 2^-10 of the sound: in a bin that happens to hold little, the logarithm shows more of it.
RESAMPLED_FEATURES, RESAMPLED_EMBEDDINGS = 0.1, 1e-3


# ---- models ----------------------------------------------------------------------------------------------------------

def draw(rng):
    kv = rng.choice([1, 2])
    heads, head_dim = kv * rng.choice([1, 2, 3]), rng.choice([16, 24, 32])
    dtype = rng.choice(["bf16", "f32"])
    tower_heads, audio_heads = 16, rng.choice([1, 2, 3, 5])  # the Hub's layout has no number of the tower's heads
    text = dict(hidden=heads * head_dim, layers=rng.choice([1, 2]), heads=heads, kv_heads=kv,
                intermediate=rng.choice([40, 77, 128]), dtype=dtype)
    common = dict(text=text["hidden"], hub=True, dtype=DTYPES[dtype], seed=rng.randrange(1 << 30))
    return text, common | dict(hidden=tower_heads * rng.choice([1, 2, 5]), inner=rng.choice([31, 50, 130]), heads=tower_heads,
                               layers=rng.choice([2, 3, 4])), \
        common | dict(hidden=audio_heads * rng.choice([6, 8, 17]), heads=audio_heads, inner=rng.choice([12, 31, 50]),
                      blocks=rng.choice([1, 2]), kernel=rng.choice([1, 2, 3, 7]), channels=rng.choice([1, 5, 33]),
                      reach=rng.choice([3, 100, 500]))


class Model:
    """A checkpoint in folder, and transformers' modules with its weights."""

    def __init__(self, folder, rng):
        self.folder, (self.text, self.vc, self.ac) = folder, draw(rng)
        self.bf16 = self.text["dtype"] == "bf16"
        config, _ = phi4_random.write_model(folder, self.ac["seed"], maximum=8192, original=8192, longrope=False, **self.text)
        self.base = phi4_random.load(folder)
        self.added = {a["content"]: a["id"]
                      for a in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]}
        self.vision = vision.model(self.vc, self.vc["seed"])
        self.audio, _ = audio.make_model(self.ac)
        ranks = {"vision": rng.randint(1, 9), "speech": rng.randint(1, 9)}
        alpha = {mode: rng.randint(1, 20) for mode in ranks}
        self.save(config, ranks, alpha)

    def save(self, config, ranks, alpha):
        dtype, tensors, self.lora = self.vc["dtype"], {}, {}
        for name, p in phi4_random.tensors_of(config, self.text["dtype"], self.ac["seed"]).items():
            if "proj" not in name:
                tensors[name] = p
                continue
            module = name[: -len(".weight")]
            tensors[module + ".base_layer.weight"] = p
            for mode, r in ranks.items():
                a = (torch.randn(r, p.shape[1]) / p.shape[1] ** 0.5).to(dtype)
                b = (torch.randn(p.shape[0], r) * 0.2).to(dtype)
                tensors[f"{module}.lora_A.{mode}.weight"], tensors[f"{module}.lora_B.{mode}.weight"] = a, b
                self.lora[mode, name] = alpha[mode] / r * b.float() @ a.float()
        for name, p in self.vision.named_parameters():
            tensors[vision.BASE + vision.hub_name(name)] = p.detach().to(dtype)
        for name, p in list(self.audio.named_parameters()) + list(self.audio.named_buffers()):
            tensors[audio.BASE + audio.hub_name(name)] = p.detach().to(dtype)
        save_file({k: v.contiguous() for k, v in tensors.items()}, self.folder / "model.safetensors")
        hub = audio.hub_config(self.ac)
        config |= {"model_type": "phi4mm", "architectures": ["Phi4MMForCausalLM"],
                   "vision_lora": {"r": ranks["vision"], "lora_alpha": alpha["vision"]},
                   "speech_lora": {"r": ranks["speech"], "lora_alpha": alpha["speech"]},
                   "audio_processor": hub["audio_processor"], "embd_layer": {
                       "image_embd_layer": {"crop_size": 448, "hd_transform_order": "sub_glb", "use_hd_transform": True},
                       "audio_embd_layer": hub["embd_layer"]["audio_embd_layer"]}}
        (self.folder / "config.json").write_text(json.dumps(config))

    def tokens(self, s):
        from tokenizers import Tokenizer
        return Tokenizer.from_file(str(self.folder / "tokenizer.json")).encode(s).ids

    @torch.no_grad()
    def answer(self, mode, parts, path=None):
        """Log-probabilities [TOKENS, vocab] along the greedy way; parts: token ids or rows.  With a path of tokens that is
        followed instead, in bf16."""
        base = copy.deepcopy(self.base)
        for name, p in base.named_parameters():
            p += self.lora.get((mode, name), 0)
            p.data = p.data.bfloat16() if path else p.data  # and not the buffers, as from_pretrained has it
        table, found = base.model.embed_tokens.weight, []
        h = torch.cat([table[torch.tensor(p)] if isinstance(p, list) else p.to(table.dtype) for p in parts])
        for i in range(TOKENS):
            found.append(base(inputs_embeds=h[None], use_cache=False).logits[0, -1].float().log_softmax(-1))
            h = torch.cat([h, table[path[i] if path else int(found[-1].argmax())][None]])
        return torch.stack(found).numpy()


# ---- pictures --------------------------------------------------------------------------------------------------------

def noise(rng, w, h):
    """Waves and noise, uint8 [h, w, 3]."""
    y, x, c = np.ogrid[0:h, 0:w, 0:3]
    a = 127 + 80 * np.sin(x / rng.uniform(2, 60) + c) * np.cos(y / rng.uniform(2, 60) - c)
    seed = np.random.default_rng(rng.randrange(1 << 30))
    return np.clip(a + seed.normal(0, 12, (h, w, 3)), 0, 255).astype(np.uint8)


def pictures(rng, folder):
    """(name, file, RGB as it is meant): Pillow's, and the upper byte of 16-bit grey, which Pillow saturates."""
    side = lambda: rng.randint(20, 700)
    def keep(name, image, kind, rgb=None, **how):
        file = folder / f"{name.replace(' ', '_')}.{kind}"
        image.save(file, **how)
        return name, file, np.asarray(Image.open(file).convert("RGB")) if rgb is None else rgb
    for w, h in ((1, 1), (1, 4000), (4000, 1), (447, 449)):
        yield keep(f"{w}x{h}", Image.fromarray(noise(rng, w, h)), "png")
    grey = Image.fromarray(noise(rng, side(), side())[..., 0])
    yield keep("grey", grey, "png")
    yield keep("grey jpeg", grey, "jpg", quality=rng.randint(30, 95))
    wide = noise(rng, side(), side())[..., 0].astype(np.uint16) * 256 + rng.randrange(256)
    yield keep("16 bit", Image.fromarray(wide), "png", rgb=np.repeat((wide >> 8).astype(np.uint8)[..., None], 3, 2))
    yield keep("cmyk", Image.fromarray(np.dstack([noise(rng, 301, 203), noise(rng, 301, 203)[..., :1]]), "CMYK"), "jpg",
               quality=rng.randint(30, 95))
    colours = rng.choice([2, 16, 255])
    yield keep("palette", Image.fromarray(noise(rng, side(), side())).quantize(colours), "png")
    yield keep("palette gif", Image.fromarray(noise(rng, side(), side())).quantize(colours), "gif")
    yield keep("jpeg", Image.fromarray(noise(rng, side(), side())), "jpg", quality=rng.randint(30, 95),
               subsampling=rng.choice([0, 1, 2]))
    yield keep("webp", Image.fromarray(noise(rng, side(), side())), "webp", lossless=True)


@torch.no_grad()
def picture_reference(m, rgb):
    """None: too thin; else pixels, tower, embeddings, and the last in bf16."""
    h, w = rgb.shape[:2]
    if crops.plan(w, h) is None:
        return None
    crops.picture = lambda *_: rgb
    pixels, masks = crops.crops(w, h)
    tower = m.vision.get_img_features(pixels, masks)
    want = {"pixels": pixels, "tower": tower, "embeddings": vision.embeddings(m.vc, m.vision, w, h)}
    return {k: np.asarray(v.reshape(-1, v.shape[-1])) for k, v in want.items()}


# ---- sounds ----------------------------------------------------------------------------------------------------------

def sound(rng, seconds, rate, channels=1):
    """Tones and noise below 7 kHz, so that resamplers need not agree about the edge of the band."""
    seed = np.random.default_rng(rng.randrange(1 << 30))
    n = int(seconds * rate)
    t = np.arange(n) / rate
    out = np.empty((n, channels), np.float32)
    for c in range(channels):
        x = 0.1 * np.sin(2 * np.pi * rng.uniform(80, 3000) * t) * (np.sin(2 * np.pi * rng.uniform(0.3, 3) * t) > -0.3)
        x += 0.05 * seed.standard_normal(n)
        if rate > 16000:
            x[: rate // 20] = x[-rate // 20:] = 0  # nor about what came before it
            x = scipy.signal.oaconvolve(x, scipy.signal.firwin(1001, 6800, fs=rate, window=("kaiser", 12)), "same")
        out[:, c] = x
    return out


def sounds(rng, folder, long):
    """(name, file): what the issue of sound has gone wrong with elsewhere."""
    def keep(name, x, rate, kind="wav", subtype="PCM_16"):
        file = folder / f"{name.replace(' ', '_')}.{kind}"
        soundfile.write(file, x, rate, subtype=subtype)
        return name, file
    yield keep("8 kHz", sound(rng, rng.uniform(0.5, 9), 8000), 8000)
    yield keep("16 kHz", sound(rng, rng.uniform(0.5, 9), 16000), 16000)
    yield keep("48 kHz stereo", sound(rng, rng.uniform(0.5, 9), 48000, 2), 48000, subtype="PCM_24")
    yield keep("44.1 kHz", sound(rng, rng.uniform(0.5, 9), 44100), 44100, "flac", "PCM_24")
    yield keep("silence", np.zeros(rng.randint(400, 50000), np.float32), 16000)
    yield keep("0.1 s", sound(rng, 0.1, 16000), 16000)
    yield keep("41 s", sound(rng, 41, 16000), 16000)
    if long:
        yield keep("10 minutes", sound(rng, 600, 44100), 44100, "flac", "PCM_24")


def features_of(file):
    x, rate = soundfile.read(file, dtype="float64", always_2d=True)
    x = x.mean(1)
    if rate == 44100:
        taps = scipy.signal.firwin(4 * 160 * 441 + 1, 7500, fs=44100 * 160, window=("kaiser", 14))
        x, rate = scipy.signal.resample_poly(x, 160, 441, window=taps), 16000
    elif rate != 8000:
        x, rate = scipy.signal.resample_poly(x, 1, rate // 16000), 16000
    return torch.from_numpy(audio_golden.log_mel(x.astype(np.float32), rate))


# ---- comparing -------------------------------------------------------------------------------------------------------

class Tool:
    def __init__(self, build, folder):
        self.build, self.folder = build.resolve(), folder

    def run(self, exact, *args):
        env = os.environ | {"AIRLOCK_CPU": "avx512" if exact else "avx512bf16"}
        command = [self.build / "tests/media_tool", self.build, self.folder, *map(str, args)]
        return subprocess.run(command, check=True, capture_output=True, env=env).stdout

    def arrays(self, exact, *args):
        """[(name, array)]; None: refused."""
        out, found = self.run(exact, *args), []
        while out:
            line, out = out.split(b"\n", 1)
            if line.startswith(b"refused"):
                return None
            name, rows, cols = line.split()
            n = 4 * int(rows) * int(cols)
            found.append((name.decode(), np.frombuffer(out[:n], np.float32).reshape(int(rows), int(cols))))
            out = out[n:]
        return found

    def answer(self, exact, text, n_images, files):
        lines = self.run(exact, "answer", text, n_images, *files).decode().split("\n")[:-1]
        return [dict(zip(map(int, line.split()[::2]), map(float, line.split()[1::2]))) for line in lines]


def error(got, want, relative=True):
    if got.shape != want.shape:
        return f"shape {got.shape}, not {want.shape}"
    worst = float(np.abs(got - want).max(initial=0))
    return worst / max(float(np.abs(want).max(initial=0)), 1e-6) if relative else worst


class Report:
    def __init__(self):
        self.bad, self.worst = [], {}

    def take(self, where, what, e, limit):
        if isinstance(e, str) or not e <= limit:
            self.bad.append(f"{where}: {what}: {e} (allowed {limit:.1e})")
        elif e > self.worst.get(what, -1):
            self.worst[what] = e


def as_bf16(module, compute):
    """What the module computes in bf16, as float32."""
    try:
        module.to(torch.bfloat16)
        return compute().float().numpy()
    finally:
        module.float()


def compare_picture(m, tool, report, name, file, rgb):
    want, got = picture_reference(m, rgb), tool.arrays(True, "image", file)
    if want is None or got is None:
        report.take(name, "refused", 0 if (want is None) == (got is None) else "differs", 0)
        return None
    for what, x in got:
        report.take(name, what, error(x.reshape(want[what].shape), want[what]), LIMITS[what])
    if m.bf16:
        h, w = rgb.shape[:2]
        pixels, masks = crops.crops(w, h)
        with torch.no_grad():
            theirs = as_bf16(m.vision, lambda: m.vision.get_img_features(pixels.bfloat16(), masks))
        theirs = error(theirs.reshape(want["tower"].shape), want["tower"])
        for what, x in tool.arrays(False, "image", file)[1:]:
            report.take(name, what + " rounded", error(x, want[what]), 1.5 * theirs)
    return torch.from_numpy(want["embeddings"])


def compare_sounds(m, tool, report, name, files, mode):
    mels = [features_of(f) for f in files]
    want = audio.embeddings(m.audio, mels, mode)
    got = tool.arrays(True, mode, *files)
    if got is None:
        report.take(name, "features", "refused", 0)
        return None
    for i, (mel, rows) in enumerate(zip(mels, want)):
        resampled = soundfile.info(files[i]).samplerate == 44100
        what, limit = ("resampled", RESAMPLED_FEATURES) if resampled else ("features", LIMITS["features"])
        report.take(name, what, error(got[2 * i][1], mel.numpy(), False), limit)
        report.take(name, mode, error(got[2 * i + 1][1], rows.numpy()),
                    RESAMPLED_EMBEDDINGS if resampled else LIMITS["embeddings"])
    if m.bf16:
        exact = torch.cat(want).numpy()
        theirs = as_bf16(m.audio, lambda: torch.cat(audio.embeddings(m.audio, [x.bfloat16() for x in mels], mode)))
        rounded = np.concatenate([x for what, x in tool.arrays(False, mode, *files) if what == "embeddings"])
        report.take(name, mode + " rounded", error(rounded, exact), 1.5 * error(theirs, exact) + 2**-8)
    return want


def compare_answer(m, tool, report, name, mode, text, parts, n_images, files):
    user, assistant, end = (m.added[x] for x in ("<|user|>", "<|assistant|>", "<|end|>"))
    parts = [[user], *parts, [end, assistant]]
    want = m.answer(mode, parts)
    limit = LIMITS["answers"]
    if m.bf16:  # keys and values are kept in bf16
        theirs = m.answer(mode, parts, [int(x.argmax()) for x in want])
        likely = np.argsort(-want)[:, :20]
        limit = 1.5 * float(np.abs(np.take_along_axis(theirs - want, likely, 1)).max())
    for exact in (True, False) if m.bf16 else (True,):
        got = tool.answer(exact, text, n_images, files)
        for line, logp in zip(got, want):
            e = max(abs(logp[i] - p) for i, p in line.items())
            report.take(name, f"answers {m.text['dtype']}", e, limit)
            if m.bf16:
                report.take(name, "of what transformers in bf16 is off", e / limit * 1.5, 1.5)
            if max(line, key=line.get) != int(logp.argmax()):  # a near tie, as the limit has just shown
                break


def compare(args, seed, scratch):
    rng, report = random.Random(seed), Report()
    torch.manual_seed(seed)
    folder = scratch / "model"
    m = Model(folder, rng)
    tool = Tool(args.build, folder)
    seen = {}
    for name, file, rgb in pictures(rng, scratch):
        rows = compare_picture(m, tool, report, name, file, rgb)
        if rows is not None:
            seen[name] = file, rows
    heard = {}
    for name, file in sounds(rng, scratch, args.long):
        mode = rng.choice(["speech", "vision"])
        rows = compare_sounds(m, tool, report, name, [file], mode)
        if rows is not None and name != "10 minutes":
            heard[name] = file
    some = rng.sample(sorted(heard), 3)
    compare_sounds(m, tool, report, "together: " + ", ".join(some), [heard[s] for s in some], "speech")

    (a, b), clip = rng.sample(sorted(seen), 2), heard["16 kHz"]
    words = lambda s: m.tokens(s)
    compare_answer(m, tool, report, "text", None, "who are you", [words("who are you")], 0, [])
    compare_answer(m, tool, report, "two pictures", "vision", "<|image_1|>or <|image_2|>which",
                   [seen[a][1], words("or "), seen[b][1], words("which")], 2, [seen[a][0], seen[b][0]])
    rows = {mode: audio.embeddings(m.audio, [features_of(clip)], mode)[0] for mode in ("speech", "vision")}
    compare_answer(m, tool, report, "sound", "speech", "<|audio_1|>what", [rows["speech"], words("what")], 0, [clip])
    compare_answer(m, tool, report, "both", "vision", "<|image_1|><|audio_1|>", [seen[a][1], rows["vision"]], 1,
                   [seen[a][0], clip])
    shape = f"{m.text} tower {m.vc['hidden']}x{m.vc['layers']} speech {m.ac['hidden']}x{m.ac['blocks']} kernel {m.ac['kernel']}"
    return report, "  ".join(f"{k} {v:.1e}" for k, v in report.worst.items() if v) + f"  {shape}"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True, type=pathlib.Path)
    p.add_argument("--count", type=int, default=5)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--keep-going", action="store_true")
    p.add_argument("--long", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(1)
    bad = 0
    for seed in range(args.seed, args.seed + args.count):
        with tempfile.TemporaryDirectory() as scratch:
            report, line = compare(args, seed, pathlib.Path(scratch))
        print(f"{'NOT OK' if report.bad else 'ok'} seed {seed}: {line}", *report.bad, sep="\n    ", flush=True)
        bad += bool(report.bad)
        if bad and not args.keep_going:
            break
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
