#!/usr/bin/env python3
"""Writes auth.json beside it: signed requests, made by Python's hmac and hashlib alone.

Each vector is a request with its secret and the time at which it arrives; `valid` says whether
the signature is right. The wrong ones are the right ones with one thing changed.
Run it again after a change; the file it writes is committed, so that the tests need no Python.
"""
import hashlib
import hmac
import json
import pathlib

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW = "2026-11-22T10:47:09Z"
HASHES = {
    "SHA256": "sha256", "sha384": "sha384", "SHA512": "sha512", "SHA3_256": "sha3_256",
    "SHA3-512": "sha3_512", "sha224": "sha224", "SHA1": "sha1", "MD5": "md5",
    "BLAKE2b": "blake2b", "blake2s": "blake2s",
}
VERSION_HEADERS = {"backendai_version": "x-backendai-version", "sorna_version": "x-sorna-version"}


def sign(request, hash_name, ymd, signed_path=None, signed_type=None):
    """The signature that a client makes over the request, as the API's documentation has it."""
    headers = request["headers"]
    version_key = next(key for key in VERSION_HEADERS if key in headers)
    date = headers.get("date") or headers.get("backendai_date") or headers["sorna_date"]
    media = (headers.get("content_type") or "application/octet-stream").split(";")[0].strip()
    body = request["body"].encode()
    if media.lower() == "multipart/form-data" or headers[version_key] >= "v4.20181215":
        body = b""
    lines = [
        request["method"],
        signed_path or request["path"],
        date,
        f"host:{headers['host']}",
        f"content-type:{signed_type or media}",
        f"{VERSION_HEADERS[version_key]}:{headers[version_key]}",
        hashlib.new(hash_name, body).hexdigest(),
    ]
    key = SECRET.encode()
    for part in (ymd, headers["host"]):
        key = hmac.new(key, part.encode(), hash_name).digest()
    return hmac.new(key, "\n".join(lines).encode(), hash_name).hexdigest()


def request(name, *, method="GET", path="/v3/auth", body="", date="Sun, 22 Nov 2026 10:47:09 GMT",
            date_header="date", version="v3.20170615", version_header="backendai_version", scheme="BackendAI",
            hash_text="SHA256", ymd="20261122", host="api.example:8080", content_type="application/json",
            signed_path=None, signed_type=None, now=NOW, separator=", "):
    made = {
        "name": name, "now": now, "secret": SECRET, "method": method, "path": path, "body": body,
        "headers": {date_header: date, version_header: version, "host": host},
    }
    if content_type is not None:
        made["headers"]["content_type"] = content_type
    signature = sign(made, HASHES[hash_text], ymd, signed_path, signed_type)
    made["headers"]["authorization"] = (
        f"{scheme} signMethod=HMAC-{hash_text}{separator}credential=AKIAIOSFODNN7EXAMPLE:{signature}"
    )
    made["valid"] = True
    return made


