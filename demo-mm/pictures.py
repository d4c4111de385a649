# pictures.py - draws pictures of one shape with Python's standard library: what they show, and the rule of the held-out ones.

import math
import random
import struct
import zlib

SHAPES = ("circle", "square", "triangle", "star", "ring")
COLOURS = {
    "red": (214, 32, 36),
    "orange": (244, 130, 20),
    "yellow": (238, 214, 24),
    "green": (34, 150, 60),
    "blue": (32, 76, 214),
    "purple": (142, 40, 168),
    "black": (16, 16, 18)
}
PLACES = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom",
          "bottom right")  # thirds of the picture, row by row

CONTRAST = 110  # least distance of a shape's colour from that of the ground
UNLIKE = 70  # a colour that has no name here is farther than that from each that has

HELD_OUT_KINDS = 7  # one in this many of shape, colour and place together is never drawn in training
HELD_OUT_SIZES = 5  # one in this many sizes is never used in training
SMALLEST, LARGEST = 64, 896  # pixels of a side
BORDER = 0.08  # of the picture: a shape's centre is never nearer to the border of two thirds


def held_out_kind(shape, colour, place):
    """True when this shape in this colour at this place is never seen in training."""
    return zlib.crc32(f"{shape} {colour} {place}".encode()) % HELD_OUT_KINDS == 0


def held_out_size(width, height):
    return zlib.crc32(f"{width}x{height}".encode()) % HELD_OUT_SIZES == 0


class Picture:
    """What a picture shows: everything that draw() needs, chosen by the random generator."""

    def __init__(self, rng, heldout, largest=LARGEST):
        while True:
            self.shape = rng.choice(SHAPES)
            self.colour = rng.choice(list(COLOURS))
            self.place = rng.choice(PLACES)
            if held_out_kind(self.shape, self.colour, self.place) == heldout:
                break
        while True:
            longer = round(math.exp(rng.uniform(math.log(SMALLEST), math.log(largest))))
            shorter = max(SMALLEST * 3 // 4, round(longer * rng.uniform(0.5, 1.0)))
            self.width, self.height = (longer, shorter) if rng.random() < 0.5 else (shorter, longer)
            if held_out_size(self.width, self.height) == heldout:
                break
        self._place(rng)
        self._colours(rng)
        self.seed = rng.getrandbits(32)  # of the noise

    def _place(self, rng):
        """Centre and radius in pixels: all of the shape inside the picture, its centre well inside its third."""
        side = min(self.width, self.height)
        self.radius = side * rng.uniform(0.16, 0.23)
        row, col = divmod(PLACES.index(self.place), 3)
        self.x = self._along(rng, col, self.width)
        self.y = self._along(rng, row, self.height)
        self.turn = rng.uniform(-0.2, 0.2)

    def _along(self, rng, third, length):
        low, high = (third / 3 + BORDER) * length, ((third + 1) / 3 - BORDER) * length
        return min(max(rng.uniform(low, high), self.radius + 1), length - self.radius - 1)

    def _colours(self, rng):
        self.fill = tuple(min(255, max(0, c + rng.randint(-14, 14))) for c in COLOURS[self.colour])
        while True:
            grey, tint = rng.choice([rng.randint(205, 255), rng.randint(120, 255), rng.randint(50, 255)]), 18
            self.back = tuple(min(255, max(0, grey + rng.randint(-tint, tint))) for _ in range(3))
            if all(math.dist(self.back, colour) > CONTRAST for colour in (self.fill, COLOURS[self.colour])):
                break
        self.noise = rng.choice([0, 0, rng.randint(1, 16)])

    def outline(self):
        """Polygons whose insides, taken alternately, are the shape: lists of (x, y) in pixels."""
        if self.shape in ("circle", "ring"):
            radii = [1.0] if self.shape == "circle" else [1.0, 0.55]
            rings = [[(r, 2 * math.pi * i / 48) for i in range(48)] for r in radii]
        elif self.shape == "square":
            rings = [[(1.0, math.pi / 4 + math.pi / 2 * i) for i in range(4)]]
        elif self.shape == "triangle":
            rings = [[(1.0, -math.pi / 2 + 2 * math.pi / 3 * i) for i in range(3)]]
        else:  # a star
            rings = [[(1.0 if i % 2 == 0 else 0.4, -math.pi / 2 + math.pi / 5 * i) for i in range(10)]]
        return [[(self.x + self.radius * r * math.cos(a + self.turn), self.y + self.radius * r * math.sin(a + self.turn))
                 for r, a in ring] for ring in rings]

    def spans(self):
        """Yields (y, x0, x1) for each run of pixels [x0, x1) whose centres are inside the shape."""
        edges = [(a, b) for ring in self.outline() for a, b in zip(ring, ring[1:] + ring[:1]) if a[1] != b[1]]
        top = max(0, int(self.y - self.radius * 1.1))
        for y in range(top, min(self.height, int(self.y + self.radius * 1.1) + 2)):
            at = y + 0.5
            cuts = sorted(ax + (at - ay) * (bx - ax) / (by - ay) for (ax, ay), (bx, by) in edges
                          if (ay <= at) != (by <= at))
            for left, right in zip(cuts[::2], cuts[1::2]):
                x0, x1 = max(0, math.ceil(left - 0.5)), min(self.width, math.ceil(right - 0.5))
                if x0 < x1:
                    yield y, x0, x1

    def draw(self):
        """Returns the pixels, rows of red, green and blue bytes from the top."""
        noise = random.Random(self.seed)
        back, fill = [_paint(colour, self.noise, noise) for colour in (self.back, self.fill)]
        pixels = bytearray(back(self.width * self.height))
        for y, x0, x1 in self.spans():
            start = 3 * (y * self.width + x0)
            pixels[start:start + 3 * (x1 - x0)] = fill(x1 - x0)
        return bytes(pixels)

    def png(self):
        """The picture as a PNG file."""
        rows, stride = self.draw(), 3 * self.width
        raw = b"".join(b"\0" + rows[i:i + stride] for i in range(0, len(rows), stride))
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(raw, 6)) + _chunk(b"IEND", b"")


def unnamed(rng, largest):
    """A training picture whose colour is none of COLOURS, so that it shows no combination with one: any shape at any
    place.  Its `colour` is None."""
    picture = Picture(rng, False, largest)
    picture.colour, picture.shape, picture.place = None, rng.choice(SHAPES), rng.choice(PLACES)
    picture._place(rng)
    while True:
        picture.fill = tuple(rng.randrange(256) for _ in range(3))
        if min(math.dist(picture.fill, colour) for colour in COLOURS.values()) > UNLIKE and \
                math.dist(picture.fill, picture.back) > CONTRAST:
            return picture


def _paint(colour, noise, rng):
    """Returns a function that gives n pixels of the colour, each channel off by at most `noise`."""
    if noise == 0:
        return lambda n: bytes(colour) * n
    tables = [bytes(min(255, max(0, c + v % (2 * noise + 1) - noise)) for v in range(256)) for c in colour]

    def paint(n):
        pixels = bytearray(3 * n)
        for channel, table in enumerate(tables):
            pixels[channel::3] = rng.randbytes(n).translate(table)
        return bytes(pixels)

    return paint


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
