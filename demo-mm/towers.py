# towers.py - trains the vision tower and the speech encoder alone, with heads that are thrown away afterwards.

import math
import random
import time

import numpy as np
import torch
from PIL import Image
from torch import distributed as dist
from torch import nn
from torch.nn import functional as F

import pictures
import processor
import tones


def optimizers_of(modules, rate):
    """Muon for the matrices of linear layers, AdamW for the rest."""
    inner = {id(m.weight) for module in modules for m in module.modules() if isinstance(m, nn.Linear)}
    params = [p for module in modules for p in module.parameters() if p.requires_grad]
    matrices = [p for p in params if id(p) in inner]
    others = [p for p in params if id(p) not in inner]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    ]


class Steps:
    """Runs optimizer steps with a warm-up and a cosine, and prints now and then what they give. seconds: how long they
    last instead of `steps`."""

    def __init__(self, name, modules, rate, steps, warmup=25, shown_every=25, seconds=None):
        self.name, self.steps, self.warmup, self.every = name, steps, warmup, shown_every
        self.params = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.optimizers, self.rate = optimizers_of(modules, rate), rate
        self.start, self.step, self.shown, self.seconds, self.done = time.time(), 0, {}, seconds, 0.0

    def _progress(self):
        """Returns which share of the steps, or of the time, is over; the same in all processes."""
        if self.seconds is None:
            return self.step / self.steps
        share = torch.tensor(min(1.0, (time.time() - self.start) / self.seconds))
        if dist.is_initialized():
            dist.broadcast(share, 0)
        return share.item()

    def __call__(self, loss, **numbers):
        scale = min(1.0, (self.step + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * self.done))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * scale
            optimizer.zero_grad()
        loss.backward()
        if dist.is_initialized():  # the mean over the processes, which draw different conversations
            for p in self.params:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                dist.all_reduce(p.grad)
                p.grad /= dist.get_world_size()
        nn.utils.clip_grad_norm_(self.params, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.done = self._progress()
        for key, value in {"loss": loss.item(), **numbers}.items():
            self.shown.setdefault(key, []).append(value)
        if self.step % self.every == 0:
            text = ", ".join(f"{key} {sum(values) / len(values):.3f}" for key, values in self.shown.items())
            print(f"{self.name}: step {self.step}, {100 * self.done:.0f} %, {text}, {time.time() - self.start:.0f} s", flush=True)
            self.shown = {}


# ---- pictures -----------------------------------------------------------------------------------


def squeezed(picture, side):
    """The squeezed view [3, 14 side, 14 side] of a picture, as the processor would make it if its tiles had that size,
    and which pixels [14 side, 14 side] are the shape."""
    tile = side * processor.PATCH
    cols, rows, width, height = processor.scaled(picture.width, picture.height)
    size = (width * tile // processor.CROP, height * tile // processor.CROP)
    shape = bytearray(picture.width * picture.height)
    for y, x0, x1 in picture.spans():
        shape[y * picture.width + x0:y * picture.width + x1] = b"\xff" * (x1 - x0)
    pixels = np.full((rows * tile, cols * tile, 4), 255, np.uint8)
    pixels[..., 3] = 0
    image = Image.frombytes("RGB", (picture.width, picture.height), picture.draw())
    pixels[:size[1], :size[0], :3] = np.asarray(image.resize(size, Image.BILINEAR))
    mask = Image.frombytes("L", image.size, bytes(shape))
    pixels[:size[1], :size[0], 3] = np.asarray(mask.resize(size, Image.BILINEAR))
    numbers = (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
    if rows * cols > 1:
        numbers = F.interpolate(numbers[None], size=(tile, tile), mode="bicubic")[0]
    return numbers[:3], numbers[3] * 0.5 + 0.5


ORDERS = (1, 2, 3, 4, 5, 6, 8)  # of the outline's angles


def outlines(inside):
    """What each patch sees of the outline: [n, 14 side, 14 side] shares of shape to [n, side side, numbers].

    The numbers are the share of shape, the length of the outline, and for each order k its length times cos and sin of
    k times the angle of its normal. Their means over a shape tell a square (order 4) from a triangle (3) or a circle.
    """
    soft = F.avg_pool2d(inside[:, None], 5, 1, 2)[:, 0]
    down, right = torch.gradient(soft, dim=(1, 2))
    length = torch.hypot(down, right)
    normal = torch.complex(right, down) / (length + 1e-6)
    maps, power = [inside, length], torch.ones_like(normal)
    for k in range(1, ORDERS[-1] + 1):
        power = power * normal
        if k in ORDERS:
            maps += [power.real * length, power.imag * length]
    pooled = F.avg_pool2d(torch.stack(maps, 1), processor.PATCH).flatten(2).transpose(1, 2)
    return pooled * torch.tensor([1.0] + [20.0] * (len(maps) - 1))


class VisionHeads(nn.Module):
    """Reads shape, colour and place from each pooled feature (shape 0 is none), shape and place from the mean of those
    with a shape, and what outlines() has from what the first layer gives for each patch."""

    def __init__(self, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.outline = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, 2 + 2 * len(ORDERS)))
        self.together = nn.Sequential(nn.Linear(hidden, 96), nn.GELU(), nn.Linear(96, 16))
        self.shape = nn.Linear(hidden, 1 + len(pictures.SHAPES))
        self.colour = nn.Linear(hidden, len(pictures.COLOURS))
        self.place = nn.Linear(hidden, len(pictures.PLACES))

    def forward(self, features):
        x = self.norm(features)
        return self.shape(x), self.colour(x), self.place(x)


def vision_batch(rng, side, count, largest):
    """Returns views [n, 3, 14 side, 14 side], shares of shape in their pixels, labels [n, 3] and the pictures."""
    drawn = [pictures.Picture(rng, False, largest) for _ in range(count)]
    views = [squeezed(p, side) for p in drawn]
    labels = torch.tensor([[pictures.SHAPES.index(p.shape) + 1, list(pictures.COLOURS).index(p.colour),
                            pictures.PLACES.index(p.place)] for p in drawn])
    return torch.stack([v for v, _ in views]), torch.stack([m for _, m in views]), labels, drawn


def choose(inside, count):
    """Cells [n, count]: those with a part of the shape first, then others by chance."""
    return (inside.float() + torch.rand(inside.shape)).argsort(1, descending=True)[:, :count]


def vision_loss(heads, features, inside, labels):
    """features [n, k, hidden] of cells, inside [n, k]: which are of the shape. Returns the loss, and which shares of the
    batch have shape, colour and place right."""
    shape, colour, place = heads(features)
    wanted = torch.where(inside, labels[:, 0, None], 0)
    each = F.cross_entropy(shape.transpose(1, 2), wanted, reduction="none")
    own = [labels[:, k, None].expand(inside.shape)[inside] for k in (1, 2)]
    loss = each[inside].mean() + each[~inside].mean() + sum(
        F.cross_entropy(logits[inside], label) for logits, label in zip((colour, place), own))
    weight = inside[..., None].float()
    mean = lambda x: (x * weight).sum(1) / weight.sum(1).clamp(min=1)
    kinds, places = len(pictures.SHAPES), len(pictures.PLACES)
    shape, place = heads.together(mean(heads.norm(features)))[:, :kinds + places].split([kinds, places], 1)
    loss = loss + F.cross_entropy(shape, labels[:, 0] - 1) + F.cross_entropy(place, labels[:, 2])
    found = [(x.argmax(1) == y).float().mean().item()
             for x, y in ((shape, labels[:, 0] - 1), (mean(colour), labels[:, 1]), (place, labels[:, 2]))]
    return loss, found


# Patches on a side, crops in a batch, longest side of a picture, least and largest share of the pairs of patches that
# are there, and the share of the steps: little teaches nearly the same for less.
SMALL_VIEWS = [(16, 16, 448, 0.3, 0.6, 1.0)]
LARGE_VIEWS = [(16, 16, 448, 0.3, 0.6, 0.2), (32, 8, 896, 0.25, 0.4, 0.74), (32, 4, 896, 0.6, 1.0, 0.06)]


def outline_loss(heads, first, mask, cells):
    """How far what the heads read from the first layer's patches of `cells` is from outlines(mask); 1 is a guess of 0."""
    half = mask.shape[1] // processor.PATCH // 2
    wanted = outlines(mask).unflatten(1, (half, 2, half, 2)).transpose(2, 3).flatten(3).flatten(1, 2)
    wanted = wanted.gather(1, cells[..., None].expand(-1, -1, wanted.shape[-1])).unflatten(2, (4, -1)).flatten(1, 2)
    return (heads.outline(first) - wanted).square().mean() / wanted.square().mean()


def train_vision(model, heads, views, steps, seed, keep, rate, with_outlines):
    """keep() is called now and then: the weights so far are worth keeping."""
    rng = random.Random(f"{seed} vision")
    tower = model.vision.img_processor
    step, first = Steps("vision", [tower, heads], rate, steps), {}
    tower.encoder["layers"][0].register_forward_hook(lambda layer, args, out: first.update(out=out))
    plan = [view for view in views for _ in range(max(1, round(steps * view[-1])))][:steps]
    plan += [views[-1]] * (steps - len(plan))
    for side, count, largest, low, high, _ in plan:
        pixels, mask, labels, _ = vision_batch(rng, side, count, largest)
        inside = F.avg_pool2d(mask[:, None], 28).flatten(1) > 0.2
        cells = choose(inside, round(inside.shape[1] * rng.uniform(low, high)))
        inside = inside.gather(1, cells)
        shift = [rng.randrange(32 // side) for _ in range(2)]  # so that all places are learned
        loss, right = vision_loss(heads, tower.some(pixels, cells, shift), inside, labels)
        if with_outlines:
            loss = loss + 2 * outline_loss(heads, first["out"], mask, cells)
        step(loss, shape=right[0], colour=right[1], place=right[2])
        if step.step % 50 == 0:
            keep()


# ---- sounds -------------------------------------------------------------------------------------


def recording(rng, digits=None):
    """Returns (features [frames, 80], label of each step, place of each digit): label 0 is no digit, 1 + d digit d."""
    rate = rng.choice([16000, 16000, 16000, 8000])
    sound = tones.Recording(rng, digits or tones.number(rng, False), rate)
    features = processor.log_mel(np.array(sound.samples(), np.float32) / 32768, rate)
    labels = [0] * -(-len(features) // 8)
    for (at, length, _, _), digit in zip(sound.events, sound.digits):
        labels[min(len(labels) - 1, int((at + length / 2) / 0.08))] = 1 + int(digit)
    return features, labels


class SoundHeads(nn.Module):
    """Reads from each step which digit sounds (0: none) and which in turn it is."""

    def __init__(self, hidden):
        super().__init__()
        self.digit, self.turn = nn.Linear(hidden, 11), nn.Linear(hidden, tones.MOST_DIGITS)

    def forward(self, x):
        return self.digit(x), self.turn(x)


def train_sound(model, steps, seed, rate=3e-3, count=24, pool=6000):
    rng = random.Random(f"{seed} sound")
    encoder = model.audio.encoder
    heads = SoundHeads(encoder.embed.out.out_features)
    made = [recording(rng) for _ in range(pool)]
    every = np.concatenate([features for features, _ in made[:500]])
    encoder.encoder_embedding.global_mean.copy_(torch.from_numpy(every.mean(0)))
    encoder.encoder_embedding.global_invstd.copy_(torch.from_numpy(1 / (every.std(0) + 1e-3)))
    made.sort(key=lambda m: len(m[0]))
    step = Steps("sound", [encoder, heads], rate, steps)
    for _ in range(steps):
        first = rng.randrange(pool - count)
        group = made[first:first + count]
        length = min(len(f) for f, _ in group) // 8 * 8  # cut to one length; neighbours differ by a few frames
        x = torch.from_numpy(np.stack([f[:length] for f, _ in group]))
        labels = torch.tensor([l[:length // 8] for _, l in group])
        digit, turn = heads(encoder(x))
        heard = labels > 0
        order = (heard.cumsum(1) - 1)[heard]
        loss = F.cross_entropy(digit.flatten(0, 1), labels.flatten()) * 3 + F.cross_entropy(turn[heard], order)
        whole = (digit.argmax(-1) == labels).all(1).float().mean().item()
        step(loss, whole=whole, turn=(turn[heard].argmax(-1) == order).float().mean().item())
