# audio_golden.py - writes tests/golden/audio: small sound files, their samples at 16 kHz and their log-mel features.
"""Usage: python audio_golden.py tests/golden/audio      (needs ffmpeg, flac, lame, opusenc, oggenc)

For each NAME.EXT: NAME.f32, the samples [n] that the model takes, and NAME.mel, the features [frames, 80], both raw
little-endian float32.  The files are written by the encoders of their own projects, the samples decoded by soundfile
and resampled as the Hub's processor does it where it is right (scipy.signal.resample_poly for multiples of 16 kHz, 8 kHz
kept) and by soxr elsewhere.  The features are computed here from their formulas in numpy (float64 where the processor
has float64) and, at 16 kHz, checked against transformers' own extractor.
"""
import pathlib
import subprocess
import sys

import numpy as np
import scipy.signal
import soundfile
import torch
from transformers import Phi4MultimodalFeatureExtractor

SECONDS = 0.21
MEL = 1127.0


def sound(rate, channels, seed):
    """A chirp over most of the band, a low tone and some noise; each channel of its own."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(SECONDS * rate)) / rate
    top = min(rate / 2, 8000) * 0.95
    out = []
    for c in range(channels):
        chirp = 0.4 * np.sin(2 * np.pi * (100 + (top - 100) * t / SECONDS / 2) * t)
        tone = 0.2 * np.sin(2 * np.pi * (150 + 40 * c) * t + c)
        out.append(chirp * (t > 0.05) + tone + 0.02 * rng.standard_normal(len(t)))
    return np.stack(out, 1)


def mono16k(path):
    x, rate = soundfile.read(path, dtype="float64", always_2d=True)
    x = x.mean(1)
    if rate % 16000 == 0:
        x = scipy.signal.resample_poly(x, 1, rate // 16000)
    elif rate != 8000:
        import soxr  # for these rates only

        x = soxr.resample(x, rate, 16000, "HQ")
    return x.astype(np.float32), 8000 if rate == 8000 else 16000


def mel_bank():
    mel = lambda f: MEL * np.log(1 + f / 700)
    width = mel(7690.0) / 81
    bank = np.zeros((257, 80), np.float32)
    for k in range(1, 246):
        bank[k] = np.maximum(0, 1 - np.abs(mel(k * 31.25) - width * np.arange(1, 81)) / width)
    return bank


def log_mel(x, rate):
    length, hop, fft = (400, 160, 512) if rate == 16000 else (200, 80, 256)
    n = (len(x) - length) // hop + 1
    frames = np.stack([x[i * hop : i * hop + length] for i in range(n)])
    before = np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    frames = (frames - np.float32(0.97) * before) * np.float32(32768)
    spectrum = np.fft.rfft(np.hamming(length) * frames, fft)
    if rate == 8000:
        spectrum = np.concatenate([spectrum[:, :-1], np.zeros((n, 129))], 1)
    power = np.abs(spectrum.astype(np.complex64)).astype(np.float32) ** 2
    return np.log(np.clip(power @ mel_bank(), 1, None)).astype(np.float32)


def check_against_transformers(x, features):
    """The same everywhere but in the last filter, whose kaldi form has bin 246 besides."""
    e = Phi4MultimodalFeatureExtractor()
    theirs = e(torch.from_numpy(x), sampling_rate=16000, return_tensors="pt")["audio_input_features"][0].numpy()
    assert theirs.shape == features.shape
    worst = np.abs(theirs - features)
    assert worst[:, :79].max() < 1e-4, worst[:, :79].max()
    print(f"  transformers: {worst[:, :79].max():.2e}, last filter {worst[:, 79].max():.2e}")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def write_files(out):
    """Returns the files; wav through soundfile, the others through the encoders of their own projects."""
    def wav(name, rate, channels, subtype, **more):
        path = out / f"{name}.wav"
        soundfile.write(path, sound(rate, channels, len(name)), rate, subtype=subtype, **more)
        return path

    files = [wav("wav16k_s16", 16000, 1, "PCM_16"), wav("wav8k_ulaw", 8000, 1, "ULAW"),
             wav("wav8k_s16_stereo", 8000, 2, "PCM_16"), wav("wav48k_s24_stereo", 48000, 2, "PCM_24"),
             wav("wav32k_u8", 32000, 1, "PCM_U8"), wav("wav11025_float", 11025, 1, "FLOAT"),
             wav("wav22050_six", 22050, 6, "PCM_16", format="WAVEX"), wav("wav5000", 5000, 1, "PCM_16")]
    scratch = out / "scratch.wav"
    soundfile.write(scratch, sound(44100, 2, 7), 44100, subtype="PCM_16")
    run("flac", "-f", "-s", "-o", str(out / "flac44100.flac"), str(scratch))
    run("lame", "--quiet", "-b", "48", str(scratch), str(out / "mp3_44100.mp3"))
    run("oggenc", "-Q", "-q", "1", "-o", str(out / "vorbis44100.ogg"), str(scratch))
    soundfile.write(scratch, sound(48000, 1, 8), 48000, subtype="PCM_16")
    run("opusenc", "--quiet", "--bitrate", "24", str(scratch), str(out / "opus48k.opus"))
    run("ffmpeg", "-y", "-i", str(scratch), "-ar", "16000", "-codec:a", "libmp3lame", "-b:a", "24k",
        str(out / "mp3_16k_id3.mp3"))
    scratch.unlink()
    return files + [out / n for n in ("flac44100.flac", "mp3_44100.mp3", "vorbis44100.ogg", "opus48k.opus",
                                      "mp3_16k_id3.mp3")]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for path in write_files(out):
        x, rate = mono16k(path)
        features = log_mel(x, rate)
        print(f"{path.name}: {len(x)} samples at {rate} Hz, {features.shape[0]} frames")
        if rate == 16000:
            check_against_transformers(x, features)
        x.tofile(path.with_suffix(".f32"))
        features.tofile(path.with_suffix(".mel"))


if __name__ == "__main__":
    main()
