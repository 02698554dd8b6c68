#!/usr/bin/env python3
"""The sealed file format, version 1, a second time: independent of the Rust implementation.

    check.py [v1.json]           open every file of the list, and seal it again to the same bytes
    check.py --write [v1.json]   make the list anew from fixed inputs

Needs Python 3.9 and the package `cryptography`. Written from the text of the format for one purpose,
known answers: it holds a whole file in memory and makes no attempt to protect keys.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"STRNGRM1"
HEADER, TRAILER, TAG, UNIT = 4096, 32, 16, 4096


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(ikm)


def lp(x: bytes) -> bytes:
    return struct.pack("<I", len(x)) + x


def header_bytes(object_id, writer, salt, commitment, version, asset, chunk_size) -> bytes:
    log2 = chunk_size.bit_length() - 1
    assert 1 << log2 == chunk_size and 16 <= log2 <= 24
    front = MAGIC + bytes([1, log2, 0, 0]) + object_id + writer + salt + commitment
    assert len(front) == 100
    return (front + struct.pack("<I", version) + lp(asset.encode())).ljust(HEADER, b"\0")


def file_keys(version_key, asset, version, writer, object_id, header):
    """data key, data nonce, index key, index nonce, commitment."""
    writer_info = b"strongroom/writer/v1" + lp(asset.encode()) + struct.pack("<I", version) + writer
    writer_key = hkdf(version_key, b"", writer_info, 32)
    object_key = hkdf(writer_key, b"", b"strongroom/object/v1" + object_id, 32)
    salt = header[44:68]
    digest = hashlib.sha256(header[:68] + bytes(32) + header[100:]).digest()
    out = hkdf(object_key, salt, b"strongroom/sealed/v1" + digest, 120)
    return out[:32], out[32:44], out[44:76], out[76:88], out[88:]


def chunk_nonce(data_nonce: bytes, number: int) -> bytes:
    last = int.from_bytes(data_nonce[4:], "big") ^ number
    return data_nonce[:4] + last.to_bytes(8, "big")


def cbor_head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes([major << 5 | info]) + argument.to_bytes(size, "big")
    raise ValueError(argument)


def cbor(value) -> bytes:
    """RFC 8949 section 4.2.1, as far as an index needs it."""
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    pairs = sorted((cbor(k), cbor(v)) for k, v in value.items())
    return cbor_head(5, len(pairs)) + b"".join(k + v for k, v in pairs)


def seal(v, plaintext: bytes) -> bytes:
    key, writer, object_id, salt = (bytes.fromhex(v[k]) for k in ("key", "writer", "object", "salt"))
    size = v["chunk_size"]
    fields = (object_id, writer, salt)
    header = header_bytes(*fields, bytes(32), v["version"], v["asset"], size)
    data_key, data_nonce, index_key, index_nonce, commitment = file_keys(
        key, v["asset"], v["version"], writer, object_id, header
    )
    header = header_bytes(*fields, commitment, v["version"], v["asset"], size)

    ciphertext, tags = b"", b""
    for number, at in enumerate(range(0, len(plaintext), size)):
        sealed = AESGCM(data_key).encrypt(chunk_nonce(data_nonce, number), plaintext[at : at + size], None)
        ciphertext, tags = ciphertext + sealed[:-TAG], tags + sealed[-TAG:]

    n = len(plaintext)
    index = lp(cbor({"n": n, "chunks": len(tags) // TAG, "tags": tags}))
    index += bytes(-len(index) % UNIT)
    aad = b"strongroom/index/v1" + struct.pack("<Q", n)
    index = AESGCM(index_key).encrypt(index_nonce, index, aad)
    return header + ciphertext + index + struct.pack("<QQQ", n, len(index), 0) + MAGIC


def open_sealed(v, sealed: bytes) -> bytes:
    """Opens what `seal` or another implementation made, reading only what stands in the file."""
    header, trailer = sealed[:HEADER], sealed[-TRAILER:]
    assert header[:8] == MAGIC and trailer[24:] == MAGIC and header[8] == 1
    n, index_len, zeros = struct.unpack("<QQQ", trailer[:24])
    assert zeros == 0 and len(sealed) == HEADER + n + index_len + TRAILER
    size = 1 << header[9]
    object_id, writer = header[12:28], header[28:44]
    (version, asset_len) = struct.unpack("<II", header[100:108])
    asset = header[108 : 108 + asset_len].decode()
    assert not any(header[108 + asset_len :])
    data_key, data_nonce, index_key, index_nonce, commitment = file_keys(
        bytes.fromhex(v["key"]), asset, version, writer, object_id, header
    )
    assert commitment == header[68:100]
    aad = b"strongroom/index/v1" + struct.pack("<Q", n)
    index = AESGCM(index_key).decrypt(index_nonce, sealed[HEADER + n : -TRAILER], aad)
    assert len(index) % UNIT == 0
    (length,) = struct.unpack("<I", index[:4])
    chunks = -(-n // size)
    # Known answers have no optional keys, so the map is its tags between fixed bytes.
    body, front = index[4 : 4 + length], b"\xa3" + cbor("n") + cbor(n) + cbor("tags") + cbor_head(2, TAG * chunks)
    tags, end = body[len(front) : len(front) + TAG * chunks], cbor("chunks") + cbor(chunks)
    assert body == front + tags + end and not any(index[4 + length :])
    plaintext = b""
    for number in range(chunks):
        at = HEADER + number * size
        ciphertext = sealed[at : min(at + size, HEADER + n)]
        tag = tags[number * TAG : (number + 1) * TAG]
        plaintext += AESGCM(data_key).decrypt(chunk_nonce(data_nonce, number), ciphertext + tag, None)
    return plaintext


def pattern(label: str, length: int) -> bytes:
    return hashlib.shake_256(f"strongroom known answer: {label}".encode()).digest(length)


def make():
    cases = [
        ("empty", 0, 1 << 16, 1, "minilm"),
        ("one byte", 1, 1 << 20, 1, "minilm"),
        ("exactly one chunk", 1 << 16, 1 << 16, 2, "gewichte-größe-7b"),
        ("three chunks and a bit", 3 * (1 << 16) + 1234, 1 << 16, 4294967295, "a" * 255),
    ]
    for name, length, chunk_size, version, asset in cases:
        plaintext = pattern(f"{name}, plaintext", length)
        v = {
            "name": name,
            "key": pattern(f"{name}, key", 32).hex(),
            "asset": asset,
            "version": version,
            "writer": pattern(f"{name}, writer", 16).hex(),
            "object": pattern(f"{name}, object", 16).hex(),
            "salt": pattern(f"{name}, salt", 24).hex(),
            "chunk_size": chunk_size,
            "plaintext": plaintext.hex(),
        }
        v["file"] = seal(v, plaintext).hex()
        yield v


def main(arguments) -> int:
    write = arguments[:1] == ["--write"]
    paths = arguments[1 if write else 0 :]
    path = Path(paths[0]) if paths else Path(__file__).with_name("v1.json")
    if write:
        path.write_text(json.dumps(list(make()), indent=1, ensure_ascii=False) + "\n")
    for v in json.loads(path.read_text()):
        plaintext, sealed = bytes.fromhex(v["plaintext"]), bytes.fromhex(v["file"])
        assert open_sealed(v, sealed) == plaintext, f"{v['name']}: opens to something else"
        assert seal(v, plaintext) == sealed, f"{v['name']}: is sealed differently"
        print(f"ok: {v['name']} ({len(plaintext)} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
