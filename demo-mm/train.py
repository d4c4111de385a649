# train.py - trains the multimodal demo model from nothing, stage by stage, and writes it like a Hub download.

import argparse
import os
import random
from pathlib import Path

import torch
from torch.multiprocessing import spawn

import checkpoint
import polish
import questions
import towers
import whole

HERE = Path(__file__).parent
PROCESSES = 2  # of the last stage
VISION = "model.embed_tokens_extend.image_embed.img_processor."


def texts(seed):
    """What the vocabulary is made from: questions and answers of training."""
    rng = random.Random(f"{seed} vocabulary")
    out = []
    for _ in range(3000):
        out += list(questions.about(rng, False))
        out += [text for text, _ in whole.conversations(rng, ("picture", "recording", "both"))]
    return out


def start(folder, work, args):
    checkpoint.write_start(folder, texts(args.seed))
    torch.save(checkpoint.fresh(folder, args.seed).state_dict(), work / "start.pt")


def open_model(folder, work, names):
    """The model with the weights of the stages `names`, each of which trained a part of it."""
    model = checkpoint.fresh(folder, 0)
    for name in names:
        model.load_state_dict(torch.load(work / f"{name}.pt"), strict=name == "start")
    return model


def part(model, prefix):
    return {name: value for name, value in model.state_dict().items() if name.startswith(prefix)}


def vision(folder, work, args):
    see(folder, work, args, "start", "vision", towers.SMALL_VIEWS, args.vision_steps, 3e-3)


def sight(folder, work, args):
    see(folder, work, args, "vision", "sight", towers.LARGE_VIEWS, args.sight_steps, 2e-3)


def see(folder, work, args, before, name, views, steps, rate):
    """A stage of the vision tower: the first with outlines, the next with the heads of the one before."""
    model, heads = open_model(folder, work, ["start", before]), towers.VisionHeads(checkpoint.TOWER["hidden"])
    if (work / f"{before}-heads.pt").exists():
        heads.load_state_dict(torch.load(work / f"{before}-heads.pt"))

    def keep():
        torch.save(part(model, VISION), work / f"{name}.pt")
        torch.save(heads.state_dict(), work / f"{name}-heads.pt")

    torch.manual_seed(args.seed)
    towers.train_vision(model, heads, views, steps, args.seed, keep, rate, before == "start")
    keep()


def sound(folder, work, args):
    model = open_model(folder, work, ["start"])
    torch.manual_seed(args.seed)
    towers.train_sound(model, args.sound_steps, args.seed)
    torch.save(part(model, "model.embed_tokens_extend.audio_embed.encoder."), work / "sound.pt")


def words(folder, work, args):
    model = open_model(folder, work, ["start", "sound"])
    torch.manual_seed(args.seed)
    keep = lambda: torch.save(model.state_dict(), work / "words.pt")
    pools = whole.Pools(model, args.seed, args.recordings, 0)
    whole.train(model, checkpoint.Encoder(folder), args.words_steps, args.seed, {"text": 16, "recording": 24}, pools, keep)
    keep()


