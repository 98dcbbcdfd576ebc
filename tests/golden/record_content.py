#!/usr/bin/env python3
"""Records tests/golden/content: tests/golden/record_content.py (celery 5.7.0 with msgpack, PyYAML, brotli
and backports.zstd). The form of the files is record.py's.
"""
import bz2
import datetime
import decimal
import lzma
import random
import struct
import uuid
import zlib

import brotli
import msgpack
import yaml
from backports import zstd
from celery.backends import base
from celery.security.certificate import Certificate, CertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kombu import compression, serialization
from kombu.utils import json as kombu_json

from record import PLAIN, iso_texts, write

PEM = Encoding.PEM
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
            cases += [zlib.compress(b"9", 9), zlib.compress(b"0", 0), __import__("gzip").compress(b"gzip file", mtime=0)]
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


# serializers --------------------------------------------------------------------------------------

UTC = datetime.timezone.utc
ODD = "\x00\x01\x7f\x80\xa0\u2028\ufeff\uffff"
VALUES = [
    None, True, False, 0, 1, 23, 24, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1,
    -1, -31, -32, -33, -127, -128, -129, -32768, -32769, -2 ** 31, -2 ** 31 - 1, -2 ** 63, 0.0, -0.0, 1.5, 0.1, 1e16, 1e-7, 1e300, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", "a", "a" * 31, "a" * 32, "a" * 255, "a" * 256, "x" * 65536, "\u017c\u00f3\u0142\u0107",
    "\U0001f600", ODD, "a: b", "- a", "null", "yes", "1", "1.5", "~", "2026-01-02", " a ", "a\nb\n", "\t",
    "'", '"', "\\", "#a", "&a", "*a", "!a", "%a", "@a", "`a", "{a", "[a", "a, b", "a]", "? a", "| a", "> a", "<<", "=", "a #b", "word " * 60,
    b"", b"abc", b"\xff\xfe", b"\x00", bytes(range(256)), [], [1], [[]], [1] * 15, [1] * 16, {}, {"a": 1},
    {"k%d" % i: i for i in range(15)}, {"k%d" % i: i for i in range(16)}, {"k" * 200: 1, "\u017c" * 99: 2}, {"a": {"b": [{"c": None}]}},
    [[1, 2], {"k": "v"}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}], {"": 0}, {"null": None, "1": 1, "yes": True},
]
YAML_VALUES = [
    2 ** 64, 10 ** 30, -2 ** 63 - 1, datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 678),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))),
    {1: "a", 2.5: "b", None: "c", True: "d"}, {"x"}, set(), ("a", 1), [datetime.date(2026, 1, 2), {"d": datetime.datetime(2026, 1, 2, 3)}],
]
UNSERIALIZABLE = [decimal.Decimal("1.5"), uuid.UUID(int=5), datetime.time(3, 4), 10 ** 30, datetime.date(2026, 1, 2), "\ud800"]


