# polish.py - trains all of a finished model a little more: towers, projections, text model and adapters, end to end.

import random

import torch
from torch.nn import functional as F

import pictures
import processor
import questions
import tones
from PIL import Image
from towers import Steps, recording
from whole import Rows

NEW = 4  # recordings of one step that were never heard before
AGAIN = 0.3  # share of the pictures that were misread before, as long as there are some
EASY = 0.02  # a picture is left out whose every token has a loss below this
UNNAMED = 0.4  # share of the new pictures whose colour has no name
MARGIN = 1.15  # what is this many radii from a shape's centre may be a part of it


def near(picture, columns, rows, left, top, size):
    """Which pairs of patches may show a part of the shape: bool [rows, columns] of a view whose pixels from (left, top)
    on, in pixels of the picture, have `size` (width, height) of them to the pixel of the view."""
    cell = 2 * processor.PATCH
    x = left + (torch.arange(columns) + 0.5) * cell * size[0] - picture.x
    y = top + (torch.arange(rows) + 0.5) * cell * size[1] - picture.y
    return torch.hypot(x[None, :] / (picture.radius * MARGIN + cell * size[0]),
                       y[:, None] / (picture.radius * MARGIN + cell * size[1])) < 1


def views(picture):
    """Yields (crop [3, height, width], valid (rows, columns) of patches, its (row, column) among the tiles, pairs near the
    shape) of each tile that is not empty and, with None for its place, of the squeezed view; as the model's processor."""
    image = Image.frombytes("RGB", (picture.width, picture.height), picture.draw())
    crops, valid, (rows, cols, _, _) = processor.crops(image)
    unit = picture.width / processor.scaled(*image.size)[2]  # pixels of the picture to one of the canvas
    for i, (vr, vc) in enumerate(valid[1:]):
        if vr and vc:
            r, c = i // cols * processor.CROP * unit, i % cols * processor.CROP * unit
            even = vr + vr % 2, vc + vc % 2
            yield (crops[1 + i, :, :14 * even[0], :14 * even[1]], (vr, vc), (i // cols, i % cols),
                   near(picture, even[1] // 2, even[0] // 2, c, r, (unit, unit)))
    yield crops[0], valid[0], None, near(picture, 16, 16, 0, 0, (unit * cols, unit * rows))


def look(model, picture, share):
    """Embeddings [tokens, text] of a picture; of the pairs of patches away from the shape, this share is there, in the
    tower too: fewer teach nearly the same for less."""
    tiles, between = [], model.vision.sub_GN[0, 0]
    for crop, valid, tile, shape in views(picture):
        keep = shape | (torch.rand(shape.shape) < share)
        if not keep.any():
            continue
        at = keep.nonzero()
        features = model.vision.img_processor(crop[None], valid, keep)
        if tile is not None:
            tiles.append((at + 16 * torch.tensor(tile), features))
        else:
            squeezed = at, features
    parts = []
    for at, features in ((torch.cat([a for a, _ in tiles]), torch.cat([f for _, f in tiles])), squeezed):
        rows = torch.unique(at[:, 0])  # each of them ends with a sub_GN
        order = torch.cat([at[:, 0] * 1000 + at[:, 1], rows * 1000 + 999]).argsort()
        parts += [torch.cat([features, between.expand(len(rows), -1)])[order], model.vision.glb_GN[0]]
    return model.vision.img_projection(torch.cat(parts[:-1]))


class Recordings:
    """Recordings to draw from, some of them new each time; no upper half of the bands now and then, as sounds of a low
    rate have it."""

    def __init__(self, rng, count, choices):
        self.rng = rng
        self.numbers = [self._make(self._number()) for _ in range(count)]
        self.choices = {digit: [self._make(digit) for _ in range(choices)] for digit in "123"}

    def _make(self, digits):
        return digits, recording(self.rng, digits)[0]

    def _number(self):
        """The longer of two: long numbers are more often misheard."""
        return max((tones.number(self.rng, False) for _ in range(2)), key=len)

    def number(self, count):
        for _ in range(NEW):
            self.numbers[self.rng.randrange(len(self.numbers))] = self._make(self._number())
        return [(digits, self._dull(features)) for digits, features in self.rng.sample(self.numbers, count)]

    def choice(self, digit):
        pool = self.choices[digit]
        pool[self.rng.randrange(len(pool))] = self._make(digit)
        return self._dull(self.rng.choice(pool)[1])

    def _dull(self, features):
        if self.rng.random() < 0.3:
            features = features.copy()
            features[:, self.rng.randint(55, 79):] = 0
        return torch.from_numpy(features)


class Polish:

    def __init__(self, model, encode, rng, recordings, choices):
        self.model, self.encode, self.rng = model, encode, rng
        self.recordings = Recordings(rng, recordings, choices)
        self.rows = Rows(model, encode, None, rng)
        self.missed = []  # pictures about which an answer was wrong

    def _embed(self, parts, heard=None):
        table = self.model.model.embed_tokens
        return torch.cat([heard if part == "audio" else table(torch.tensor(part)) for part in parts])

    def _misled(self, picture):
        """A description, and how much of its beginning is not to be learned: it says another colour, and often another
        shape, so that the rest is told by the picture and not by what is usually said after such words."""
        colour, shape = self.rng.choice(list(pictures.COLOURS)), picture.shape
        if self.rng.random() < 0.5:
            shape = self.rng.choice(pictures.SHAPES)
        text = questions.description(colour, shape, picture.place)
        return text, text.index(colour) + len(colour) + (0 if shape == picture.shape else 1 + len(shape))

    def _branches(self, picture):
        """(kind, messages, answer, how much of its beginning is not to be learned, recording or None) of all that can be
        asked about one picture."""
        rng, kind = self.rng, "picture" if picture.colour else "unnamed"
        for wanted in ("all", "misled") + questions.PROPERTIES:
            if not picture.colour and wanted in ("all", "colour"):
                continue
            text = rng.choice(questions.ASK[wanted] if wanted in questions.ASK else questions.DESCRIBE)
            text = text.upper() if rng.random() < 0.1 else questions.dress(rng, text)
            answer, start = self._misled(picture) if wanted == "misled" else (
                questions.describe(picture) if wanted == "all" else questions.answer(picture, wanted), 0)
            yield "misled" if start else kind, questions.messages(rng, "<|image_1|>" + text), answer, start, None
        for digit in "123" if picture.colour else "13":
            yield "both", *questions.of_both(rng, picture, digit), 0, self.recordings.choice(digit)

    def _labels(self, answer, start):
        """Ids of an answer with the end, and what is to be learned of them: nothing of its first `start` characters."""
        made = self.encode.tokenizer.encode(answer, add_special_tokens=False)
        ids = made.ids + [self.encode.added["<|end|>"]]
        return ids, [i if end > start else -100 for i, (_, end) in zip(made.ids, made.offsets)] + ids[-1:]

    def _picture(self):
        """A new picture, or now and then one that was misread."""
        if self.missed and self.rng.random() < AGAIN:
            return self.missed.pop(self.rng.randrange(len(self.missed)))
        largest = pictures.LARGEST if self.rng.random() < 0.4 else processor.CROP
        if self.rng.random() < UNNAMED:
            return pictures.unnamed(self.rng, largest)
        return pictures.Picture(self.rng, False, largest)

    def picture(self, share):
        """Returns (loss, [(kind, whether it is right)] of all questions about one picture), each of which sees the
        picture and itself, but no other question."""
        picture = self._picture()
        seen, told, prefix = look(self.model, picture, share), [], None
        for kind, messages, answer, start, sound in self._branches(picture):
            parts = self.encode(messages)
            at = parts.index("image")
            if prefix is None:
                prefix = torch.cat([self._embed(parts[:at]), seen])
            heard = None if sound is None else self.model.sound_rows(self.model.audio.encoder(sound[None])[0], "vision_speech")
            ids, learn = self._labels(answer, start)
            told.append((kind, torch.cat([self._embed(parts[at + 1:], heard), self._embed([ids[:-1]])]), learn))
        first, total = len(prefix), len(prefix) + sum(len(rows) for _, rows, _ in told)
        places, visible = torch.arange(total), torch.ones(total, total, dtype=torch.bool).tril()
        labels, start = torch.full((total,), -100), first
        for _, rows, learn in told:
            end = start + len(rows)
            visible[start:end, first:start] = False
            places[start:end] = first + torch.arange(len(rows))
            labels[end - len(learn):end] = torch.tensor(learn)
            start = end
        rows = torch.cat([prefix] + [rows for _, rows, _ in told])
        logits = self.model.logits(self.model.hidden(rows[None], "vision", first, places, visible))[0]
        labels = labels[first:]
        good, start = [], 0
        each = F.cross_entropy(logits, labels, ignore_index=-100, reduction="none")
        with torch.no_grad():
            fits = (logits.argmax(-1) == labels) | (labels == -100)
            for kind, rows, _ in told:
                good.append((kind, fits[start:start + len(rows)].all().item()))
                start += len(rows)
        if not all(right for _, right in good):
            self.missed.append(picture)
        loss = each.sum() / (labels != -100).sum()
        return loss if each.max() > EASY else loss.detach(), good  # from what is known, nothing is to be learned

    def numbers(self, count):
        drawn = []
        for digits, features in self.recordings.number(count):
            drawn.append(self.rows.row("recording", *questions.of_recording(self.rng, digits), None,
                                       self.model.audio.encoder(features[None])[0]))
        return self.rows.loss("recording", drawn)


def train(model, encode, minutes, seed, parts, keep, rate, recordings=300):
    """minutes: how long, in place of a number of steps. parts: how many of each kind a step has; all questions about a
    picture are asked at once."""
    model.requires_grad_(True)
    polish = Polish(model, encode, random.Random(f"{seed} polish"), recordings, recordings // 8)
    step = Steps("polish", [model], rate, 0, warmup=10, seconds=60 * minutes)
    while step.done < 1:
        shown = {}
        losses = []
        for _ in range(parts["picture"]):
            loss, good = polish.picture(polish.rng.uniform(0.3, 1.0)**2)
            losses.append(loss / parts["picture"])
            for kind, right in good:
                shown.setdefault(kind, []).append(right)
            shown.setdefault("picture's loss", []).append(loss.item())
        for kind, (loss, good) in (("recording", polish.numbers(parts["recording"])),
                                   ("text", polish.rows.loss("text", polish.rows.draw("text", parts["text"])))):
            losses.append(loss)
            shown[kind], shown[kind + "'s loss"] = [good], [loss.item()]
        step(sum(losses), **{name: sum(values) / len(values) for name, values in shown.items()})
        if step.step % 20 == 0:
            keep()
