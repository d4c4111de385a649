#!/usr/bin/env python3
"""json_schema_golden.py - random schemas and texts, with the verdicts of Python's json and jsonschema.

Usage: json_schema_golden.py > tests/golden/json_schema.txt   (needs: pip install jsonschema rfc3339-validator)
A line "S SCHEMA" begins a case; "+ TEXT" is a document of it in the form that the automaton writes (properties in
the schema's order, at most one space behind , and :), "- TEXT" is none.  Texts that are documents in another form
(other order, other white space, 3.0 as an integer) are left out: the automaton may refuse them.
"""
import json
import random

import jsonschema

rng = random.Random(20240611)
CHECKER = jsonschema.Draft202012Validator.FORMAT_CHECKER
assert {"date", "time", "date-time", "uuid", "ipv4"} <= set(CHECKER.checkers)
WORDS = ["", "a", "ab", "abc", "red", "green", 'q"q', "back\\slash", "é", "漢字", "😀x", "tab\t", "\u0001", "x/y", "null"]
PATTERNS = {
    "^[a-z]{2,4}$": ["ab", "abcd", "a", "abcde", "Ab"],
    "^(foo|ba[rz])+$": ["foo", "barbaz", "fo", ""],
    "[0-9]": ["x1y", "1", "x", ""],
    "^[^a-c]*$": ["", "xyz", 'q"', "\\", "xbx", "漢"],
    "^\\d{3}-\\w+$": ["123-a_9", "12-a", "123-"],
    "^a|b$": ["axx", "xxb", "xax", "b"],
    "^.{3}$": ["abc", "漢字é", "ab", "a\nb"],
    "^(?:é|😀)?x$": ["éx", "😀x", "x", "yx"],
}
FORMATS = {
    "date": ["2024-02-29", "2023-02-29", "2023-12-31", "2023-13-01", "2023-04-31"],
    "time": ["10:11:12Z", "23:59:59.5+02:00", "24:00:00Z", "10:11Z"],
    "date-time": ["2024-05-06T07:08:09Z", "2024-05-06 07:08:09", "2024-05-06T07:08:61Z"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400"],
    "ipv4": ["1.2.3.4", "255.255.255.255", "256.1.1.1", "1.2.3"],
}


def leaf():
    kind = rng.randrange(12)
    if kind == 0:
        return {"type": "string"}
    if kind == 1:
        low = rng.randrange(3)
        return {"type": "string", "minLength": low, "maxLength": low + rng.randrange(3)}
    if kind == 2:
        return {"type": "string", "pattern": rng.choice(list(PATTERNS))}
    if kind == 3:
        return {"type": "string", "format": rng.choice(list(FORMATS))}
    if kind == 4:
        return {"type": "integer"}
    if kind == 5:
        low = rng.choice([-1000, -17, -1, 0, 1, 9, 95])
        return {"type": "integer", rng.choice(["minimum", "exclusiveMinimum"]): low,
                rng.choice(["maximum", "exclusiveMaximum"]): low + rng.choice([1, 3, 12, 110, 5000])}
    if kind == 6:
        low = rng.choice([-20, -1, 0, 5])
        bounds = {rng.choice(["minimum", "exclusiveMinimum"]): low,
                  rng.choice(["maximum", "exclusiveMaximum"]): low + rng.choice([1, 2, 30])}
        return {"type": "number", **dict(rng.sample(list(bounds.items()), rng.randint(0, 2)))}
    if kind == 7:
        return {"type": rng.choice([["boolean", "null"], ["string", "null"], "boolean", "null", ["integer", "string"]])}
    if kind == 8:
        return {"enum": rng.sample([1, "1", None, True, "red", 'q"q', 1.5, -3, {"a": [1]}, [], "漢字", ""], 4)}
    if kind == 9:
        return {"const": rng.choice(["x", 7, None, {"k": "v", "n": [1, {"z": None}]}, [True, "é"], "\u0001\n"])}
    if kind == 10:
        return {"type": "string", "minLength": 2, "pattern": "^[ab]*$", "maxLength": 4}
    return rng.choice([{}, True, {"type": "object"}, {"type": "array"}])


def schema(depth):
    kind = rng.randrange(8) if depth > 0 else 0
    if kind <= 1:
        return leaf()
    if kind <= 4:
        names = rng.sample(["a", "ab", "b", "c d", "é", 'q"', ""], rng.randint(0, 4))
        out = {"type": "object", "properties": {n: schema(depth - 1) for n in names},
               "additionalProperties": rng.choice([False, False, {"type": "integer"}, True])}
        if names and rng.random() < 0.8:
            out["required"] = rng.sample(names, rng.randint(1, len(names)))
        return out
    if kind == 5:
        out = {"type": "array", "items": schema(depth - 1)}
        if rng.random() < 0.6:
            out["minItems"] = rng.randrange(3)
            out["maxItems"] = out["minItems"] + rng.randrange(3)
        if rng.random() < 0.3:
            out["prefixItems"] = [schema(depth - 1) for _ in range(rng.randint(1, 2))]
        return out
    if kind == 6:
        return {rng.choice(["anyOf", "anyOf", "anyOf"]): [schema(depth - 1) for _ in range(rng.randint(1, 3))]}
    return {"allOf": [{"type": "object", "properties": {"a": schema(depth - 1)}, "required": ["a"],
                       "additionalProperties": True},
                      {"properties": {"b": schema(depth - 1)}, "additionalProperties": True}]}


def number():
    return rng.choice([0, 1, -1, 7, 10, 94, 96, 100, 1234, -17, 0.5, -0.25, 3.125, 29.75, -19.5, 4.001, 123456789])


def instance(s, wild):
    """Something like a document of s; with chance `wild` not quite."""
    if s is True or s == {} or rng.random() < wild:
        return rng.choice([None, True, number(), rng.choice(WORDS), [], {}, [1, "x"], {"k": {"n": []}}])
    if "enum" in s:
        return rng.choice(s["enum"])
    if "const" in s:
        return s["const"]
    if "anyOf" in s:
        return instance(rng.choice(s["anyOf"]), wild)
    if "allOf" in s:
        out = {"a": instance(s["allOf"][0]["properties"]["a"], wild), "b": instance(s["allOf"][1]["properties"]["b"], wild)}
        for name in list(out):
            if rng.random() < 0.15:
                del out[name]
        return out
    kind = s["type"] if isinstance(s["type"], str) else rng.choice(s["type"])
    if kind == "string":
        if "format" in s:
            return rng.choice(FORMATS[s["format"]])
        return rng.choice(PATTERNS.get(s.get("pattern"), WORDS + ["abab", "aabba"]))
    if kind in ("integer", "number"):
        bounds = [v + d for k, v in s.items() if "imum" in k for d in (-1, 0, 1, 0.5)]
        return rng.choice(bounds + [number()])
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    if kind == "array":
        items = s.get("items", {})
        prefix = s.get("prefixItems", [])
        n = rng.randint(0, s.get("maxItems", 3) + (rng.random() < 0.2))
        return [instance(prefix[i] if i < len(prefix) else items, wild) for i in range(n)]
    out = {}
    for name, value in s.get("properties", {}).items():
        if name in s.get("required", []) or rng.random() < 0.6:
            if rng.random() < 0.93:
                out[name] = instance(value, wild)
    if rng.random() < 0.3:
        out[rng.choice(["z", "abc", "漢", "c"])] = rng.choice([3, "s", []])
    return out


def has_integral_float(o):
    if isinstance(o, float):
        return o == int(o)
    if isinstance(o, list):
        return any(map(has_integral_float, o))
    return isinstance(o, dict) and any(map(has_integral_float, o.values()))


def refuse_twice(pairs):
    names = [k for k, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name twice")
    return dict(pairs)


def bad_constant(_):
    raise ValueError("not JSON")


def valid(validator, text):
    try:
        return validator.is_valid(json.loads(text, parse_constant=bad_constant, object_pairs_hook=refuse_twice))
    except (ValueError, RecursionError):
        return False


def mutate(text):
    at = rng.randrange(len(text) + 1)
    return rng.choice([text[:at] + text[at + 1:], text[:at] + rng.choice('"{}[],:0 \\x9-') + text[at:], text[:at],
                       text[:at] + text[at:at + 1] + text[at:]])


def main():
    fixed = [
        {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
            "v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["v", "next"], "additionalProperties": False}}},
        {"type": "array", "minItems": 1, "items": {"anyOf": [
            {"type": "object", "properties": {"k": {"const": t}, t: {"type": y}}, "required": ["k", t],
             "additionalProperties": False} for t, y in [("a", "integer"), ("b", "string"), ("c", "null")]]}},
    ]
    extra = {0: ['{"v":1,"next":{"v":2,"next":null}}', '{"v":1,"next":{"v":2}}', '{"v": 1, "next": null}'],
             1: ['[{"k":"a","a":1},{"k":"b","b":"x"}]', '[{"k":"a","b":"x"}]', '[{"k":"c","c":null}]', "[]"]}
    count = 0
    for i in range(150):
        s = fixed[i] if i < len(fixed) else schema(3)
        if s is True:
            continue
        validator = jsonschema.Draft202012Validator(s, format_checker=CHECKER)
        lines = {}
        for text in extra.get(i, []):
            lines[text] = "+" if valid(validator, text) else "-"
        for _ in range(14 if i >= len(fixed) else 0):
            o = instance(s, rng.choice([0, 0, 0.15]))
            if has_integral_float(o):
                continue
            text = json.dumps(o, ensure_ascii=False, separators=rng.choice([(",", ":"), (", ", ": ")]))
            text.encode()
            lines[text] = "+" if valid(validator, text) else "-"
            for _ in range(2):
                other = mutate(text)
                if other not in lines and not valid(validator, other):
                    lines[other] = "-"
        print("S", json.dumps(s, ensure_ascii=False))
        for text, sign in lines.items():
            if "\n" not in text:
                print(sign, text)
                count += 1
    return count


if __name__ == "__main__":
    main()
