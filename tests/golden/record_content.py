#!/usr/bin/env python3
"""Records tests/golden/content: tests/golden/record_content.py (celery 5.7.0 with msgpack, PyYAML, brotli
and backports.zstd). The form of the files is record.py's.
"""
import bz2
import lzma
import random
import zlib

import brotli
from backports import zstd
from kombu import compression

from record import write

SAMPLES = [b"", b"[[1, 2], {}, {}]", bytes(range(256)), b"a" * 1000]


def damaged(data):
    """The same with a byte changed, cut off, put in or put behind."""
    yield data[:-1]
    yield data[:len(data) // 2]
    yield data + b"x"
    yield data + b"\0\0\0\0"
    for _ in range(12):
        at = random.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1:]
    at = random.randrange(len(data))
    yield data[:at] + data[at + 1:]


def record_compression():
    random.seed(7)
    rows = []
    for name in ("gzip", "bzip2", "lzma", "brotli", "zstd"):
        packed = [compression.compress(sample, name)[0] for sample in SAMPLES]
        cases = [b"", b"x", b"\0"] + packed
        cases += [a + b for a in packed for b in packed]
        if name == "zstd":  # without a checksum it depends on the library's version what is noticed
            sums = [zstd.compress(sample, options={zstd.CompressionParameter.checksum_flag: 1}) for sample in SAMPLES]
        else:
            sums = packed
        cases += [one for sample in sums for one in damaged(sample)]
        cases += [one for one in damaged(sums[1] + sums[2])]
        if name == "lzma":
            cases += [lzma.compress(b"alone", format=lzma.FORMAT_ALONE), lzma.compress(b"9", preset=9),
                      lzma.compress(b"none", check=lzma.CHECK_NONE), lzma.compress(b"sha", check=lzma.CHECK_SHA256)]
        if name == "gzip":
            cases += [zlib.compress(b"9", 9), zlib.compress(b"0", 0), __import__("gzip").compress(b"gzip file")]
        if name == "bzip2":
            cases += [bz2.compress(b"1", 1)]
        if name == "brotli":
            cases += [brotli.compress(b"text" * 9, quality=q, lgwin=w) for q in (0, 5, 9) for w in (10, 24)]
        if name == "zstd":
            cases += [zstd.compress(b"22" * 9, 22), b"\x50\x2a\x4d\x18\x02\x00\x00\x00xx" + packed[1],
                      zstd.compress(b"sum", options={zstd.CompressionParameter.checksum_flag: 1}),
                      zstd.compress(b"no size" * 9, options={zstd.CompressionParameter.content_size_flag: 0})]
        for case in cases:
            try:
                rows.append((name, case, b"= " + compression.decompress(case, name)))
            except Exception as exc:
                rows.append((name, case, "! " + type(exc).__name__))
    write("content/compression.tsv", rows)


if __name__ == "__main__":
    record_compression()
