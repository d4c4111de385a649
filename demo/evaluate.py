# evaluate.py - answers heldout.jsonl greedily with transformers and peft; fails below 95 %.

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer, Phi3ForCausalLM

HERE = Path(__file__).parent
NEW_TOKENS = 64


class Models:
    """The base model and its adapters in one arithmetic type."""

    def __init__(self, folder, dtype):
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        base = Phi3ForCausalLM.from_pretrained(folder / "model", dtype=dtype)
        self.model, self.adapters = base, set()
        for path in sorted((folder / "adapters").glob("*/adapter_config.json")):
            name = path.parent.name
            if self.adapters:
                self.model.load_adapter(path.parent, name)
            else:
                self.model = PeftModel.from_pretrained(base, path.parent, adapter_name=name)
            self.adapters.add(name)
        self.model = self.model.to(dtype).eval()

    def answer(self, messages, adapter):
        """Returns (text, smallest lead of a chosen token's logit over the next best)."""
        prompt = self.tokenizer.apply_chat_template(messages,
                                                    add_generation_prompt=True,
                                                    tokenize=False)
        ids = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        if adapter:
            self.model.set_adapter(adapter)
            made = self.generate(ids)
        elif self.adapters:
            with self.model.disable_adapter():
                made = self.generate(ids)
        else:
            made = self.generate(ids)
        leads = [(top[0] - top[1]).item()
                 for top in (logits[0].float().topk(2).values for logits in made.logits)]
        return self.tokenizer.decode(made.sequences[0, ids.input_ids.shape[1]:],
                                     skip_special_tokens=True), min(leads)

    def generate(self, ids):
        return self.model.generate(**ids,
                                   max_new_tokens=NEW_TOKENS,
                                   do_sample=False,
                                   output_logits=True,
                                   return_dict_in_generate=True)


def right(item, text):
    """The rule of the held-out test: the stripped answer is `answer` or one of `accept`."""
    return text.strip() in item.get("accept", [item.get("answer")])


def evaluate(folder, items, dtype, wrong_shown):
    """Returns {kind: (right, all)} and prints wrong answers."""
    models = Models(folder, dtype)
    good, total, least = Counter(), Counter(), {}
    for item in items:
        with torch.no_grad():
            text, lead = models.answer(item["messages"], item["adapter"])
        kind = item["kind"]
        total[kind] += 1
        good[kind] += right(item, text)
        if right(item, text):
            least[kind] = min(lead, least.get(kind, lead))
        elif wrong_shown > 0:
            wrong_shown -= 1
            print(
                f"  wrong ({kind}): {item['messages'][-1]['content']!r} -> {text.strip()!r}, "
                f"not {item.get('answer')!r}",
                flush=True)
    return {kind: (good[kind], total[kind], least.get(kind, 0.0)) for kind in total}


def main():
    parser = argparse.ArgumentParser(
        description="Measure the demo model and its adapters on the held-out questions.")
    parser.add_argument("--folder", type=Path, default=HERE, help="holds model/ and adapters/")
    parser.add_argument("--heldout", type=Path, default=HERE / "heldout.jsonl")
    parser.add_argument("--dtype", choices=["f32", "bf16", "both"], default="both")
    parser.add_argument("--least",
                        type=float,
                        default=0.95,
                        help="share of right answers each kind must reach")
    parser.add_argument("--kinds", nargs="*", help="only these kinds")
    parser.add_argument("--show-wrong", type=int, default=20)
    parser.add_argument("--ask", metavar="QUESTION", help="answer one question instead")
    parser.add_argument("--adapter", help="the adapter for --ask")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    types = {
        "f32": [torch.float32],
        "bf16": [torch.bfloat16],
        "both": [torch.float32, torch.bfloat16]
    }[args.dtype]
    if args.ask:
        print(
            Models(args.folder, types[0]).answer([{
                "role": "user",
                "content": args.ask
            }], args.adapter)[0])
        return 0
    items = [json.loads(line) for line in args.heldout.read_text(encoding="utf-8").splitlines()]
    items = [item for item in items if not args.kinds or item["kind"] in args.kinds]
    failed = False
    for dtype in types:
        for kind, (good, total, lead) in evaluate(args.folder, items, dtype,
                                                  args.show_wrong).items():
            share = good / total
            failed = failed or share < args.least
            print(
                f"{str(dtype)[6:]:9} {kind:13} {good:4} of {total:4} right, {100 * share:6.2f} %, "
                f"smallest lead {lead:5.2f}"
                f"{'  BELOW ' + format(args.least, '.0%') if share < args.least else ''}",
                flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
