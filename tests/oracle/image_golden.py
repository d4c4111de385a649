#!/usr/bin/env python3
# image_golden.py - small picture files of every kind, and the pixels that Pillow (or arithmetic) makes of them.
#
# usage: image_golden.py OUT_DIR   (tests/golden/images)
# NAME.EXT is the file, NAME.EXT.rgb its size (two 32-bit numbers) and its pixels.  What Pillow does
# otherwise than Airlock is computed here from the numbers that went into the file: transparency goes
# over white (Pillow's convert("RGB") drops it), EXIF is obeyed, and 16-bit grey keeps its upper byte
# (Pillow saturates at 255).
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(5)
H, W = 19, 27


def picture(h=H, w=W, channels=3):
    """Smooth, with some noise, so that lossy formats stay recognisable."""
    y, x, c = np.mgrid[0:h, 0:w, 0:channels]
    a = 127 + 90 * np.sin(x / 5 + c) * np.cos(y / 4 - c) + rng.normal(0, 8, (h, w, channels))
    return np.clip(a, 0, 255).astype(np.uint8)


def keep(name, data, rgb):
    rgb = np.ascontiguousarray(rgb, np.uint8)
    (out / name).write_bytes(data)
    (out / (name + ".rgb")).write_bytes(struct.pack("<II", rgb.shape[1], rgb.shape[0]) + rgb.tobytes())


def saved(image, **how):
    f = io.BytesIO()
    image.save(f, **how)
    return f.getvalue()


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def over_white(rgba):
    a = rgba[..., 3:].astype(np.float64) / 255
    return np.floor(rgba[..., :3] * a + 255 * (1 - a) + 0.5 + 1e-9)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(w, h, bits, colour, rows, interlace=0, extra=b""):
    """rows: bytes of each row (of each row of each pass), without the filter byte."""
    head = struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, interlace)
    body = zlib.compress(b"".join(b"\0" + r for r in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def adam7(a):
    for y0, x0, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
        for row in a[y0::dy, x0::dx]:
            if row.size:
                yield row.tobytes()


def pngs():
    a, rgba = picture(), picture(channels=4)
    keep("rgb.png", saved(Image.fromarray(a), format="png"), a)
    keep("one.png", saved(Image.fromarray(a[:1, :1]), format="png"), a[:1, :1])
    grey = a[..., 0]
    keep("grey.png", saved(Image.fromarray(grey), format="png"), np.repeat(grey[..., None], 3, 2))
    bit = (grey > 127)
    keep("bit.png", saved(Image.fromarray(bit), format="png"), np.repeat(bit[..., None] * 255, 3, 2))
    two = grey >> 6
    rows = [sum(int(v) << (6 - 2 * (i % 4)) << 8 * 0 for i, v in enumerate(r[k:k + 4])).to_bytes(1, "big")
            for r in two for k in range(0, W, 4)]
    rows = [b"".join(rows[i * 7:(i + 1) * 7]) for i in range(H)]
    keep("grey2.png", png(W, H, 2, 0, rows), np.repeat(two[..., None] * 85, 3, 2))
    wide = rng.integers(0, 65536, (H, W, 3), dtype=np.uint16)
    data = png(W, H, 16, 2, [r.astype(">u2").tobytes() for r in wide])
    assert (opened(data) == wide >> 8).all()
    keep("rgb16.png", data, wide >> 8)
    keep("grey16.png", png(W, H, 16, 0, [r.astype(">u2").tobytes() for r in wide[..., 0]]),
         np.repeat(wide[..., :1] >> 8, 3, 2))
    keep("rgba.png", saved(Image.fromarray(rgba), format="png"), over_white(rgba))
    keep("interlaced.png", png(W, H, 8, 6, list(adam7(rgba)), 1), over_white(rgba))
    la = rgba[..., :2]
    keep("la.png", saved(Image.fromarray(la, "LA"), format="png"),
         over_white(np.dstack([la[..., :1]] * 3 + [la[..., 1:]])))
    palette = Image.fromarray(a).quantize(11)
    colours = np.asarray(palette.convert("RGB"))
    keep("palette.png", saved(palette, format="png"), colours)
    clear = np.asarray(palette) == 3
    keep("palette_clear.png", saved(palette, format="png", transparency=3),
         np.where(clear[..., None], 255, colours))


def exif(orientation, byte_order=">"):
    mark = b"MM\0*" if byte_order == ">" else b"II*\0"
    return b"Exif\0\0" + mark + struct.pack(byte_order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpegs():
    a = picture(33, 41)
    for name, how in (("rgb.jpg", {}), ("444.jpg", {"subsampling": 0}), ("progressive.jpg", {"progressive": True})):
        data = saved(Image.fromarray(a), format="jpeg", quality=90, **how)
        keep(name, data, opened(data))
    data = saved(Image.fromarray(a[..., 0]), format="jpeg", quality=90)
    keep("grey.jpg", data, opened(data))
    data = saved(Image.fromarray(picture(21, 30, 4), "CMYK"), format="jpeg", quality=95)
    keep("cmyk.jpg", data, opened(data))
    for o in range(1, 9):
        data = saved(Image.fromarray(a[:16, :24]), format="jpeg", quality=90, subsampling=0, exif=exif(o, "<>"[o % 2]))
        turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        keep(f"exif{o}.jpg", data, np.asarray(turned))
    image = Image.fromarray(a)
    data = saved(image, format="png", exif=exif(6))
    keep("exif6.png", data, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


def webps():
    a, rgba = picture(), picture(channels=4)
    data = saved(Image.fromarray(a), format="webp", quality=80)
    keep("lossy.webp", data, opened(data))
    data = saved(Image.fromarray(a), format="webp", lossless=True, exif=exif(8))
    keep("lossless_exif8.webp", data, np.rot90(a))
    keep("rgba.webp", saved(Image.fromarray(rgba), format="webp", lossless=True, exact=True), over_white(rgba))
    frames = [Image.fromarray(picture(channels=4)) for _ in range(3)]
    data = saved(frames[0], format="webp", save_all=True, append_images=frames[1:], lossless=True, exact=True)
    keep("animation.webp", data, over_white(np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))))


def gifs():
    palette = Image.fromarray(picture()).quantize(13)
    colours = np.asarray(palette.convert("RGB"))
    keep("palette.gif", saved(palette, format="gif", interlace=0), colours)
    keep("interlaced.gif", saved(palette, format="gif", interlace=1), colours)
    clear = np.asarray(palette) == 2
    keep("clear.gif", saved(palette, format="gif", transparency=2), np.where(clear[..., None], 255, colours))
    frames = [Image.fromarray(picture()).quantize(9) for _ in range(3)]
    data = saved(frames[0], format="gif", save_all=True, append_images=frames[1:])
    keep("animation.gif", data, opened(data))
    # A first frame that covers a part of the screen only.
    whole = bytearray(saved(palette, format="gif", interlace=0))
    whole[6:10] = struct.pack("<HH", W + 3, H + 5)
    at = whole.index(b"\x2c" + struct.pack("<HHHH", 0, 0, W, H))
    whole[at + 1:at + 5] = struct.pack("<HH", 2, 4)
    screen = np.full((H + 5, W + 3, 3), 255)
    screen[4:4 + H, 2:2 + W] = colours
    keep("part.gif", bytes(whole), screen)


pngs()
jpegs()
webps()
gifs()
print(len(list(out.iterdir())), "files,", sum(f.stat().st_size for f in out.iterdir()), "bytes")
