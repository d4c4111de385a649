# processor.py - what the model's own processor makes of pictures and sounds: crops and log-mel features.
"""Written from the formulas of Phi-4-multimodal's processor: Pillow's bilinear resize onto a canvas of 448-pixel tiles,
white padding, PyTorch's bicubic for the squeezed view; frames of 25 ms, 80 mel filters. tests/test_image_crops and
tests/test_audio_features hold the C plugin to the same formulas."""

import io
import wave

import numpy as np
import soxr
import torch
from PIL import Image

CROP, PATCH, TILES = 448, 14, 36


def grid(width, height):
    """Returns (columns, rows) of tiles for a picture of this size; the sizes used here never need more than TILES."""
    cols, rows = -(-width // CROP), -(-height // CROP)
    if cols * rows > TILES:
        raise ValueError(f"a picture of {width} x {height} pixels needs more than {TILES} tiles")
    return cols, rows


def scaled(width, height):
    """Returns (columns, rows, width, height): the grid and the size of the picture on it."""
    cols, rows = grid(width, height)
    rw, rh = cols * CROP / width, rows * CROP / height
    return (cols, rows, cols * CROP, int(height * rw)) if rw < rh else (cols, rows, int(width * rh), rows * CROP)


def normalise(pixels):
    """[height, width, 3] bytes to [3, height, width] numbers from -1 to 1."""
    return (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - 0.5) / 0.5


def canvas(image):
    """Returns ([3, 448 rows, 448 columns] numbers, valid rows and columns of patches) of a Pillow picture."""
    cols, rows, width, height = scaled(*image.size)
    pixels = np.full((rows * CROP, cols * CROP, 3), 255, np.uint8)
    pixels[:height, :width] = np.asarray(image.convert("RGB").resize((width, height), Image.BILINEAR))
    return normalise(pixels), rows * 32 - (rows * CROP - height) // PATCH, cols * 32 - (cols * CROP - width) // PATCH


def crops(image):
    """Returns crops [1 + tiles, 3, 448, 448], the squeezed view first, and (valid rows, columns) of patches of each."""
    pixels, valid_rows, valid_cols = canvas(image)
    rows, cols = pixels.shape[1] // CROP, pixels.shape[2] // CROP
    squeezed = pixels[None]
    if rows * cols > 1:
        squeezed = torch.nn.functional.interpolate(squeezed, size=(CROP, CROP), mode="bicubic")
    tiles = pixels.reshape(3, rows, CROP, cols, CROP).permute(1, 3, 0, 2, 4).reshape(-1, 3, CROP, CROP)
    valid = [(32, 32)] + [(max(0, min(32, valid_rows - 32 * r)), max(0, min(32, valid_cols - 32 * c)))
                          for r in range(rows) for c in range(cols)]
    return torch.cat([squeezed, tiles]), valid, (rows, cols, valid_rows, valid_cols)


def _mel_filters():
    mel = lambda hertz: 1127.0 * np.log(1 + hertz / 700)
    width = mel(7690.0) / 81
    filters = np.zeros((257, 80), np.float32)
    for k in range(1, 246):
        filters[k] = np.maximum(0, 1 - np.abs(mel(k * 31.25) - width * np.arange(1, 81)) / width)
    return filters


FILTERS = _mel_filters()


def log_mel(samples, rate):
    """[n] numbers from -1 to 1 at 16 or 8 kHz to features [frames, 80]."""
    length, hop, fft = (400, 160, 512) if rate == 16000 else (200, 80, 256)
    count = (len(samples) - length) // hop + 1
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float32), length)[::hop][:count]
    before = np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    spectrum = np.fft.rfft(np.hamming(length) * ((frames - np.float32(0.97) * before) * np.float32(32768)), fft)
    if rate == 8000:  # the processor's "fillzero": the upper half is silence
        spectrum = np.concatenate([spectrum[:, :-1], np.zeros((count, 129))], 1)
    power = np.abs(spectrum.astype(np.complex64)).astype(np.float32)**2
    return np.log(np.clip(power @ FILTERS, 1, None)).astype(np.float32)


def sound(data):
    """Features [frames, 80] of a WAV file of 16 bits, mono, of any rate; as Airlock, it is resampled to 16 kHz unless it has 8."""
    with wave.open(io.BytesIO(data)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    if rate not in (8000, 16000):
        samples, rate = soxr.resample(samples.astype(np.float64), rate, 16000, "HQ").astype(np.float32), 16000
    return log_mel(samples, rate)


def picture(data):
    """A Pillow picture of a file's bytes."""
    return Image.open(io.BytesIO(data)).convert("RGB")
