"""Bodies of uploads and downloads."""

import email
import email.policy
import io
import tarfile

BOUNDARY = "3b9a1c5d7e2f4a60"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(*files, field="src"):
    """A multipart body of (file name, bytes), as `requests` and aiohttp write it; a bytes name goes in as it is."""
    body = io.BytesIO()
    for name, content in files:
        name = name if isinstance(name, bytes) else name.encode()
        body.write(b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="' % (BOUNDARY.encode(), field.encode()))
        body.write(name + b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + content + b"\r\n")
    body.write(b"--%s--\r\n" % BOUNDARY.encode())
    return body.getvalue()


def upload(client, path, *files, content_type=FORM, **options):
    """POST of files as a form."""
    return client.signed("POST", path, form(*files), content_type=content_type, **options)


def parts(answer):
    """The parts of a multipart/mixed answer: (headers, bytes) each."""
    assert answer.status == 200, answer
    assert answer.headers.get_content_type() == "multipart/mixed", answer
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    assert message.is_multipart() and not message.defects, answer
    return [(part, part.get_payload(decode=True)) for part in message.iter_parts()]


def archives(answer):
    """The files of each part, which is a tar: [{name: bytes}, …]; a folder's bytes are None."""
    found = []
    for _, content in parts(answer):
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            found.append({m.name: tar.extractfile(m).read() if m.isfile() else None for m in tar.getmembers()})
    return found
