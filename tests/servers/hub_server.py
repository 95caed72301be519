"""A small server that speaks the Hugging Face Hub's protocol on a loopback port, on the standard library.

Repositories live in memory: each is a list of commits with branches and tags. Reading (revision, tree,
resolve) and writing (create, branch, tag, preupload, LFS, commit, pull request) work as
huggingface_hub expects them. Failures are scripted per path.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_FROM_BYTES = 1024
"""Files of this size or more go to large file storage."""


@dataclass
class Repository:
    """Commits by hash, and names that point to them."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    """Those of the names that are tags."""
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], *, branch: str = "main", message: str = "") -> str:
        """Adds a commit with these files on a branch; its hash."""
        digest = hashlib.sha1(f"{len(self.commits)} {branch} {sorted(files)}".encode())
        for name in sorted(files):
            digest.update(files[name])
        sha = digest.hexdigest()
        self.commits[sha] = dict(files)
        self.refs[branch] = sha
        self.messages.append(message)
        return sha

    def resolve(self, revision: str) -> str | None:
        """The hash that a branch, a tag or a hash names."""
        return revision if revision in self.commits else self.refs.get(revision)


@dataclass(frozen=True)
class Failure:
    """How requests whose `METHOD /path` matches are answered instead."""

    pattern: str
    status: int
    error_code: str | None = None
    """The Hub's `X-Error-Code`."""
    message: str = "scripted failure"