def glance(folder, work, args):
    model = open_model(folder, work, ["start", "words", "vision"])
    torch.manual_seed(args.seed)
    keep = lambda: torch.save(model.state_dict(), work / "glance.pt")
    pools = whole.Pools(model, args.seed, args.recordings // 4, 2 * args.pictures, 16)
    parts = {"text": 4, "recording": 8, "picture": 12, "both": 8}
    whole.train(model, checkpoint.Encoder(folder), args.glance_steps, args.seed, parts, pools, keep, 1.0)
    keep()


def fresh(folder, work, args):
    """The text model reads what the vision tower, still learning in the other stage, has come to."""
    new_pictures(folder, work, args, ["start", "glance", "sight"], "sight", "fresh", args.fresh_steps, False, 2e-3)


def joint(folder, work, args):
    new_pictures(folder, work, args, ["start", "fresh", "sight"], "sight", "joint", args.joint_steps, True, 1.5e-3)


def new_pictures(folder, work, args, before, heads_of, name, steps, learn, rate):
    model, heads = open_model(folder, work, before), towers.VisionHeads(checkpoint.TOWER["hidden"])
    heads.load_state_dict(torch.load(work / f"{heads_of}-heads.pt"))
    torch.manual_seed(args.seed)
    keep = lambda: torch.save(model.state_dict(), work / f"{name}.pt")
    pools = whole.Pools(model, args.seed + 1, args.recordings // 2, 0)
    parts = {"fresh": 8, "recording": 12, "text": 6}
    whole.train_fresh(model, heads, checkpoint.Encoder(folder), steps, args.seed, parts, pools, keep, learn, rate)
    keep()


def join(rank, work, args):
    """Makes this process one of PROCESSES that train one model."""
    torch.set_num_threads(args.threads)
    meeting = work / f"meeting-{os.getppid()}"
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=PROCESSES)


def all_of_it(folder, work, args):
    """Whole pictures, in two processes."""
    spawn(all_of_it_in, (folder, work, args), PROCESSES)


def all_of_it_in(rank, folder, work, args):
    join(rank, work, args)
    model = open_model(folder, work, ["start", "joint", "sight"])
    torch.manual_seed(args.seed + rank)
    keep = (lambda: checkpoint.save(model, folder)) if rank == 0 else (lambda: None)
    seed = args.seed + 2 + rank
    pools = whole.Pools(model, seed, args.recordings // 4, args.pictures)
    parts = {"text": 8, "recording": 20, "picture": 7, "both": 5}
    whole.train(model, checkpoint.Encoder(folder), args.whole_steps, seed, parts, pools, keep, 0.3, 2e-3)
    keep()


def polish_it(folder, work, args):
    """A finished model, that of --from, a little more; in two processes."""
    spawn(polish_it_in, (folder, work, args), PROCESSES)


def polish_it_in(rank, folder, work, args):
    join(rank, work, args)
    model = checkpoint.load(args.start or folder)
    torch.manual_seed(args.seed + rank)
    keep = (lambda: checkpoint.save(model, folder)) if rank == 0 else (lambda: None)
    parts = {"picture": 8, "recording": 10, "text": 8}
    polish.train(model, checkpoint.Encoder(folder), args.minutes, args.seed + rank, parts, keep, args.rate)
    keep()


STAGES = {"start": start, "vision": vision, "sight": sight, "sound": sound, "words": words, "glance": glance, "fresh": fresh, "joint": joint, "whole": all_of_it, "polish": polish_it}


def main():
    parser = argparse.ArgumentParser(description="Train the multimodal demo model.")
    parser.add_argument("stages", nargs="*", default=list(STAGES), help=f"of {', '.join(STAGES)}; all when none is given")
    parser.add_argument("--out", type=Path, default=HERE / "model")
    parser.add_argument("--work", type=Path, required=True, help="folder for what a stage leaves for the next")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vision-steps", type=int, default=600)
    parser.add_argument("--sight-steps", type=int, default=520)
    parser.add_argument("--sound-steps", type=int, default=1800)
    parser.add_argument("--words-steps", type=int, default=600)
    parser.add_argument("--glance-steps", type=int, default=250)
    parser.add_argument("--fresh-steps", type=int, default=120)
    parser.add_argument("--joint-steps", type=int, default=200)
    parser.add_argument("--whole-steps", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=30, help="how long the stage polish lasts, whose learning rate goes by time")
    parser.add_argument("--from", dest="start", type=Path, help="folder of the model that polish starts with; without it that of --out")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the stage polish")
    parser.add_argument("--pictures", type=int, default=700, help="pictures of the stage whole")
    parser.add_argument("--recordings", type=int, default=3000, help="recordings of the stages words and whole")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work = args.work.resolve()  # of a rendezvous by its file URL
    args.work.mkdir(parents=True, exist_ok=True)
    for stage in args.stages:
        STAGES[stage](args.out, args.work, args)


if __name__ == "__main__":
    main()
