#!/usr/bin/env python3
# safetensors_verdicts.py - asks the reference reader (the safetensors crate, through its Python
# package) whether it accepts each file of a corpus of odd files.
"""Usage: safetensors_verdicts.py > tests/golden/safetensors_verdicts.txt

One line a file: name, verdict of the reference, verdict wanted of ours, the file in hexadecimal.
Ours differs on purpose where STRICTER says why."""
import json
import struct
import sys

from safetensors import SafetensorError, deserialize

STRICTER = {
    "duplicate-tensor": "the reference silently keeps the last of two tensors of one name",
    "duplicate-tensor-other-shape": "the same",
    "tensor-as-list": "an accident of the reference's derive; no writer makes it",
    "dtype-as-map": "the same",
    "nine-dimensions": "no model has more than 8 dimensions",
    "nul-in-name": "a name with NUL cannot be a C string",
    "number-of-500-digits": "a number in an unknown member; nobody writes it",
}


def header(text, n=None):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw) if n is None else n) + raw


def tensors(entries, data, **more):
    return header(json.dumps({**more, **entries})) + b"\1" * data


def tensor(shape, begin, end, dtype="F32", **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def one(**more):
    return tensors({"a": {**tensor([2], 0, 8), **more}}, 8)


def raw(member, data=8):
    return header(member) + b"\1" * data


A = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def a_with(extra):
    return raw('{"a":{' + extra + ',"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')


def corpus():
    t = tensor
    yield "one-tensor", one()
    yield "no-tensor", tensors({}, 0)
    yield "no-tensor-but-data", tensors({}, 4)
    yield "metadata", tensors({"a": t([2], 0, 8)}, 8, __metadata__={"format": "pt"})
    yield "metadata-null", tensors({}, 0, __metadata__=None)
    yield "metadata-number", tensors({}, 0, __metadata__={"a": 1})
    yield "metadata-nested", tensors({}, 0, __metadata__={"a": {"b": "c"}})
    yield "metadata-list", tensors({}, 0, __metadata__=["a"])
    yield "metadata-string", tensors({}, 0, __metadata__="a")
    yield "metadata-is-a-tensor", tensors({"__metadata__": t([2], 0, 8)}, 8)
    yield "metadata-twice", raw('{"__metadata__":{},"__metadata__":{},' + A + "}")
    yield "metadata-key-twice", raw('{"__metadata__":{"a":"b","a":"c"},' + A + "}")
    yield "metadata-after", raw("{" + A + ',"__metadata__":{"x":"y"}}')
    yield "duplicate-tensor", raw("{" + A + "," + A + "}")
    yield "duplicate-tensor-other-shape", raw(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' + A + "}")
    yield "duplicate-dtype", a_with('"dtype":"F32"')
    yield "duplicate-shape", a_with('"shape":[2]')
    yield "duplicate-unknown", a_with('"x":1,"x":2')
    yield "unknown-member", one(x=1)
    yield "unknown-member-object", one(x={"y": [1, {"z": None}], "w": {}})
    yield "tensor-as-list", raw('{"a":["F32",[2],[0,8]]}')
    yield "dtype-as-map", raw('{"a":{"dtype":{"F32":null},"shape":[2],"data_offsets":[0,8]}}')
    for n in (1, 100, 124, 125, 126, 127, 128, 200):
        yield f"depth-{n}", a_with('"x":' + "[" * n + "]" * n)
    yield "depth-objects-125", a_with('"x":' + '{"y":' * 125 + "1" + "}" * 125)
    yield "depth-objects-126", a_with('"x":' + '{"y":' * 126 + "1" + "}" * 126)
    yield "space-around", raw(" \n\t\r{" + A.replace(":", " : ").replace(",", " , ") + "} \n\t")
    yield "text-after", raw("{" + A + "}x")
    yield "nul-after", raw("{" + A + "}\0\0")
    yield "trailing-comma", raw("{" + A + ",}")
    yield "comment", raw("{/**/" + A + "}")
    yield "single-quotes", raw("{'a':1}", 0)
    yield "byte-order-mark", raw("\ufeff{" + A + "}")
    yield "list", raw("[]", 0)
    yield "null", raw("null", 0)
    yield "number", raw("1", 0)
    yield "empty-header", raw("", 0)
    yield "cut-object", raw("{" + A)
    yield "cut-string", raw('{"a', 0)
    yield "no-colon", raw('{"a"{}}', 0)
    yield "tensor-null", raw('{"a":null}', 0)
    yield "tensor-number", raw('{"a":1}', 0)
    yield "tensor-string", raw('{"a":"b"}', 0)
    yield "tensor-empty", raw('{"a":{}}', 0)
    yield "data-one-byte-more", tensors({"a": t([2], 0, 8)}, 9)
    yield "data-one-byte-less", tensors({"a": t([2], 0, 8)}, 7)
    yield "data-none", tensors({"a": t([2], 0, 8)}, 0)
    yield "hole-at-start", tensors({"a": t([2], 8, 16)}, 16)
    yield "hole-between", tensors({"a": t([2], 0, 8), "b": t([2], 12, 20)}, 20)
    yield "overlap", tensors({"a": t([2], 0, 8), "b": t([2], 4, 12)}, 12)
    yield "same-place", tensors({"a": t([2], 0, 8), "b": t([2], 0, 8)}, 8)
    yield "inside-another", tensors({"a": t([4], 0, 16), "b": t([1], 4, 8)}, 16)
    yield "reversed", tensors({"a": t([2], 8, 0)}, 8)
    yield "offset-negative", tensors({"a": t([2], -8, 0)}, 8)
    yield "offset-float", tensors({"a": t([2], 0.0, 8)}, 8)
    yield "offset-string", tensors({"a": t([2], "0", 8)}, 8)
    yield "offset-2^64", tensors({"a": t([2], 0, 2**64)}, 8)
    yield "offset-2^64-1", tensors({"a": t([2], 0, 2**64 - 1)}, 8)
    yield "offsets-far", tensors({"a": t([2], 2**63, 2**63 + 8)}, 8)
    yield "offsets-one", one(data_offsets=[0])
    yield "offsets-three", one(data_offsets=[0, 8, 8])
    yield "offsets-none", one(data_offsets=[])
    yield "offsets-null", one(data_offsets=None)
    yield "order-in-header", tensors({"b": t([2], 8, 16), "a": t([2], 0, 8)}, 16)
    yield "shape-negative", one(shape=[-2])
    yield "shape-float", one(shape=[2.0])
    yield "shape-exponent", raw('{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}')
    yield "shape-minus-zero", raw('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}', 0)
    yield "shape-leading-zero", raw('{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}')
    yield "shape-string", one(shape="2")
    yield "shape-null", one(shape=None)
    yield "shape-nested", one(shape=[[2]])
    yield "shape-too-big-for-data", one(shape=[3])
    yield "shape-too-small-for-data", one(shape=[1])
    yield "shape-scalar", tensors({"a": t([], 0, 4)}, 4)
    yield "shape-overflows-to-4", tensors({"a": t([4194305, 4194305, 211106198978564], 0, 16)}, 16)
    yield "shape-overflow-then-zero", tensors({"a": t([2**40, 2**40, 0], 0, 0)}, 0)
    yield "shape-zero-then-huge", tensors({"a": t([0, 2**40, 2**40], 0, 0)}, 0)
    yield "shape-bytes-overflow", tensors({"a": t([2**62], 0, 0)}, 0)
    yield "shape-2^64-1", one(shape=[2**64 - 1])
    yield "shape-2^64", one(shape=[2**64])
    yield "eight-dimensions", tensors({"a": t([1] * 8, 0, 4)}, 4)
    yield "nine-dimensions", tensors({"a": t([1] * 9, 0, 4)}, 4)
    yield "zero-size", tensors({"a": t([0], 0, 0)}, 0)
    yield "zero-size-first", tensors({"a": t([2], 0, 8), "z": t([0], 0, 0)}, 8)
    yield "zero-size-last", tensors({"a": t([2], 0, 8), "z": t([0], 8, 8)}, 8)
    yield "zero-size-inside", tensors({"a": t([2], 0, 8), "z": t([0], 4, 4)}, 8)
    yield "zero-size-beyond", tensors({"a": t([2], 0, 8), "z": t([0], 9, 9)}, 8)
    yield "zero-size-many", tensors({c: t([0], 0, 0) for c in "abc"}, 0)
    yield "dtype-missing", tensors({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8)
    yield "shape-missing", tensors({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, 8)
    yield "offsets-missing", tensors({"a": {"dtype": "F32", "shape": [2]}}, 8)
    yield "dtype-unknown", one(dtype="F31")
    yield "dtype-lower-case", one(dtype="f32")
    yield "dtype-number", one(dtype=1)
    yield "dtype-null", one(dtype=None)
    yield "dtype-long", one(dtype="F" * 100)
    yield "dtype-escaped", raw('{"a":{"dtype":"F\\u00332","shape":[2],"data_offsets":[0,8]}}')
    sizes = {"BOOL": 64, "U8": 64, "I8": 64, "F8_E5M2": 64, "F8_E4M3": 64, "F8_E8M0": 64,
             "F8_E4M3FNUZ": 64, "F8_E5M2FNUZ": 64, "F4": 32, "F6_E2M3": 48, "F6_E3M2": 48,
             "I16": 128, "U16": 128, "F16": 128, "BF16": 128, "I32": 256, "U32": 256, "F32": 256,
             "F64": 512, "I64": 512, "U64": 512, "C64": 512}
    for name, bits in sizes.items():
        yield f"dtype-{name}", tensors({"a": t([8], 0, bits // 8, name)}, bits // 8)
        yield f"dtype-{name}-short", tensors({"a": t([8], 0, bits // 8 - 1, name)}, bits // 8 - 1)
    yield "dtype-F4-odd", tensors({"a": t([3], 0, 2, "F4")}, 2)
    yield "dtype-F6-odd", tensors({"a": t([3], 0, 3, "F6_E2M3")}, 3)
    yield "name-empty", tensors({"": t([2], 0, 8)}, 8)
    yield "name-unicode", tensors({"\u00e9\U0001f600": t([2], 0, 8)}, 8)
    yield "name-raw-utf8", raw('{"\u00e9\U0001f600":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "name-invalid-utf8", header(b'{"a\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}') + b"\1" * 8
    yield "name-lone-surrogate", raw('{"a\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "name-low-surrogate", raw('{"a\\udc00":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "name-wrong-pair", raw('{"a\\ud800\\u0041":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "name-bad-escape", raw('{"\\x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "name-bad-hex", raw('{"\\u00g0":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "name-all-escapes", raw('{"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "name-control", raw('{"a\x01":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "nul-in-name", raw('{"a\\u0000":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
    yield "unknown-nan", a_with('"x":NaN')
    yield "unknown-1e999", a_with('"x":1e999')
    yield "unknown-1e-999", a_with('"x":1e-999')
    yield "unknown-big-integer", a_with('"x":' + "9" * 40)
    yield "unknown-numbers", a_with('"x":[0,-1,1.5,-2.5e+3,1E-2]')
    for i, bad in enumerate(("01", "1.", ".5", "-", "1e", "1e+", "+1", "0x1")):
        yield f"unknown-bad-number-{i}", a_with('"x":' + bad)
    yield "number-of-500-digits", a_with('"x":0.' + "0" * 499 + "1")
    yield "unknown-words", a_with('"x":[true,false,null]')
    yield "unknown-bad-word", a_with('"x":tru')
    yield "unknown-bad-string", a_with('"x":"\\q"')
    yield "unknown-missing-value", a_with('"x":')
    yield "unknown-wrong-closer", a_with('"x":[}')
    yield "misaligned-data", raw("{" + A + "} ")
    yield "misaligned-tensor", tensors({"a": t([1], 0, 1, "U8"), "b": t([2], 1, 9)}, 9)
    yield "file-empty", b""
    yield "file-7-bytes", b"\1" + b"\0" * 6
    yield "file-8-bytes", b"\0" * 8
    yield "header-length-beyond-file", header("{}", 3)
    yield "header-length-short", header("{}", 1)
    yield "header-length-2^63", header("{}", 2**63)
    yield "header-length-2^64-1", header("{}", 2**64 - 1)
    yield "header-length-100M+1", header("{}", 100_000_001)
    yield "header-length-100M", header("{}", 100_000_000)


def main():
    for name, data in corpus():
        try:
            deserialize(data)
            verdict = "accept"
        except SafetensorError:
            verdict = "refuse"
        if name in STRICTER and verdict != "accept":
            sys.exit(f"{name}: the reference refuses it too; take it out of STRICTER")
        ours = "refuse" if name in STRICTER else verdict
        print(name, verdict, ours, data.hex() or "-")


main()
