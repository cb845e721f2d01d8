"""Signature Version 4, written from AWS's documentation and not shared with any SDK, so that a case can get any
single part of it wrong.

Sources: "Authenticating Requests: Using the Authorization Header", "...Using Query Parameters", "Signature
Calculations for the Authorization Header: Transferring Payload in Multiple Chunks", "...Including trailing headers".
"""

import datetime
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def uri_encode(text, slash=False):
    return quote(text, safe="-_.~" + ("/" if slash else ""))


def canonical_query(pairs):
    return "&".join(f"{name}={value}" for name, value in sorted((uri_encode(n), uri_encode(v)) for n, v in pairs))


@dataclass
class Keys:
    access: str
    secret: str
    region: str
    service: str = "s3"


@dataclass
class When:
    """The moment a request is signed at."""

    offset: float = 0.0
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc))

    @property
    def basic(self):
        return (self.now + datetime.timedelta(seconds=self.offset)).strftime("%Y%m%dT%H%M%SZ")

    @property
    def day(self):
        return self.basic[:8]


def scope(keys, when):
    return f"{when.day}/{keys.region}/{keys.service}/aws4_request"


def signing_key(keys, when):
    key = ("AWS4" + keys.secret).encode()
    for part in (when.day, keys.region, keys.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def sign(keys, when, text):
    return hmac.new(signing_key(keys, when), text.encode(), hashlib.sha256).hexdigest()


def canonical_request(method, path, query, headers, signed, payload):
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed)
    return "\n".join([method, path, canonical_query(query), lines, ";".join(signed), payload])


def string_to_sign(keys, when, canonical):
    return "\n".join(["AWS4-HMAC-SHA256", when.basic, scope(keys, when), sha256(canonical.encode())])


def seed(keys, when, method, path, query, headers, payload, signed=None):
    """The signature of a request whose lower-case headers these are, and the names it signs."""
    signed = sorted(headers) if signed is None else signed
    canonical = canonical_request(method, path, query, headers, signed, payload)
    return sign(keys, when, string_to_sign(keys, when, canonical)), signed


def authorization(keys, when, signed, signature):
    credential = f"{keys.access}/{scope(keys, when)}"
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(signed)}, Signature={signature}"


def chunks(keys, when, previous, pieces, trailer=None, signs=True):
    """Pieces of a body in aws-chunked framing; `trailer` is a (name, value)."""
    out = b""
    for piece in [*pieces, b""]:
        head = f"{len(piece):x}"
        if signs:
            text = "\n".join(
                ["AWS4-HMAC-SHA256-PAYLOAD", when.basic, scope(keys, when), previous, EMPTY_SHA256, sha256(piece)]
            )
            previous = sign(keys, when, text)
            head += f";chunk-signature={previous}"
        out += head.encode() + b"\r\n" + piece
        if piece or trailer is None:
            out += b"\r\n"
    if trailer is not None:
        name, value = trailer
        out += f"{name}:{value}\r\n".encode()
        if signs:
            line = f"{name}:{value}\n".encode()
            text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", when.basic, scope(keys, when), previous, sha256(line)])
            out += f"x-amz-trailer-signature:{sign(keys, when, text)}\r\n".encode()
        out += b"\r\n"
    return out


def presign(keys, when, method, host, path, query=(), expires="600", headers=None, signed=None):
    """The query pairs, signature last, of a presigned request."""
    headers = {"host": host, **(headers or {})}
    signed = sorted(headers) if signed is None else signed
    pairs = [
        *query,
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"{keys.access}/{scope(keys, when)}"),
        ("X-Amz-Date", when.basic),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", ";".join(signed)),
    ]
    signature, _ = seed(keys, when, method, path, pairs, headers, UNSIGNED, signed)
    return [*pairs, ("X-Amz-Signature", signature)]