class HubServer:
    """A server for the length of a `with` block; `endpoint` is what huggingface_hub wants."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.lfs: dict[str, bytes] = {}
        """Large files that have arrived, by SHA-256."""
        self.failures: list[Failure] = []
        self.requests: list[str] = []
        """`METHOD /path` of every request, oldest first."""
        self.dropped_uploads = 0
        """As many uploads of large files break in the middle."""
        self.cut_downloads = 0
        """As many large files break off in the middle."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def endpoint(self) -> str:
        """Base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo_id: str, folder: Path) -> str:
        """A repository with a folder's files as its first commit; the commit."""
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        return self.repositories.setdefault(repo_id, Repository()).commit(files)

    def fetched(self) -> list[str]:
        """Names of the files whose content was sent, oldest first."""
        found = (re.fullmatch(r"GET /[^/]+/[^/]+/resolve/[^/]+/(.+)", request) for request in self.requests)
        return [match[1] for match in found if match]

    def __enter__(self) -> "HubServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, str]] = [
    ("GET", rf"/api/models/{_REPO}/revision/(?P<revision>[^/]+)", "show_revision"),
    ("GET", rf"/api/models/{_REPO}", "show_revision"),
    ("GET", rf"/api/models/{_REPO}/refs", "show_refs"),
    ("GET", rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)", "show_tree"),
    ("GET", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", "send_file"),
    ("HEAD", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", "send_file"),
    ("POST", r"/api/repos/create", "create_repository"),
    ("POST", r"/api/validate-yaml", "validate_card"),
    ("POST", rf"/api/models/{_REPO}/branch/(?P<branch>[^/]+)", "create_branch"),
    ("POST", rf"/api/models/{_REPO}/tag/(?P<revision>[^/]+)", "create_tag"),
    ("POST", rf"/api/models/{_REPO}/preupload/(?P<revision>[^/]+)", "choose_storage"),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", "plan_uploads"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "take_upload"),
    ("POST", rf"/api/models/{_REPO}/commit/(?P<revision>[^/]+)", "make_commit"),
]


def _handler(owner: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self) -> None:
            path = urlsplit(self.path).path
            request = f"{self.command} {unquote(path)}"
            owner.requests.append(request)
            self.query = parse_qs(urlsplit(self.path).query)
            for failure in owner.failures:
                if re.search(failure.pattern, request):
                    self.body()
                    self.refuse(failure.status, failure.error_code, failure.message)
                    return
            for method, pattern, name in _ROUTES:
                match = re.fullmatch(pattern, path)
                if method == self.command and match:
                    parts = {key: unquote(value) for key, value in match.groupdict().items()}
                    repository = owner.repositories.get(parts.get("repo", ""))
                    if "repo" in parts and repository is None:
                        self.body()
                        self.refuse(404, "RepoNotFound", "no such repository")
                        return
                    parts.pop("repo", None)
                    action: Callable[..., None] = getattr(self, name)
                    action(*([repository] if repository is not None else []), **parts)
                    return
            self.body()
            self.refuse(404, None, f"the stand-in has no {request}")

        do_GET = do_HEAD = do_POST = do_PUT = answer

        def body(self) -> bytes:
            length = self.headers.get("Content-Length")
            return self.rfile.read(int(length)) if length else b""

        def send(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if owner.cut_downloads and self.command == "GET" and len(content) > LFS_FROM_BYTES:
                owner.cut_downloads -= 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            self.wfile.write(content)

        def send_json(self, record: Any) -> None:
            self.send(json.dumps(record).encode())

        def refuse(self, status: int, code: str | None, message: str) -> None:
            headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
            self.send(json.dumps({"error": message}).encode(), headers, status)

        # Reading

        def files_at(self, repository: Repository, revision: str) -> tuple[str, dict[str, bytes]] | None:
            sha = repository.resolve(revision)
            if sha is None:
                self.refuse(404, "RevisionNotFound", "no such revision")
                return None
            return sha, repository.commits[sha]

        def show_revision(self, repository: Repository, revision: str = "main") -> None:
            found = self.files_at(repository, revision)
            if found is not None:
                sha, files = found
                self.send_json({"id": "x/y", "sha": sha, "siblings": [{"rfilename": name} for name in files]})

        def show_refs(self, repository: Repository) -> None:
            kinds: dict[str, list] = {"branches": [], "tags": [], "converts": []}
            for name, sha in repository.refs.items():
                kind, prefix = ("tags", "tags") if name in repository.tags else ("branches", "heads")
                kinds[kind].append({"name": name, "ref": f"refs/{prefix}/{name}", "targetCommit": sha})
            self.send_json(kinds)

        def show_tree(self, repository: Repository, revision: str) -> None:
            found = self.files_at(repository, revision)
            if found is not None:
                self.send_json([_tree_entry(name, content) for name, content in found[1].items()])

        def send_file(self, repository: Repository, revision: str, name: str) -> None:
            found = self.files_at(repository, revision)
            if found is None:
                return
            sha, files = found
            if name not in files:
                self.refuse(404, "EntryNotFound", "no such file")
                return
            content = files[name]
            headers = {"X-Repo-Commit": sha, "ETag": f'"{_oid(content)}"', "Accept-Ranges": "bytes"}
            start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if start is not None and self.command == "GET":
                first = int(start[1])
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
                self.send(content[first:], headers, 206)
            else:
                self.send(content, headers)

        # Writing

        def create_repository(self) -> None:
            wanted = json.loads(self.body())
            name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
            if name in owner.repositories:
                self.send(json.dumps({"url": f"{owner.endpoint}/{name}"}).encode(), status=409)
                return
            is_private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
            owner.repositories[name] = Repository(private=is_private)
            owner.repositories[name].commit({}, message="initial commit")
            self.send_json({"url": f"{owner.endpoint}/{name}", "name": name})

        def validate_card(self) -> None:
            self.body()
            self.send_json({"errors": [], "warnings": []})

        def create_branch(self, repository: Repository, branch: str) -> None:
            self.body()
            if branch in repository.refs:
                self.refuse(409, None, "exists already")
                return
            repository.refs[branch] = repository.refs["main"]
            self.send_json({})

        def create_tag(self, repository: Repository, revision: str) -> None:
            tag = json.loads(self.body())["tag"]
            if tag in repository.refs:
                self.refuse(409, None, "exists already")
                return
            repository.refs[tag] = repository.resolve(revision)
            repository.tags.add(tag)
            self.send_json({})

        def choose_storage(self, repository: Repository, revision: str) -> None:
            files = json.loads(self.body())["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["size"] >= LFS_FROM_BYTES else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            self.send_json({"files": modes})

        def plan_uploads(self, repository: Repository) -> None:
            objects = []
            for wanted in json.loads(self.body())["objects"]:
                plan = {"oid": wanted["oid"], "size": wanted["size"]}
                if wanted["oid"] not in owner.lfs:
                    plan["actions"] = {"upload": {"href": f"{owner.endpoint}/lfs/{wanted['oid']}", "header": {}}}
                objects.append(plan)
            self.send_json({"objects": objects, "transfer": "basic"})

        def take_upload(self, oid: str) -> None:
            if owner.dropped_uploads:
                owner.dropped_uploads -= 1
                self.close_connection = True
                self.connection.close()
                return
            content = self.body()
            assert hashlib.sha256(content).hexdigest() == oid
            owner.lfs[oid] = content
            self.send(b"")

        def make_commit(self, repository: Repository, revision: str) -> None:
            lines = [json.loads(line) for line in self.body().splitlines() if line.strip()]
            files = dict(repository.commits[repository.refs[revision]])
            message = ""
            for line in lines:
                value = line["value"]
                if line["key"] == "header":
                    message = value["summary"]
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = owner.lfs[value["oid"]]
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
            is_pull_request = self.query.get("create_pr") == ["1"]
            branch = "refs/pr/1" if is_pull_request else revision
            sha = repository.commit(files, branch=branch, message=message)
            answer = {"success": True, "commitOid": sha, "commitUrl": f"{owner.endpoint}/x/y/commit/{sha}"}
            if is_pull_request:
                answer["pullRequestUrl"] = f"{owner.endpoint}/x/y/discussions/1"
            self.send_json(answer)

    return Handler


def _oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if len(content) >= LFS_FROM_BYTES else hashlib.sha1(content).hexdigest()


def _tree_entry(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
    if len(content) >= LFS_FROM_BYTES:
        entry["lfs"] = {"oid": _oid(content), "size": len(content), "pointerSize": 130}
    return entry
