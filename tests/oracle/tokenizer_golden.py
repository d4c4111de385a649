#!/usr/bin/env python3
# tokenizer_golden.py - trains small BPE vocabularies with Hugging Face tokenizers and notes what they make of awkward text.
#
# Usage: python3 tests/oracle/tokenizer_golden.py    (needs tokenizers 0.23; its Unicode is 16.0)
#
# Writes tests/golden/tokenizer/NAME/tokenizer.json and NAME/cases.txt, one JSON object on a line:
# text (or hex: bytes that are not UTF-8), special: ids with added tokens recognised, plain: ids with
# all of it taken as text.
import json
import os
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden", "tokenizer")

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
HEAD, TAIL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{HEAD}*{TAIL}+{CONTRACTION}?"
         rf"|[^\r\n\p{{L}}\p{{N}}]?{HEAD}+{TAIL}*{CONTRACTION}?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

TRAINING = """
The door of the airlock opens only when the other door is closed. Don't open both: that's how air
gets lost. We'll say it again, WE'LL SAY IT AGAIN, they're closed. A model answers inside, the bridge
asks from outside. http://127.0.0.1:8000/generate returns 200 text/plain. int main(void) { return 0; }
for (size_t i = 0; i < n; i++) { sum += x[i] * w[i]; }        /* eight spaces */
1 + 1 = 2, 12345 * 678 = 8369910, 3.14159, 1,000,000. _______ ------- ======= .......
Die Schleuse öffnet sich nur, wenn die andere Tür geschlossen ist. Größe, Übermut, Äpfel.
Le sas s'ouvre seulement quand l'autre porte est fermée. Où êtes-vous ? Ça va très bien.
Шлюз открывается только тогда, когда закрыта другая дверь. Где ты находишься сейчас?
扉は一つだけ開きます。もう一つの扉は閉まっています。 空気は逃げません。 元気ですか。
气闸的门一次只能打开一扇。你好吗？我很好，谢谢。 안녕하세요 문은 하나만 열립니다. 감사합니다
الباب يفتح فقط عندما يكون الباب الآخر مغلقا שלום הדלת נפתחת רק כאשר השנייה סגורה
दरवाज़ा तभी खुलता है जब दूसरा बंद हो। ประตูเปิดได้ทีละบาน 🙂 🙂 👍🏽 👩‍👩‍👧‍👦 🚀🚀
""" * 4

