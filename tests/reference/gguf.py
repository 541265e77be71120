"""GGUF files of version 3 as Python values, for tests that change a golden file."""
import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value
U32, STRING, ARRAY = 4, 8, 9
F32, F16, Q8_0, BF16 = 0, 1, 8, 30
BLOCKS = {F32: (1, 4), F16: (1, 2), Q8_0: (32, 34), BF16: (1, 2)}  # values and bytes of a block
ALIGN = 32


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def read_text(data, at):
    (n,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + n].decode(), at + 8 + n


def skip_value(data, at, kind):
    """Where the value of a key ends."""
    if kind == STRING:
        return read_text(data, at)[1]
    if kind != ARRAY:
        return at + SIZES[kind]
    kind, n = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(n):
        at = skip_value(data, at, kind)
    return at


def read(path):
    """(keys: name -> bytes of type and value; tensors: name -> (dims, type, bytes)), in the file's order."""
    with open(path, "rb") as f:
        data = f.read()
    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
    at, keys, entries = 24, {}, []
    for _ in range(n_keys):
        name, begin = read_text(data, at)
        at = skip_value(data, begin + 4, struct.unpack_from("<I", data, begin)[0])
        keys[name] = data[begin:at]
    for _ in range(n_tensors):
        name, at = read_text(data, at)
        (n_dims,) = struct.unpack_from("<I", data, at)
        dims = struct.unpack_from(f"<{n_dims}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * n_dims)
        at += 4 + 8 * n_dims + 12
        entries.append((name, dims, kind, offset))
    base = at + -at % ALIGN
    tensors = {}
    for name, dims, kind, offset in entries:
        n = 1
        for side in dims:
            n *= side
        per_block, n_bytes = BLOCKS[kind]
        tensors[name] = dims, kind, data[base + offset : base + offset + n // per_block * n_bytes]
    return keys, tensors


def write(path, keys, tensors):
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)))
    for name, raw in keys.items():
        out += text(name) + raw
    offset = 0
    for name, (dims, kind, raw) in tensors.items():
        out += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        offset += len(raw) + -len(raw) % ALIGN
    for raw in [b"", *(raw for _, _, raw in tensors.values())]:
        out += raw + bytes(-len(out + raw) % ALIGN)
    with open(path, "wb") as f:
        f.write(out)
