# tones.py - makes recordings of touch-tone keys with Python's standard library, and the rule of the held-out ones.

import array
import math
import random
import struct
import sys
import zlib

# ITU-T Q.23: a key sounds as one tone of its row and one of its column, in hertz.
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)
KEYS = {"1": (0, 0), "2": (0, 1), "3": (0, 2), "4": (1, 0), "5": (1, 1), "6": (1, 2), "7": (2, 0), "8": (2, 1),
        "9": (2, 2), "0": (3, 1)}

HELD_OUT = 8  # one in this many numbers of at least three digits is never heard in training
MOST_DIGITS = 7


def held_out(digits):
    """True when this number is never dialled in training."""
    return len(digits) >= 3 and zlib.crc32(digits.encode()) % HELD_OUT == 0


def number(rng, heldout):
    """Returns the digits of a number."""
    while True:
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(3 if heldout else 1, MOST_DIGITS)))
        if rng.random() < 0.3 and len(digits) > 1:  # often enough a digit twice running
            at = rng.randrange(len(digits) - 1)
            digits = digits[:at] + digits[at] + digits[at:-1]
        if held_out(digits) == heldout:
            return digits


class Recording:
    """The keys of `digits` pressed one after the other: lengths, levels and noise chosen by the random generator."""

    def __init__(self, rng, digits, rate=16000):
        self.digits, self.rate = digits, rate
        level = 10 ** (rng.uniform(-26, -6) / 20)
        twist = 10 ** (rng.uniform(-3, 3) / 20)  # how much louder the higher tone is
        hand = rng.uniform(0.09, 0.2), rng.uniform(0.07, 0.2)  # one caller's usual tone and gap, seconds
        drift = 1 + rng.uniform(-0.01, 0.01)
        self.events, at = [], rng.uniform(0.03, 0.4)
        for digit in digits:
            tone, gap = (max(low, usual * rng.uniform(0.8, 1.25)) for usual, low in zip(hand, (0.085, 0.075)))
            row, column = KEYS[digit]
            self.events.append((at, tone, ROWS[row] * drift, COLUMNS[column] * drift))
            at += tone + gap
        self.seconds = at + rng.uniform(0.03, 0.4)
        self.low, self.high = level / (1 + twist), level * twist / (1 + twist)
        self.noise = level * 10 ** (-rng.uniform(16, 40) / 20) if rng.random() < 0.7 else 0.0
        self.seed = rng.getrandbits(32)  # of the noise

    def samples(self):
        """Returns 16-bit samples."""
        n, rng = int(self.seconds * self.rate), random.Random(self.seed)
        if self.noise:
            steps = [2 * self.noise * (v - 127.5) / 127.5 for v in range(256)]
            sound = [steps[v] for v in rng.randbytes(n)]
        else:
            sound = [0.0] * n
        for at, tone, low, high in self.events:
            start, length = int(at * self.rate), int(tone * self.rate)
            a, b = 2 * math.pi * low / self.rate, 2 * math.pi * high / self.rate
            pa, pb = rng.uniform(0, 6.3), rng.uniform(0, 6.3)
            part = [self.low * math.sin(a * i + pa) + self.high * math.sin(b * i + pb) for i in range(length)]
            edge = self.rate // 400  # 2.5 ms on and off
            for i in range(edge):
                part[i] *= i / edge
                part[-1 - i] *= i / edge
            sound[start:start + length] = [s + t for s, t in zip(sound[start:start + length], part)]
        return array.array("h", [max(-32768, min(32767, round(32767 * s))) for s in sound])

    def wav(self):
        """The recording as a WAV file, mono, 16 bits."""
        samples = self.samples()
        if sys.byteorder == "big":
            samples.byteswap()
        data = samples.tobytes()
        form = struct.pack("<HHIIHH", 1, 1, self.rate, 2 * self.rate, 2, 16)
        return (b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", len(form)) + form +
                b"data" + struct.pack("<I", len(data)) + data)