AWKWARD = [
    "", " ", "  ", "a", "Hello world", "Hello  world ", "\n", "\r\n", "\r", " \n", "\n ", "a\n\n\nb",
    "  \n  \n  x", "\t\tx", "x\t", "a" * 70, "_" * 131, " " * 200, " " * 200 + "x", "\n" * 77,
    "=" * 300 + "\n", "ab" * 400, "don't DON'T Don'T we'LL i'Ve y'all 'tis rock'n'roll o's's x'd'm",
    "'s 'S 'ſ 'RE 're'", "it’s “quoted” – dash — …", "1 12 123 1234 12345678901234567890 ½ Ⅷ ٣٤٥ ²³",
    "CamelCaseWord XMLHttpRequest iPhone ABCdefGHI aBcDeF", "ǅ ǆ Ǆ ǈubljana ßẞ İıŉ", "ʰˠªº ᴬᴮ",
    "e\u0301 E\u0301 \u0301 \u0301\u0308A \u0301abc .\u0301x 1\u0301", "\u0301", "A\u0301B\u0301c",
    "漢字かな交じり文", "漢A字B", "日本語ABC", "ABC日本語", "日ABC", "中文，标点。「引号」", "한국어 텍스트 ㅎㅏㄴ \u1112\u1161\u11ab",
    "مرحبا بالعالم", "שָׁלוֹם עולם", "अनुच्छेद क्‍ष", "ภาษาไทยไม่มีวรรค", "Ελληνικά ΑΣ", "Привет, мир!",
    "🙂", "👩‍👩‍👧‍👦", "🏳️‍🌈 👍🏽 🇩🇪", "\u200d\u200d\u200d", "\u200b\u200c\u2060\ufeff", "a\u00a0b\u00a0\u00a0c", "\u2028\u2029x",
    "\u0085x \u0085", "\u3000全角　空白", "\u180e\u180ex", "\u1680 \u205f \u202f", "\x1c\x1d\x1e\x1f \x0b\x0c", "\x00\x01\x7f",
    "\ue000\uf8ff\U000f0000\U0010fffd", "\ufffd\ufffe\uffff", "\U0001d400\U0001d41a \U0001e900\U0001e922", "\U000e0100\ufe0f",
    "\U00010d50\U00010d70 \U000105c0", "\u0e31\u0e31", "//comment\n/* x *//\n\n", "http://a.b/c?d=e&f=g#h", "a/b/c\n/d",
    "!!!\r\n///", " !\n", "? ", "...\n\n\n", "#include <stdio.h>\n\tint x = 0;\n", "$100,000.00 50%",
    "<|end|>", "<|user|> \n\t\u00a0\u2003Hello<|end|> <|assistant|>", "<|user|>\nHello<|end|>\n<|assistant|>\n",
    "a<|end|>b", "<|end", "<|end|", "<|<|end|>|>", "<|tool|>[{}]<|/tool|>", "<|tool_call|> x <|/tool_call|> y",
    "<|endoftext|>  x", "  <|endoftext|>", "<|END|>", "＜|end|＞", "<|end|\u200b>", "<|end|><|end|>\n\n<|end|>",
    "<|e\u200dnd|>", "xXwordXx word words sword word", "word\u00b2 ²word _word_ word's éword \u24d0word", " [L]  x [R]  y  [L][R] ",
    "\u00a0[L]\n[R]\u2028z", "[LL] [L [LR]", "N[N]n",
]
INVALID = [b"\x80", b"a\xffb", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82a", b"\xf0\x9f\x99", b"\xf0\x9f\x99\xf0\x9f\x99\x82",
           b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\xf4\x90\x80\x80", b"x\xe0\x80\x80y", b"<|end|>\xfe<|user|>\xff x"]

PHI4_TOKENS = [("<|endoftext|>", True, False), ("<|endofprompt|>", True, False)] + \
    [(f"<|{name}|>", True, True) for name in ("assistant", "end", "user", "system")] + \
    [(f"<|{name}|>", False, True) for name in ("tool", "/tool", "tool_call", "/tool_call", "tool_response")] + \
    [("<|tag|>", True, True)]


def random_texts(count, seed):
    pieces = [t for t in AWKWARD if t] + list("aA1 _\n'.漢\u0301\u00a0")
    rng = random.Random(seed)
    for _ in range(count):
        texts = [rng.choice(pieces) for _ in range(rng.randint(2, 5))]
        yield "".join(t[:12] if len(t) > 12 and rng.random() < 0.7 else t[:40] for t in texts)


def train(pre_tokenizer, size):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TRAINING.split("\n"), trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def write(name, tokenizer, added, merges_as_text=False, **model):
    document = json.loads(tokenizer.to_str())
    document["model"].update(model)
    plain = Tokenizer.from_str(json.dumps(document))
    if merges_as_text:
        document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    special = Tokenizer.from_str(json.dumps(document))
    for token in added:
        (special.add_special_tokens if token.special else special.add_tokens)([token])
    document["added_tokens"] = json.loads(special.to_str())["added_tokens"]

    os.makedirs(os.path.join(GOLDEN, name), exist_ok=True)
    with open(os.path.join(GOLDEN, name, "tokenizer.json"), "w", encoding="utf-8") as out:
        json.dump(document, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")
    with open(os.path.join(GOLDEN, name, "cases.txt"), "w", encoding="ascii") as out:
        for data in AWKWARD + list(random_texts(150, 7)) + INVALID:
            is_text = isinstance(data, str)
            text = data if is_text else data.decode("utf-8", "replace")
            case = {"text": data} if is_text else {"hex": data.hex()}
            case["special"] = special.encode(text, add_special_tokens=False).ids
            case["plain"] = plain.encode(text, add_special_tokens=False).ids
            out.write(json.dumps(case, separators=(",", ":")) + "\n")


def main():
    split = pre_tokenizers.Split
    byte_level = pre_tokenizers.ByteLevel
    phi4 = [AddedToken(text, special=special, rstrip=rstrip, normalized=False)
            for text, special, rstrip in PHI4_TOKENS]
    flags = [AddedToken("[L]", lstrip=True, special=True, normalized=False),
             AddedToken("[R]", rstrip=True, special=False, normalized=True),
             AddedToken("[LR]", lstrip=True, rstrip=True, special=True, normalized=True),
             AddedToken("[LL]", special=True, normalized=False),
             AddedToken("word", single_word=True, special=False, normalized=False),
             AddedToken("[N", special=True, normalized=True)]
    write("o200k", train(pre_tokenizers.Sequence([
        split(Regex(O200K), "removed", invert=True),
        byte_level(add_prefix_space=False, use_regex=False)]), 900), phi4)
    write("gpt2", train(byte_level(add_prefix_space=False), 700), phi4[:1], merges_as_text=True)
    write("cl100k", train(pre_tokenizers.Sequence([
        split(Regex(CL100K), "isolated"),
        byte_level(add_prefix_space=False, use_regex=False)]), 700), flags, ignore_merges=True)
    write("prefix", train(byte_level(add_prefix_space=True), 500), flags)


if __name__ == "__main__":
    main()
