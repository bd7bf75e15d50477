"""Hashes of a text in plain Python. `vflc export` writes them into encode.py."""

from __future__ import annotations

K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
MASK = 2**64 - 1


def _word(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _rotated(x: int, bits: int) -> int:
    """To the right."""
    return (x >> bits | x << 64 - bits) & MASK


def _mixed(x: int) -> int:
    return x ^ x >> 47


def _hash16(u: int, v: int, mul: int) -> int:
    a = _mixed((u ^ v) * mul & MASK)
    return _mixed((v ^ a) * mul & MASK) * mul & MASK


def fingerprint64(data: bytes) -> int:
    """FarmHash's Fingerprint64 (Pike & Alakuijala, Google, 2014): farmhashna's Hash64."""
    n = len(data)
    mul = (K2 + n * 2) & MASK
    if n <= 16:
        return _to_16(data, n, mul)
    if n <= 32:
        a, b = _word(data, 0) * K1 & MASK, _word(data, 8)
        c, d = _word(data, n - 8) * mul & MASK, _word(data, n - 16) * K2 & MASK
        first = _rotated((a + b) & MASK, 43) + _rotated(c, 30) + d
        return _hash16(first & MASK, (a + _rotated((b + K2) & MASK, 18) + c) & MASK, mul)
    if n <= 64:
        return _to_64(data, n, mul)
    return _long(data, n)


def _to_16(data: bytes, n: int, mul: int) -> int:
    if n >= 8:
        a, b = (_word(data, 0) + K2) & MASK, _word(data, n - 8)
        c = (_rotated(b, 37) * mul + a) & MASK
        return _hash16(c, (_rotated(a, 25) + b) * mul & MASK, mul)
    if n >= 4:
        return _hash16(n + (_word(data, 0, 4) << 3), _word(data, n - 4, 4), mul)
    if n > 0:
        y, z = data[0] + (data[n >> 1] << 8), n + (data[n - 1] << 2)
        return _mixed((y * K2 ^ z * K0) & MASK) * K2 & MASK
    return K2


def _to_64(data: bytes, n: int, mul: int) -> int:
    a, b = _word(data, 0) * K2 & MASK, _word(data, 8)
    c, d = _word(data, n - 8) * mul & MASK, _word(data, n - 16) * K2 & MASK
    y = (_rotated((a + b) & MASK, 43) + _rotated(c, 30) + d) & MASK
    z = _hash16(y, (a + _rotated((b + K2) & MASK, 18) + c) & MASK, mul)
    e, f = _word(data, 16) * mul & MASK, _word(data, 24)
    g, h = (y + _word(data, n - 32)) * mul & MASK, (z + _word(data, n - 24)) * mul & MASK
    first = _rotated((e + f) & MASK, 43) + _rotated(g, 30) + h
    return _hash16(first & MASK, (e + _rotated((f + a) & MASK, 18) + g) & MASK, mul)


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(data, at + 8 * i) for i in range(4))
    a = (a + w) & MASK
    b = _rotated((b + a + z) & MASK, 21)
    c, a = a, (a + x + y) & MASK
    b = (b + _rotated(a, 44)) & MASK
    return (a + z) & MASK, (b + c) & MASK


def _long(data: bytes, n: int) -> int:
    seed = 81
    x, y = seed, (seed * K1 + 113) & MASK
    z = _mixed((y * K2 + 113) & MASK) * K2 & MASK
    v, w = (0, 0), (0, 0)
    x = (x * K2 + _word(data, 0)) & MASK
    end = (n - 1) // 64 * 64
    for at in range(0, end, 64):
        x = _rotated((x + y + v[0] + _word(data, at + 8)) & MASK, 37) * K1 & MASK
        y = _rotated((y + v[1] + _word(data, at + 48)) & MASK, 42) * K1 & MASK
        x, y = x ^ w[1], (y + v[0] + _word(data, at + 40)) & MASK
        z = _rotated((z + w[0]) & MASK, 33) * K1 & MASK
        v = _weak(data, at, v[1] * K1 & MASK, (x + w[0]) & MASK)
        w = _weak(data, at + 32, (z + w[1]) & MASK, (y + _word(data, at + 16)) & MASK)
        x, z = z, x
    mul, at = (K1 + ((z & 0xFF) << 1)) & MASK, n - 64
    w = ((w[0] + (n - 1 & 63)) & MASK, w[1])
    v = ((v[0] + w[0]) & MASK, v[1])
    w = ((w[0] + v[0]) & MASK, w[1])
    x = _rotated((x + y + v[0] + _word(data, at + 8)) & MASK, 37) * mul & MASK
    y = _rotated((y + v[1] + _word(data, at + 48)) & MASK, 42) * mul & MASK
    x, y = x ^ w[1] * 9 & MASK, (y + v[0] * 9 + _word(data, at + 40)) & MASK
    z = _rotated((z + w[0]) & MASK, 33) * mul & MASK
    v = _weak(data, at, v[1] * mul & MASK, (x + w[0]) & MASK)
    w = _weak(data, at + 32, (z + w[1]) & MASK, (y + _word(data, at + 16)) & MASK)
    x, z = z, x
    first = _hash16(v[0], w[0], mul) + _mixed(y) * K0 + z
    return _hash16(first & MASK, (_hash16(v[1], w[1], mul) + x) & MASK, mul)


def siphash(data: bytes, low: int, high: int) -> int:
    """SipHash-2-4 under the key of 16 bytes `low`, `high`, each little-endian (Aumasson and
    Bernstein, 2012)."""
    a, b = low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D
    c, d = low ^ 0x6C7967656E657261, high ^ 0x7465646279746573
    last = data[len(data) // 8 * 8 :].ljust(7, b"\0") + bytes([len(data) & 255])
    words = [_word(data, at) for at in range(0, len(data) // 8 * 8, 8)] + [_word(last, 0)]
    for word in words:
        a, b, c, d = _rounds(a, b, c, d ^ word, 2)
        a ^= word
    a, b, c, d = _rounds(a, b, c ^ 255, d, 4)
    return a ^ b ^ c ^ d


def _rounds(a: int, b: int, c: int, d: int, count: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        a, c = (a + b) & MASK, (c + d) & MASK
        b, d = _rotated(b, 51) ^ a, _rotated(d, 48) ^ c
        a = _rotated(a, 32)
        c, a = (c + b) & MASK, (a + d) & MASK
        b, d = _rotated(b, 47) ^ c, _rotated(d, 43) ^ a
        c = _rotated(c, 32)
    return a, b, c, d
