"""logits_bf16.py - how far transformers in bf16 is from itself in float32 on the golden models.

Prints, for each model of tests/golden/logits, the largest difference of two logits over the largest logit
of the row: the yardstick for the tolerance of the CUDA ops in tests/test_logits.c.
"""
import pathlib
import torch
from transformers import AutoModelForCausalLM

golden = pathlib.Path(__file__).parent.parent / "golden" / "logits"
torch.set_num_threads(1)
for case in sorted(golden.iterdir()):
    exact, rounded = (AutoModelForCausalLM.from_pretrained(case, dtype=d, attn_implementation="eager")
                      for d in (torch.float32, torch.bfloat16))
    worst, adapter = 0.0, False
    for line in (case / "expected.txt").read_text().splitlines():
        words = line.split()
        if words[0] == "sequence":
            adapter = False
        elif words[0] == "adapter":
            adapter = True
        elif words[0] == "prompt" and not adapter:
            ids = torch.tensor([[int(w) for w in words[1:]]])
            with torch.no_grad():
                a, b = exact(ids).logits[0], rounded(ids).logits[0].float()
            worst = max(worst, ((a - b).abs().amax(1) / a.abs().amax(1)).max().item())
    print(f"{case.name}: {worst:.3g}")
