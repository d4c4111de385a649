# whole.py - trains projections, text model and adapters together on what the finished towers see and hear.

import random

import numpy as np
import torch
from torch.nn import functional as F

import pictures
import processor
import questions
import tones
from PIL import Image
from towers import Steps, choose, recording, squeezed, vision_batch, vision_loss

IGNORED = -100
KINDS = {"text": "language", "picture": "vision", "recording": "speech", "both": "vision_speech"}


def conversations(rng, kinds):
    """Yields (what is written in the message, answer) of one draw of each kind."""
    picture = pictures.Picture(rng, False)
    for kind in kinds:
        if kind == "picture":
            messages, answer = questions.of_picture(rng, picture)
        elif kind == "recording":
            messages, answer = questions.of_recording(rng, tones.number(rng, False))
        else:
            messages, answer = questions.of_both(rng, picture, rng.choice("123"))
        yield messages[-1]["content"].split("|>")[-1], answer
        yield answer, answer


class Pools:
    """What the towers give for many recordings and pictures, computed once."""

    def __init__(self, model, seed, recordings, shown, side=32):
        """side: 32, or fewer patches on a side of views that teach nearly the same for less."""
        rng = random.Random(f"{seed} pools")
        with torch.no_grad():
            self.recordings = sorted((self._recording(model, rng) for _ in range(recordings)), key=lambda r: len(r[1]))
            self.choices = [self._recording(model, rng, rng.choice("123")) for _ in range(recordings // 8)]
            print(f"{len(self.recordings) + len(self.choices)} recordings", flush=True)
            self.pictures = sorted((self._picture(model, rng, side) for _ in range(shown)), key=lambda p: p[1].shape[0] * p[1].shape[1])
            print(f"{shown} pictures", flush=True)

    @staticmethod
    def _picture(model, rng, side):
        largest = pictures.LARGEST if rng.random() < 0.3 and side == 32 else processor.CROP
        picture = pictures.Picture(rng, False, largest)
        if side < 32:
            seen = model.vision.img_processor(squeezed(picture, side)[0][None], (side, side))[0].half()
            return picture, seen, seen
        image = Image.frombytes("RGB", (picture.width, picture.height), picture.draw())
        tiles, whole = model.vision.features(image)
        return picture, tiles.half(), whole.half()

    @staticmethod
    def _recording(model, rng, digits=None):
        digits = digits or tones.number(rng, False)
        features, _ = recording(rng, digits)
        return digits, model.audio.encoder(torch.from_numpy(features)[None])[0].half()


class Rows:
    """Draws conversations of a kind and puts their embeddings together."""

    def __init__(self, model, encode, pools, rng):
        self.model, self.encode, self.pools, self.rng = model, encode, pools, rng
        self.share = 1.0  # of a picture's rows that are kept, by chance: fewer teach nearly the same for less

    def _neighbours(self, pool, count):
        """Some of nearly one size."""
        first = self.rng.randrange(len(pool) - count + 1)
        return pool[first:first + count]

    def draw(self, kind, count):
        """Returns (embeddings [tokens, hidden] of the prompt, ids of the answer) of `count` conversations."""
        rng, rows = self.rng, []
        if kind == "text":
            for _ in range(count):
                text, said = questions.about(rng, False)
                rows.append((questions.messages(rng, text), said, None, None))
        elif kind == "recording":
            rows = [(*questions.of_recording(rng, digits), None, heard)
                    for digits, heard in self._neighbours(self.pools.recordings, count)]
        else:
            for picture, *seen in self._neighbours(self.pools.pictures, count):
                if kind == "picture":
                    rows.append((*questions.of_picture(rng, picture), seen, None))
                else:
                    digit, heard = rng.choice(self.pools.choices)
                    rows.append((*questions.of_both(rng, picture, digit), seen, heard))
        return [self.row(kind, *row) for row in rows]

    def fresh(self, heads, count, learn):
        """Draws `count` new pictures, each with a question of the kinds picture and both; some of their rows are there.
        Returns ({kind: rows}, loss of the vision tower's heads or 0 when it does not learn)."""
        pixels, mask, labels, drawn = vision_batch(self.rng, 32, count, pictures.LARGEST)
        inside = F.avg_pool2d(mask[:, None], 28).flatten(1) > 0.2
        cells = choose(inside, round(256 * self.rng.uniform(0.25, 0.4))).sort(1).values
        with torch.set_grad_enabled(learn):
            features = self.model.vision.img_processor.some(pixels, cells, (0, 0))
        loss = vision_loss(heads, features, inside.gather(1, cells), labels)[0] if learn else 0.0
        rows = {"picture": [], "both": []}
        for picture, seen, at in zip(drawn, features, cells):
            few = torch.rand(len(at)) < 0.3  # as if tiles
            parts = [self.between(seen[few], at[few]), self.model.vision.glb_GN[0], self.between(seen, at)]
            shown = self.model.vision.img_projection(torch.cat(parts))
            digit, heard = self.rng.choice(self.pools.choices)
            rows["picture"].append(self.row("picture", *questions.of_picture(self.rng, picture), shown, None))
            rows["both"].append(self.row("both", *questions.of_both(self.rng, picture, digit), shown, heard))
        return rows, loss

    def between(self, features, cells):
        """Puts a sub_GN behind each of the 16 rows that the features [k, hidden] of `cells` [k] stand in."""
        order = torch.cat([cells // 16 * 17 + cells % 16, torch.arange(16) * 17 + 16]).argsort()
        return torch.cat([features, self.model.vision.sub_GN[0, 0].expand(16, -1)])[order]

    def row(self, kind, messages, answer, seen, heard):
        embeddings = []
        for item in self.encode(messages):
            if item == "image":
                if isinstance(seen, list):
                    seen = self.model.vision.assemble(*(t.float() for t in seen))
                    seen = seen if self.share == 1.0 else seen[torch.rand(len(seen)) < self.share]
                embeddings.append(seen)
            elif item == "audio":
                embeddings.append(self.model.sound_rows(heard.float(), KINDS[kind]))
            else:
                embeddings.append(self.model.model.embed_tokens(torch.tensor(item)))
        return torch.cat(embeddings), self.encode.text(answer) + [self.encode.added["<|end|>"]]

    def loss(self, kind, rows):
        """rows: of draw() or fresh(). Returns (mean cross entropy, share of answers that are right in every token)."""
        count = len(rows)
        length = max(len(prompt) + len(ids) - 1 for prompt, ids in rows)
        start = min(len(prompt) for prompt, _ in rows) - 1
        labels = torch.full((count, length), IGNORED)
        inputs = []
        for i, (prompt, ids) in enumerate(rows):
            labels[i, len(prompt) - 1:len(prompt) - 1 + len(ids)] = torch.tensor(ids)
            told = self.model.model.embed_tokens(torch.tensor(ids[:-1], dtype=torch.long))
            inputs.append(F.pad(torch.cat([prompt, told]), (0, 0, 0, length - len(prompt) - len(ids) + 1)))
        hidden = self.model.hidden(torch.stack(inputs), KINDS[kind], start)
        labels = labels[:, start:]
        logits = self.model.logits(hidden)
        with torch.no_grad():
            right = ((logits.argmax(-1) == labels) | (labels == IGNORED)).all(1).float().mean().item()
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED), right


def train(model, encode, steps, seed, parts, pools, keep, share=1.0, rate=3e-3):
    """parts: how many conversations of each kind a step has; share: the least that is kept of a picture's rows in half
    of the first four fifths of the steps; the others have all."""
    for tower in (model.vision.img_processor, model.audio.encoder):
        tower.requires_grad_(False)
    rng = random.Random(f"{seed} whole")
    rows, step = Rows(model, encode, pools, rng), Steps("+".join(parts), [model], rate, steps)
    for k in range(steps):
        rows.share = rng.uniform(share, 1.0) if k < steps * 4 // 5 and k % 2 == 0 else 1.0
        losses = {kind: rows.loss(kind, rows.draw(kind, count)) for kind, count in parts.items()}
        step(sum(loss for loss, _ in losses.values()), **{kind: right for kind, (_, right) in losses.items()},
             **{kind + "'s loss": loss.item() for kind, (loss, _) in losses.items()})
        if step.step % 20 == 0:
            keep()


def train_fresh(model, heads, encode, steps, seed, parts, pools, keep, learn, rate):
    """As train(), but with new pictures all the time, of which each step sees parts["fresh"]; learn: the vision tower too."""
    model.vision.img_processor.requires_grad_(learn)
    model.audio.encoder.requires_grad_(False)
    rows = Rows(model, encode, pools, random.Random(f"{seed} fresh"))
    step = Steps("fresh", [model, heads] if learn else [model], rate, steps)
    for _ in range(steps):
        drawn, extra = rows.fresh(heads, parts["fresh"], learn)
        drawn |= {kind: rows.draw(kind, count) for kind, count in parts.items() if kind != "fresh"}
        losses = {kind: rows.loss(kind, some) for kind, some in drawn.items()}
        step(sum(loss for loss, _ in losses.values()) + 0.3 * extra, **{kind: right for kind, (_, right) in losses.items()},
             **{kind + "'s loss": loss.item() for kind, (loss, _) in losses.items()})
        if step.step % 50 == 0:
            keep()
