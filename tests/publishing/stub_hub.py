"""A server on loopback that answers as the Hugging Face Hub does, and keeps what it is sent."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

TOKEN = "hf_of_a_test"
SPEAKS_LFS = version("huggingface_hub").startswith("0.")
"""Newer clients send large files by a protocol of their own, which is not imitated here."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StubHub:
    """What was sent; ``refuse`` holds statuses by the beginnings of paths."""

    def __init__(self):
        self.url = ""
        self.refuse = {}
        self.repositories, self.large, self.files, self.messages = set(), {}, {}, []

    def answer(self, path, body):
        """Return status, content and headers."""
        for start, status in self.refuse.items():
            if path.startswith(start):
                return status, {"error": "made to refuse"}, {}
        for pattern, handle in self.handlers.items():
            if found := re.fullmatch(pattern, path):
                answer = handle(*found.groups(), body)
                return answer if isinstance(answer, tuple) else (200, answer, {})
        return 404, {"error": path}, {}

    @property
    def handlers(self):
        return {
            "/api/whoami-v2": lambda _: {"name": "me", "type": "user", "orgs": []},
            "/api/validate-yaml": lambda _: {"errors": [], "warnings": []},
            "/api/repos/create": self._create,
            "/api/models/.+/preupload/main": lambda body: {
                "files": [self._mode(file["path"]) for file in json.loads(body)["files"]]
            },
            r"/.+\.git/info/lfs/objects/batch": lambda body: {
                "transfer": "basic",
                "objects": [self._upload(item) for item in json.loads(body)["objects"]],
            },
            "/lfs/.+": self._keep,
            "/api/models/(.+)/commit/main": self._commit,
            "/(.+)/resolve/main/(.+)": self._download,
        }

    def _create(self, body):
        given = json.loads(body)
        repo = f"{given.get('organization') or 'me'}/{given['name']}"
        self.repositories.add(repo)
        return {"url": f"{self.url}/{repo}"}

    def _keep(self, body):
        self.large[hashlib.sha256(body).hexdigest()] = body
        return {}

    def _download(self, repo, name, _):
        content = self.files[(repo, name)]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return 200, content, {"ETag": etag, "X-Repo-Commit": COMMIT}

    def _mode(self, path):
        large = SPEAKS_LFS and path.endswith((".zip", ".mp4"))
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def _upload(self, item):
        action = {"upload": {"href": f"{self.url}/lfs/{item['oid']}", "header": {}}}
        return {"oid": item["oid"], "size": item["size"], "actions": action}

    def _commit(self, repo, body):
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.messages.append(value["summary"])
            elif line["key"] == "file":
                self.files[(repo, value["path"])] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[(repo, value["path"])] = self.large[value["oid"]]
        url = f"{self.url}/{repo}/commit/{COMMIT}"
        return {"commitUrl": url, "commitOid": COMMIT, "success": True}


@contextmanager
def serving():
    """Serve a :class:`StubHub` on a free port of loopback."""
    hub = StubHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self):
            path = self.path.partition("?")[0]
            body = self._body()
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            public = path.startswith("/lfs/") or "/resolve/" in path
            status, content, headers = (
                hub.answer(path, body)
                if allowed or public
                else (401, {"error": "Invalid credentials"}, {})
            )
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = _do

        def _body(self):
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
