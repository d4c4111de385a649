#!/usr/bin/env python3
# image_crops_golden.py - what the model's processor makes of pictures of awkward sizes.
#
# usage: image_crops_golden.py FILE   (tests/golden/image_crops.txt)
# The reference is the processor beside the checkpoint: Pillow's resize, white padding, PyTorch's
# bicubic for the squeezed view; written here from its formulas.  Pixel (x, y, c) of a picture is
# (7 x + 13 y + 29 c + (x y) // 8) mod 256.  transformers' own processor, which resizes tensors
# instead and so differs in pixels, is asked for its token counts and masks; they agree.
#
# plan W H: COLS ROWS WIDTH HEIGHT VALID_COLS VALID_ROWS TOKENS | refused
# pixels W H: CRC32 of the canvas, and 12 values of crop 0
import sys
import zlib

import numpy as np
import torch
from PIL import Image
from transformers.models.phi4_multimodal.image_processing_phi4_multimodal import Phi4MultimodalImageProcessor

CROP, PATCH, TILES = 448, 14, 36


def nearest(w, h):
    pairs = sorted({(i, j) for n in range(1, TILES + 1) for i in range(1, n + 1) for j in range(1, n + 1)
                    if 1 <= i * j <= TILES}, key=lambda p: p[0] * p[1])
    best, found = float("inf"), (1, 1)
    for i, j in pairs:
        diff = abs(w / h - i / j)
        if diff < best:
            best, found = diff, (i, j)
        elif diff == best and w * h > 0.5 * CROP * CROP * i * j:
            found = (i, j)
    return found


def plan(w, h):
    cols, rows = -(-w // CROP), -(-h // CROP)
    if cols * rows > TILES:
        cols, rows = nearest(w, h)
    tw, th = cols * CROP, rows * CROP
    rw, rh = tw / w, th / h
    new = (tw, int(h * rw)) if rw < rh else (int(w * rh), th)
    if min(new) < 10:
        return None
    mask = np.ones((th // PATCH, tw // PATCH), bool)
    pad_w, pad_h = (tw - new[0]) // PATCH, (th - new[1]) // PATCH
    if pad_w:
        mask[:, -pad_w:] = False
    if pad_h:
        mask[-pad_h:] = False
    useful = mask[::2, ::2]
    tokens = 256 + 1 + int(useful.sum()) + int(useful[:, 0].sum()) + 16
    return cols, rows, *new, int(mask[0].sum()), int(mask[:, 0].sum()), tokens


def picture(w, h):
    y, x, c = np.ogrid[0:h, 0:w, 0:3]
    return ((7 * x + 13 * y + 29 * c + (x * y) // 8) % 256).astype(np.uint8)


def canvas(w, h):
    cols, rows, nw, nh, *_ = plan(w, h)
    a = np.full((rows * CROP, cols * CROP, 3), 255, np.uint8)
    a[:nh, :nw] = np.asarray(Image.fromarray(picture(w, h)).resize((nw, nh), Image.BILINEAR))
    return a


def crops(w, h):
    """All crops [1 + n, 3, 448, 448], the squeezed view first, and their masks [1 + n, 32, 32]."""
    cols, rows, _, _, valid_cols, valid_rows, _ = plan(w, h)
    t = (torch.from_numpy(canvas(w, h)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
    squeezed = torch.nn.functional.interpolate(t[None], size=(CROP, CROP), mode="bicubic")
    tiles = t.reshape(3, rows, CROP, cols, CROP).permute(1, 3, 0, 2, 4).reshape(-1, 3, CROP, CROP)
    mask = torch.zeros(rows * 32, cols * 32, dtype=torch.bool)
    mask[:valid_rows, :valid_cols] = True
    masks = mask.reshape(rows, 32, cols, 32).transpose(1, 2).reshape(-1, 32, 32)
    return torch.cat([squeezed, tiles]), torch.cat([torch.ones(1, 32, 32, dtype=torch.bool), masks])


def pixels(w, h):
    squeezed = crops(w, h)[0][0].flatten()
    at = [(k * 54321 + 17) % squeezed.numel() for k in range(12)]
    return f"{zlib.crc32(canvas(w, h).tobytes()):08x} " + " ".join(f"{float(squeezed[i]):.9g}" for i in at)


def native_agrees(w, h, want):
    out = Phi4MultimodalImageProcessor(dynamic_hd=TILES)(Image.fromarray(picture(w, h)), return_tensors="pt")
    assert int(out["num_img_tokens"][0]) == want[6], (w, h, out["num_img_tokens"], want)
    mask = out["image_attention_mask"][0]
    assert int(mask[1:].sum()) == want[4] * want[5], (w, h)


sizes = [(1, 1), (1, 4000), (4000, 1), (447, 449), (448, 448), (449, 448), (448, 449), (1344, 896), (896, 1344), (10, 2000),
         (2000, 45), (640, 480), (1, 44), (45, 1), (100, 100), (3000, 2000), (2689, 2688), (5000, 5000), (8000, 2000), (700, 16000),
         (65535, 1024), (1024, 65535), (450, 450), (2016, 2017), (12, 300), (333, 3333), (9, 9), (50000, 1300), (1300, 50000)]
rng = np.random.default_rng(1)
sizes += [tuple(int(v) for v in np.exp(rng.uniform(0, 9.5, 2))) for _ in range(120)]
sizes = [(max(w, 1), max(h, 1)) for w, h in sizes]
if __name__ == "__main__":
    with open(sys.argv[1], "w") as f:
        for w, h in sizes:
            p = plan(w, h)
            f.write(f"plan {w} {h}: {' '.join(map(str, p)) if p else 'refused'}\n")
            if p and w * h < 2_000_000 and p[0] * p[1] <= 8:
                native_agrees(w, h, p)
        for w, h in [(1, 1), (447, 449), (449, 448), (448, 448), (640, 480), (10, 2000), (2000, 45), (100, 100), (1344, 896), (3000, 2000), (333, 3333)]:
            f.write(f"pixels {w} {h}: {pixels(w, h)}\n")
