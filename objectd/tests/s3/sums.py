"""The checksums of S3, written out: the CRCs of SDKs need a compiled library."""

import base64
import hashlib
import zlib


def _reflected(width, polynomial):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    mask = (1 << width) - 1

    def crc(data):
        value = mask
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return (value ^ mask).to_bytes(width // 8, "big")

    return crc


ALGORITHMS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": _reflected(32, 0x82F63B78),
    "CRC64NVME": _reflected(64, 0x9A6C9329AC4BC9B5),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
NAMES = list(ALGORITHMS)


def encoded(digest):
    return base64.b64encode(digest).decode()


def of(algorithm, data):
    return encoded(ALGORITHMS[algorithm](data))


def composite(algorithm, parts):
    joined = b"".join(ALGORITHMS[algorithm](part) for part in parts)
    return f"{of(algorithm, joined)}-{len(parts)}"


def md5(data):
    return encoded(hashlib.md5(data).digest())


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def multipart_etag(parts):
    joined = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(parts)}"'


def header(algorithm):
    return f"x-amz-checksum-{algorithm.lower()}"


def field(algorithm):
    return f"Checksum{algorithm}"
