"""GGUF version 3, as far as the demo pair needs it: metadata, and tensors of f32 and f16."""
import struct

import numpy as np

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
FORMATS = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}
TYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2")}  # ggml's numbers
ALIGN = 32


def pack_string(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def pack_value(kind, value):
    if kind == STRING:
        return pack_string(value)
    if isinstance(kind, tuple):  # (ARRAY, kind of the items)
        return struct.pack("<IQ", kind[1], len(value)) + b"".join(pack_value(kind[1], v) for v in value)
    return struct.pack(FORMATS[kind], value)


def gguf_write(path, keys, tensors):
    """keys: {name: (kind, value)}, kind (ARRAY, kind) for arrays; tensors: {name: float32 or float16 array}."""
    number = {dtype: n for n, dtype in TYPES.items()}
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)))
        for name, (kind, value) in keys.items():
            f.write(pack_string(name) + struct.pack("<I", kind[0] if isinstance(kind, tuple) else kind))
            f.write(pack_value(kind, value))
        offset = 0
        for name, t in tensors.items():
            f.write(pack_string(name) + struct.pack("<I", t.ndim) + struct.pack(f"<{t.ndim}Q", *t.shape[::-1]))
            f.write(struct.pack("<IQ", number[t.dtype], offset))
            offset += t.nbytes + -t.nbytes % ALIGN
        for t in tensors.values():
            f.write(bytes(-f.tell() % ALIGN) + t.tobytes())
        f.write(bytes(-f.tell() % ALIGN))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        values = struct.unpack_from(fmt, self.data, self.at)
        self.at += struct.calcsize(fmt)
        return values if len(values) > 1 else values[0]

    def string(self):
        n = self.take("<Q")
        self.at += n
        return self.data[self.at - n : self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            item, n = self.take("<IQ")
            return [self.value(item) for _ in range(n)]
        return self.take(FORMATS[kind])


def gguf_read(path):
    """-> {name: value}, {name: float32 array}"""
    with open(path, "rb") as f:
        r = Reader(f.read())
    magic, version = r.data[:4], struct.unpack_from("<I", r.data, 4)[0]
    if magic != b"GGUF" or version != 3:
        raise SystemExit(f"{path}: not a GGUF file of version 3")
    r.at = 8
    n_tensors, n_keys = r.take("<QQ")
    keys = {}
    for _ in range(n_keys):
        name = r.string()
        keys[name] = r.value(r.take("<I"))
    places = []
    for _ in range(n_tensors):
        name, n_dims = r.string(), r.take("<I")
        dims = [r.take("<Q") for _ in range(n_dims)]
        places.append((name, dims[::-1], *r.take("<IQ")))
    start = r.at + -r.at % ALIGN
    tensors = {}
    for name, shape, kind, offset in places:
        flat = np.frombuffer(r.data, TYPES[kind], int(np.prod(shape)), start + offset)
        tensors[name] = flat.reshape(shape).astype(np.float32)
    return keys, tensors
