# audio_hf.py - the speech encoder of transformers and of this project on the same weights, in one run.
"""Usage: python audio_hf.py BENCH_AUDIO [BLOCKS [SECONDS...]]

Makes a random checkpoint of the model's own widths with BLOCKS blocks (default 4 of the 24) in a scratch folder, and
prints for each length the best of three of: transformers in bf16 and in float32, and BENCH_AUDIO (the program
tests/bench/bench_audio) on the bf16 file.
"""
import pathlib
import subprocess
import sys
import tempfile
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "oracle"))
import audio_encoder_golden as g  # noqa: E402


def best_of_three(embed, features):
    took = []
    for _ in range(3):
        begin = time.monotonic()
        g.embeddings(embed, [features], "speech")
        took.append(time.monotonic() - begin)
    return min(took)


def main():
    blocks = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    lengths = [float(s) for s in sys.argv[3:]] or [5.0, 30.0]
    case = dict(hidden=1024, inner=1536, heads=16, blocks=blocks, kernel=3, channels=1024, reach=500, text=3072,
                hub=True, dtype=torch.bfloat16, seed=1)
    embed, config = g.make_model(case)
    # As transformers ships it: the fast attention, and no change to the mask, which one clip does not have.
    embed.encoder.__class__ = g.m.Phi4MultimodalAudioModel
    config.audio_config._attn_implementation = "sdpa"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {blocks} blocks")
    with tempfile.TemporaryDirectory() as folder:
        g.save(pathlib.Path(folder), case, embed, config)
        for seconds in lengths:
            features = g.features(1, int(seconds * 100) - 2)
            f32 = best_of_three(embed.float(), features)
            bf16 = best_of_three(embed.bfloat16(), features.bfloat16())
            print(f"transformers: float32 {f32:.3f} s, bf16 {bf16:.3f} s for {seconds} s of sound")
            print(subprocess.run([sys.argv[1], folder, str(seconds)], check=True, capture_output=True,
                                 text=True).stdout, end="")


if __name__ == "__main__":
    main()
