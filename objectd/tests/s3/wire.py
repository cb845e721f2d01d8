"""Raw HTTP: requests as bytes, so that nothing between a case and the server corrects what the case means to send."""

import os
import socket
import ssl
import xml.etree.ElementTree as ElementTree
from urllib.parse import urlsplit

import sigv4

TIMEOUT = 60


class Reply:
    """An answer, with its XML stripped of namespaces."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        return next((value for known, value in self.headers if known == name), None)

    @property
    def xml(self):
        root = ElementTree.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rsplit("}", 1)[-1]
        return root

    @property
    def code(self):
        return self.xml.findtext("Code") if self.body else None

    def texts(self, path):
        return [element.text or "" for element in self.xml.findall(path)]

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:1000]!r}"

    def expect(self, status, code=None):
        """`status` is one, or all that are right."""
        assert self.status in (status if isinstance(status, tuple) else (status,)), self
        if code is not None:
            assert self.code == code, self
        return self


class Wire:
    """A signing client of one endpoint."""

    def __init__(self, endpoint, keys, ca=None):
        self.endpoint, self.keys, self.ca = urlsplit(endpoint), keys, ca

    @property
    def host(self):
        return self.endpoint.netloc

    def connect(self):
        tls = self.endpoint.scheme == "https"
        port = self.endpoint.port or (443 if tls else 80)
        plain = socket.create_connection((self.endpoint.hostname, port), timeout=TIMEOUT)
        if not tls:
            return plain
        context = ssl.create_default_context(cafile=self.ca)
        return context.wrap_socket(plain, server_hostname=self.endpoint.hostname)

    def exchange(self, data, method="GET"):
        """Sends bytes, reads one answer."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # A refusal came before all was sent.
            return read_reply(connection.makefile("rb"), method)

    def send(self, method, target, headers=(), body=b""):
        """Sends a request that is complete: nothing is added but the framing of `headers`."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        return self.exchange("\r\n".join(lines).encode() + body, method)

    def anonymous(self, method, path, query=(), headers=None, body=b""):
        merged = {"host": self.host, **lower(headers)}
        if body or method in ("PUT", "POST"):
            merged.setdefault("content-length", str(len(body)))
        merged["connection"] = "close"
        return self.send(method, target(path, query), merged.items(), body)

    def call(self, method, path, query=(), headers=None, body=b"", payload=None, keys=None, when=None, alter=None):
        """A signed request. `path` is raw (percent-encoded); `alter` may change the final headers, a dict."""
        keys, when = keys or self.keys, when or sigv4.When()
        query = list(query.items()) if isinstance(query, dict) else list(query)
        payload = payload or sigv4.sha256(body)
        signed = {"host": self.host, "x-amz-date": when.basic, "x-amz-content-sha256": payload, **lower(headers)}
        signature, names = sigv4.seed(keys, when, method, path, query, signed, payload)
        final = {**signed, "authorization": sigv4.authorization(keys, when, names, signature)}
        if body or method in ("PUT", "POST"):
            final.setdefault("content-length", str(len(body)))
        final["connection"] = "close"
        if alter:
            final = alter(final) or final
        return self.send(method, target(path, query), final.items(), body)

    def chunked(self, path, pieces, payload, headers=None, trailer=None, declared=None, mangle=None, query=()):
        """A PUT in aws-chunked framing; `mangle` may change the framed body."""
        when, whole = sigv4.When(), b"".join(pieces)
        signed = {
            "host": self.host,
            "x-amz-date": when.basic,
            "x-amz-content-sha256": payload,
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(whole) if declared is None else declared),
            **lower(headers),
        }
        if trailer is not None:
            signed.setdefault("x-amz-trailer", trailer[0])
        signature, names = sigv4.seed(self.keys, when, "PUT", path, query, signed, payload)
        signs = payload in (sigv4.STREAMING, sigv4.STREAMING_TRAILER)
        body = sigv4.chunks(self.keys, when, signature, pieces, trailer, signs)
        body = mangle(body) if mangle else body
        final = {
            **signed,
            "authorization": sigv4.authorization(self.keys, when, names, signature),
            "content-length": str(len(body)),
            "connection": "close",
        }
        return self.send("PUT", target(path, query), final.items(), body)

    def presigned(self, method, path, query=(), expires="600", when=None, body=b"", keys=None, signs=None, sends=None,
                  alter=None):
        """`signs` are headers that the URL requires, `sends` those that are sent; `alter` may change the pairs."""
        keys, when = keys or self.keys, when or sigv4.When()
        pairs = sigv4.presign(keys, when, method, self.host, path, query, expires, lower(signs))
        pairs = alter(pairs) if alter else pairs
        return self.anonymous(method, path, pairs, lower(signs if sends is None else sends), body)


def lower(headers):
    return {name.lower(): value for name, value in (headers or {}).items()}


def target(path, query):
    pairs = list(query.items()) if isinstance(query, dict) else list(query)
    text = "&".join(f"{sigv4.uri_encode(name)}={sigv4.uri_encode(value)}" for name, value in pairs)
    return f"{path}?{text}" if text else path


def read_reply(stream, method):
    status = int(stream.readline().split(b" ", 2)[1])
    headers = []
    while (line := stream.readline().strip()):
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.lower(), value.strip()))
    if status == 100:
        return read_reply(stream, method)
    reply = Reply(status, headers, b"")
    if method == "HEAD" or status in (204, 304):
        return reply
    if reply.header("transfer-encoding") == "chunked":
        while (size := int(stream.readline(), 16)):
            reply.body += stream.read(size)
            stream.readline()
        stream.readline()
    else:
        length = reply.header("content-length")
        reply.body = stream.read(int(length)) if length is not None else stream.read()
        assert length is None or len(reply.body) == int(length), "the answer is cut"
    return reply


def from_environment():
    keys = sigv4.Keys(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    )
    return Wire(os.environ["S3_ENDPOINT"], keys, os.environ.get("AWS_CA_BUNDLE"))
