# vocabulary.py - trains the demo's byte-level BPE vocabulary and writes the tokenizer files.

import json

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# How o200k splits text before byte pairs are merged.
PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# (text, special, rstrip): the added tokens of Phi-4-mini with its flags; the ids are our own.
ADDED = [("<|endoftext|>", True, False), ("<|endofprompt|>", True, False)] + \
    [(f"<|{name}|>", True, True) for name in ("assistant", "end", "user", "system")] + \
    [(f"<|{name}|>", False, True)
     for name in ("tool", "/tool", "tool_call", "/tool_call", "tool_response")] + \
    [("<|tag|>", True, True)]

# <|ROLE|>CONTENT<|end|> for each message; a system message may have <|tool|>TOOLS<|/tool|> in it.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}"
    "{{ '<|tool|>' + message['tools'] + '<|/tool|>' }}"
    "{% endif %}{{ '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}")


def added_token(text, special, rstrip):
    return {
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": rstrip,
        "normalized": False,
        "special": special
    }


def train(text, size, folder, added=ADDED):
    """Makes `size` bytes and merges from the texts, writes the files, returns the added ids."""
    tokenizer = Tokenizer(
        models.BPE(continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size,
                                  initial_alphabet=alphabet,
                                  special_tokens=[],
                                  show_progress=False,
                                  min_frequency=8)
    tokenizer.train_from_iterator(text, trainer)
    made = json.loads(tokenizer.to_str())
    first = tokenizer.get_vocab_size()
    made["added_tokens"] = [{
        "id": first + i,
        **added_token(*token)
    } for i, token in enumerate(added)]
    write(folder / "tokenizer.json", made)
    end_of_text = {key: value for key, value in added_token(*added[0]).items() if key != "special"}
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    write(folder / "special_tokens_map.json", {name: end_of_text for name in names})
    write(
        folder / "tokenizer_config.json", {
            "add_bos_token": False,
            "add_eos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(first + i): added_token(*token)
                for i, token in enumerate(added)
            },
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 4096,
            "tokenizer_class": "GPT2Tokenizer",
            **{
                name: added[0][0]
                for name in names
            }
        })
    return {text: first + i for i, (text, _, _) in enumerate(added)}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