def plain(value):
    """What JSON has no form for, as the worker shows it."""
    if isinstance(value, msgpack.ExtType):
        raise TypeError("the worker has no form for it")
    if isinstance(value, (set, frozenset, list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, msgpack.Timestamp):
        return value.to_datetime()
    return value


def loaded(name, data):
    """(data, what Python made of it as JSON)"""
    registry = serialization.registry
    try:
        return data, "= " + kombu_json.dumps(plain(registry._decoders[registry.name_to_type[name]](data)))
    except Exception as exc:
        return data, "! " + type(exc).__name__


def dumped(name, text):
    try:
        return text, b"= " + serialization.dumps(kombu_json.loads(text), serializer=name)[2]
    except Exception as exc:
        return text, "! " + type(exc).__name__


def record_msgpack():
    random.seed(7)
    whole = [msgpack.packb(value, use_bin_type=True) for value in VALUES if len(str(value)) < 3000]
    cases = [bytes([head]) for head in range(256)] + whole
    cases += [bytes([head]) + bytes(random.randrange(256) for _ in range(20)) for head in range(0xc0, 0xe0) for _ in range(4)]
    cases += [one for data in whole if len(data) > 1 for one in list(damaged(data))[:4] + list(damaged(data))[-2:]]
    cases += [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x81\x01\x02", b"\x81\xa1a\xa1b",
              b"\x81\x90\x01", b"\xa2\xc3\x28", b"\xa3\xed\xa0\x80", b"\x82\xa1a\x01\xa1a\x02", b"\xca" + struct.pack(">f", 0.1),
              msgpack.packb(msgpack.Timestamp(0, 0)), msgpack.packb(msgpack.Timestamp(2 ** 32, 5000)), msgpack.packb(msgpack.Timestamp(2 ** 34 - 1, 999999000)),
              msgpack.packb(msgpack.Timestamp(-1, 0)), msgpack.packb(msgpack.Timestamp(-62135596800, 0)), msgpack.packb(msgpack.Timestamp(2 ** 40, 0)),
              msgpack.packb(msgpack.ExtType(5, b"abc")), b"\x91" * 400 + b"\xc0", b"\x01\x02", b"\xd9\x01a", b"\xda\x00\x01a", b"\xdc\x00\x01\x01"]
    write("content/msgpack-load.tsv", [loaded("msgpack", case) for case in cases])
    texts = [kombu_json.dumps(value) for value in VALUES + YAML_VALUES[:8] + UNSERIALIZABLE]
    write("content/msgpack-dump.tsv", [dumped("msgpack", text) for text in texts])


SCALARS = r"""
yes|Yes|YES|yEs|no|on|Off|true|TRUE|tRUE|null|Null|NULL|nULL|~|0|-0|+0|00|07|08|0o7|-017|0x1F|0xg|0X1F|-0x1|0b101|0b2|0b|0b_|0x|0_|1_000|_1|1__0|-1|+1|--1
1:30|1:30:05|1:60|1:6|-1:30|0:30|01:30|1:30:|1:30.5|1:30.|190:20:30.15|1.5|1.|.5|.|-.5|+.5|1.5e3|1.5e+3|1.5E-3|1e3|1e+3|1.e+3|.5e+1|1_0.5_0|._5|1.5.5
.inf|-.inf|+.INF|.Inf|.iNF|.nan|.NaN|-.nan|.NAN|inf|nan|NaN|Infinity|=|<<|2026-01-02|2026-1-2|2026-01-32|2026-13-01|0000-01-01|20260102|2026-01-02T03:04:05
2026-01-02 03:04:05|2026-1-2 3:04:05|2026-01-02t03:04:05Z|2026-01-02 03:04:05 +1|2026-01-02 03:04:05 -5:30|2026-01-02 03:04:05.5|2026-01-02 03:04:05.1234567 Z
2026-01-02 03:04:05.|2026-01-02 24:00:00|2026-01-02 03:60:00|2026-01-02 03:04:60|2026-01-02 03:04:05+24:00|2026-01-02 03:04:05+1:99|2026-01-02 03:04:05-00:00
2026-01-02\t03:04:05|2026-01-02  03:04:05|2026-01-02T3:4:5|2026-01-02 03:04|9223372036854775807|9223372036854775808|-9223372036854775808|-9223372036854775809
18446744073709551615|18446744073709551616|123456789012345678901234567890|0xffffffffffffffff|0777777777777777777777|0b11|1e400|1.0e+400|-1.0e+400|1.0e-400
"""
# A bar stands between two, \n for a line's end; those with double quotes are taken as they are.
DOCUMENTS = r"""
a: 1|{a: 1, b: [1, 2]}|[a, b, [c]]|- a\n- b\n-\n|a:\n  b:\n  - c\n|? a\n: b\n|? [a]\n: b\n|{[a]: b}|{a, b: c}|[a: b]|[,]|{a: }|[]|{}|"a\tb\x41\u017c\U0001F600"|'it''s'
>\n  a\n  b\n|>-\n  a\n|# only a comment|---|---\na|--- a\n--- b|a\n...\n|a\n...\nb|%YAML 1.1\n---\na|%YAML 2.0\n---\na|%TAG ! tag:x,2000:\n---\n!y a
[&a 1, *a]|[&a 1, &a 2]|[*a]|a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n|{<<: {a: 1}, b: 2}|{b: 2, <<: {a: 1, b: 3}}|{<<: [{a: 1}, {a: 2, b: 2}], c: 3}|&a [1, *b]|&a [*a]
{<<: {a: 1}, <<: {a: 2}}|{<<: 1}|{<<: [1]}|{<<: a}|{"<<": a}|{=: 1}|[<<]|[=]|{a: 1, a: 2}|{1: a, "1": b}|{1.5: a, ~: b, yes: c}|{2026-01-02: a}|{!!binary YQ==: a}
!!str 1|!!int "1"|!!int a|!!int 1.5|!!float 1|!!float "1.5"|!!float a|!!bool yes|!!bool "no"|!!bool 1|!!null x|!!binary YWJj|!!binary "//4="|!!binary a|!!binary ż|!!binary [a]
!!timestamp "2026-01-02"|!!timestamp x|!!seq [a]|!!seq {a: b}|!!map {a: b}|!!map [a]|!!set {a}|!!set {a, a}|!!set [a]|!!omap [a: 1, b: 2]|!!omap [a]|!!omap [{a: 1, b: 2}]|!!omap {a: 1}
!!pairs [a: 1, a: 2]|!!pairs [1: 2]|!!python/tuple [1]|!!python/object/apply:os.getcwd []|!!python/name:os.system x|!x a|! 1|! "1"|!!merge <<|!!value =|!<tag:yaml.org,2002:int> 5
a: b: c|a\n b|"a b"|[a|{a|"a|'a|@a|`a|%a|a: \tb|\ta: b|- a\n b: c|a: 'b' c|!|&|*|? |- |: a|,|"\q"|ż|"\x85\xa0"|{"a":1}|{"a": 1,}|[1, 2,]|{a:1}|["a":1]|x: {? a : b}
"""


def yaml_cases():
    scalars = [one.replace("\\t", "\t") for line in SCALARS.strip().split("\n") for one in line.split("|")]
    for _ in range(500):
        text = list(random.choice(scalars))
        at = random.randrange(len(text))
        text[at:at + random.randint(0, 1)] = random.choice(["", "0", "1", "6", "-", ":", ".", "+", "_", "x", "e", "T", "Z"])
        scalars.append("".join(text))
    scalars += [text for text in iso_texts()[::6] if text.isascii()]
    yield from ("[" + one + "]" for one in scalars)
    yield from ("k: " + one for one in scalars[::7])
    for line in DOCUMENTS.strip("\n").split("\n"):
        yield from (one if '"' in one else one.replace("\\n", "\n").replace("\\t", "\t") for one in line.split("|"))
    yield from ("|\n  a\n  b\n", "a: |\n  x\n", "[a\0b]", "[\x07]", "\ufeff[a]", "[a]\n...\n...\n", "")
    yield from (text for line in PLAIN.strip("\n").split("\n") for text in line.split("|") if "NaN" not in text and "__type__" not in text)
    twice = {"a": [1, 2]}
    for value in VALUES + YAML_VALUES + [[twice, twice], {"x": twice, "y": [twice, twice]}]:
        if len(str(value)) < 3000 and value != ODD:
            yield from (yaml.safe_dump(value), yaml.safe_dump([value, value], default_flow_style=True),
                        yaml.safe_dump({"k": value}, allow_unicode=True), yaml.safe_dump([value], default_style='"', width=40),
                        yaml.safe_dump([value], default_style="|"))


def record_yaml():
    random.seed(7)
    write("content/yaml-load.tsv", [loaded("yaml", case.encode()) for case in yaml_cases()])


def record_records():
    """(JSON, as Celery stores it)"""
    records = [{"status": "SUCCESS", "result": [1, "\u017c", 2.5], "traceback": None, "children": [], "task_id": "t-1"},
               {"status": "FAILURE", "result": {"exc_type": "X", "exc_message": ["a"], "exc_module": "m"}, "task_id": "t-2"}]
    rows = []
    for record in records:
        for serializer in ("json", "msgpack", "yaml"):
            payload = serialization.dumps(record, serializer=serializer)[2]
            rows.append((kombu_json.dumps(record), payload))
            rows += [(kombu_json.dumps(record), base.compress_payload(payload, name)) for name in ("gzip", "bzip2", "lzma", "brotli", "zstd")]
    write("content/records.tsv", rows)


def certificate(serial, *names, years=100):
    """(PEM of a new key, PEM of its certificate)"""
    key = rsa.generate_private_key(65537, 2048)
    kinds = [x509.NameOID.COUNTRY_NAME, x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME]
    name = x509.Name([x509.NameAttribute(kind, one) for kind, one in zip(kinds[-len(names):], names)])
    start = datetime.datetime(2026, 1, 1)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(serial).not_valid_before(
        start).not_valid_after(start.replace(year=2026 + years)).sign(key, hashes.SHA256())
    return (key.private_bytes(PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), built.public_bytes(PEM).decode())


def record_auth():
    """("cert", PEM) of those who are believed; (digest, body, what Python read). Other keys each time."""
    known = [certificate(12345, "US", "my ca", "worker"), certificate(2 ** 120 + 7, "Za\u017c\u00f3\u0142\u0107")]
    stranger = certificate(5, "nobody")
    store = CertStore()
    for _, one in known:
        store.add_cert(Certificate(one))
    rows = [("cert", one, "") for _, one in known]
    value = [[1, "\u017c", {"k": None}], {}, {"chain": None}]
    for digest in ("sha256", "sha512", "sha1", "sha3_256"):
        for inner in ("json", "msgpack", "yaml"):
            for key, cert in [*known, stranger]:
                body = SecureSerializer(PrivateKey(key), Certificate(cert), store, digest, inner).serialize(value).encode()
                cases = [body] if inner != "json" else [body, body[:-4], body[:50], b"", b"AAAA", body[:-8] + b"AAAAAAA=", *list(damaged(body))[4:8]]
                for case in cases:
                    try:
                        rows.append((digest, case, "= " + kombu_json.dumps(SecureSerializer(None, None, store, digest, inner).deserialize(case))))
                    except Exception as exc:
                        rows.append((digest, case, "! " + str(exc)[:100]))
    write("content/auth.tsv", rows)


if __name__ == "__main__":
    record_compression()
    record_msgpack()
    record_yaml()
    record_records()
    record_auth()