def right_ones():
    for hash_text in HASHES:
        yield request(f"hash {hash_text}", method="POST", body='{"echo": "hi"}', hash_text=hash_text)
        yield request(f"hash {hash_text}, long body", method="POST", body="x" * 3000, hash_text=hash_text)
    yield request("first clients", scheme="Sorna", version_header="sorna_version", version="v1.20160915",
                  date_header="sorna_date", date="2026-11-22T10:47:09.123456", separator=",")
    yield request("own date header", date_header="backendai_date", date="20261122T104709Z")
    for date, ymd in [
        ("2026-11-22T19:47:09+09:00", "20261122"), ("Sun, 22 Nov 2026 05:47:09 EST", "20261122"),
        ("Sunday, 22-Nov-26 10:47:09 GMT", "20261122"), ("Sun Nov 22 10:47:09 2026", "20261122"),
        ("2026-11-22 19:47:09 KST", "20261122"), ("2026-11-22T10:47:09,123Z", "20261122"),
        ("Sun, 22 Nov 2026 10:47:09 +0000 (UTC)", "20261122"),
    ]:
        yield request(f"date {date}", date=date, ymd=ymd)
    yield request("the day of the header's own zone", date="2026-11-23T04:47:09+09:00", ymd="20261123",
                  now="2026-11-22T19:47:09Z")
    yield request("the day before in the west", date="Sat, 21 Nov 2026 20:47:09 -0700", ymd="20261121",
                  now="2026-11-22T03:47:09Z")
    for path, normal in [
        ("/v3/kernel/%61bc", "/v3/kernel/abc"), ("/v3/kernel/a%2fb", "/v3/kernel/a%2Fb"),
        ("/v3/kernel/x/files?path=a%2Fb", "/v3/kernel/x/files?path=a/b"),
        ("/v3/kernel/x/files?path=%ea%b0%80", "/v3/kernel/x/files?path=%EA%B0%80"),
        ("/v3/kernel/?", "/v3/kernel/"),
    ]:
        yield request(f"path as sent {path}", path=path)
        yield request(f"path in normal form {path}", path=path, signed_path=normal)
    yield request("lone percent", path="/v3/kernel/100%?a=%zz")
    yield request("no content type", content_type=None)
    yield request("no content type, as release 1.5 signs it", content_type=None, signed_type="text/plain")
    yield request("parameters of the content type", method="POST", body="{}",
                  content_type="application/json; charset=utf-8")
    yield request("content type as sent", method="POST", body="{}", content_type="Application/JSON")
    yield request("content type in lower case", method="POST", body="{}", content_type="Application/JSON",
                  signed_type="application/json")
    yield request("both normal forms", method="POST", body="{}", path="/v3/%7Ex", signed_path="/v3/~x",
                  content_type="Application/JSON", signed_type="application/json")
    yield request("multipart", method="POST", body="--b--", content_type="multipart/form-data; boundary=b")
    yield request("multipart in capitals", method="POST", body="--b--", content_type="Multipart/Form-Data; boundary=b")
    yield request("version 4", method="POST", path="/v4/auth", body='{"echo": 1}', version="v4.20181215")
    yield request("version between two releases", method="POST", body="{}", version="v3.20180101")
    yield request("body beyond ASCII", method="PATCH", body='{"code": "print(\'가\')"}')
    yield request("address as host", host="[::1]:8080")


def flip(text):
    """The text with the lowest bit of its last character changed (a hex digit stays one)."""
    return text[:-1] + ("0123456789abcdef"["0123456789abcdef".index(text[-1]) ^ 1])


def wrong_ones(right):
    """The right request with one thing changed each."""
    def changed(what, **parts):
        other = json.loads(json.dumps(right))
        other.update(name=f"{right['name']}: {what} changed", valid=False)
        other["headers"].update(parts.pop("headers", {}))
        other.update(parts)
        return other

    headers = right["headers"]
    yield changed("signature", headers={"authorization": flip(headers["authorization"])})
    yield changed("signature's length", headers={"authorization": headers["authorization"][:-2]})
    head, signature = headers["authorization"].rsplit(":", 1)
    yield changed("signature's case", headers={"authorization": f"{head}:{signature.upper()}"})
    yield changed("secret", secret=right["secret"][:-1] + "Z")
    yield changed("method", method="DELETE")
    yield changed("path", path=right["path"] + "x")
    yield changed("host", headers={"host": headers["host"] + "x"})
    yield changed("content type", headers={"content_type": "text/html"})
    if "backendai_version" in headers:
        yield changed("version", headers={"backendai_version": "v2.20170315"})
        other = changed("version header")
        other["headers"]["sorna_version"] = other["headers"].pop("backendai_version")
        yield other
    if headers.get("date", "").endswith("10:47:09 GMT"):
        yield changed("date", headers={"date": headers["date"].replace(":09 ", ":08 ")})
        yield changed("date's form", headers={"date": headers["date"].replace("GMT", "+0000")})
    media = (headers.get("content_type") or "").lower()
    if not media.startswith("multipart/") and headers.get("backendai_version", "") < "v4":
        yield changed("body", body=right["body"] + " ")


def main():
    vectors = []
    for right in right_ones():
        vectors += [right, *wrong_ones(right)]
    free = [v for v in vectors if v["name"] in ("multipart", "version 4")]
    for vector in free:  # bodies that are not signed may be any
        vectors.append({**vector, "name": f"{vector['name']}: another body", "body": vector["body"] + " "})
    names = [v["name"] for v in vectors]
    assert len(names) == len(set(names)), "names of vectors are unique"
    out = pathlib.Path(__file__).with_name("auth.json")
    lines = ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(vectors)} vectors, {sum(v['valid'] for v in vectors)} of them valid")


if __name__ == "__main__":
    main()
