"""Clients that others make: generated ones make every call, schemathesis tries what nobody would, a browser is on another origin."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from online.http.app import create_app
from tests.online.conftest import OFTEN, FeedServer, serving

pytestmark = pytest.mark.nightly(part="clients")

HERE = Path(__file__).parent / "clients"
PYTHON_TOOLS = ("schemathesis==4.32.5", "openapi-python-client==0.29.1")
NODE_TOOLS = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@20.19.0")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What the command printed; it must succeed."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment of their own: they bring other versions than the lock's."""
    folder = tmp_path_factory.mktemp("tools")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_TOOLS)
    return folder / "bin"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the TypeScript client."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed, so the TypeScript client is not tried")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--no-audit", "--no-fund", "--silent", *NODE_TOOLS, cwd=folder)
    return folder


@pytest.fixture
def schema(served: FeedServer, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_bytes(served.http.get("/openapi.json").content)
    return path


def operations(schema: Path) -> dict[str, str]:
    """Every call, `METHOD path` → name."""
    paths = json.loads(schema.read_text())["paths"]
    calls = ((f"{method.upper()} {path}", call) for path, methods in paths.items() for method, call in methods.items())
    return {name: call["operationId"] for name, call in calls}


def test_the_client_that_openapi_python_client_makes_can_make_every_call(
    served: FeedServer, schema: Path, tools: Path, tmp_path: Path
) -> None:
    where = tmp_path / "rex_client"
    generate = ("generate", "--path", schema, "--meta", "none", "--output-path", where, "--fail-on-warning")
    run(tools / "openapi-python-client", *generate, env={"PATH": f"{tools}:{os.environ['PATH']}"})
    script = HERE / "every_call.py"
    made = run(
        tools / "python", script, str(served.http.base_url), served.now.isoformat(), env={"PYTHONPATH": str(tmp_path)}
    )
    assert made.split() == sorted(operations(schema).values())


def test_the_types_that_openapi_typescript_makes_fit_every_call(served: FeedServer, schema: Path, node: Path) -> None:
    bin_of = node / "node_modules" / ".bin"
    run(bin_of / "openapi-typescript", schema, "-o", "schema.d.ts", cwd=node)
    shutil.copy(HERE / "every_call.ts", node)
    strict = ("--strict", "--noUncheckedIndexedAccess", "--skipLibCheck", "--types", "node")
    run(bin_of / "tsc", *strict, "--target", "es2022", "--module", "nodenext", "every_call.ts", cwd=node)
    made = run("node", "every_call.js", str(served.http.base_url), served.now.isoformat(), cwd=node)
    assert made.splitlines() == sorted(operations(schema))


def test_schemathesis_finds_no_server_error_and_nothing_undocumented(
    served: FeedServer, tools: Path, tmp_path: Path
) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    url = f"{served.http.base_url}/openapi.json".replace("//openapi", "/openapi")
    options = ("--checks", checks, "--max-examples", "100", "--seed", "1", "--no-color", "--workers", "2")
    told = run(tools / "schemathesis", "run", url, *options, cwd=tmp_path)
    assert "No issues found" in told, told
    print(told)


@contextmanager
def page_server() -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """An origin of its own with the page, and what the page has told it."""
    told: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (HERE / "page.html").read_bytes() if self.path.startswith("/?") else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test tells what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def visit(url: str, told: queue.Queue[dict[str, Any]], profile: Path) -> dict[str, Any]:
    """What the page told after a real browser has opened it."""
    assert CHROMIUM is not None
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
    quiet += ("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage")
    browser = subprocess.Popen(
        [CHROMIUM, *quiet, f"--user-data-dir={profile}", "--remote-debugging-port=0", url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return told.get(timeout=60)
    finally:
        browser.terminate()
        browser.wait(20)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed, so no browser on another origin is tried")
def test_a_browser_on_another_origin_reads_a_feed_and_sends_events(served: FeedServer, tmp_path: Path) -> None:
    with page_server() as (allowed, told), page_server() as (foreign, served_there):
        online = OFTEN.model_copy(update={"http": replace(OFTEN.http, cors_origins=(allowed,))})
        with serving(create_app(served.settings, online, clock=lambda: served.now)) as http:
            site = FeedServer(http, served.client, served.keys, served.settings)
            site.wait_for(served.http.get("/readyz").json()["snapshot"])
            query = urlencode({"service": str(http.base_url).rstrip("/"), "now": served.now.isoformat()})
            stream = served.keys.event_stream(served.keys.partition("u-page"))

            refused = visit(f"{foreign}/?{query}", served_there, tmp_path / "foreign")
            for call in ("feed", "refused", "sent", "put"):
                assert refused[call] == {"error": "TypeError"}, "a page of another origin read an answer"
            assert served.client.xlen(stream) == 0, "a page of another origin has changed something"

            seen = visit(f"{allowed}/?{query}", told, tmp_path / "allowed")
            assert seen["feed"]["status"] == 200, seen
            assert len(seen["feed"]["body"]["items"]) == 3
            assert seen["refused"]["body"]["type"] == "urn:rex:invalid_request"
            assert seen["sent"]["body"]["accepted"] == 1
            assert seen["put"]["status"] == 202
            assert seen["beacon"] is True
            about = served.http.get("/v1/users/u-page").json()
            assert (about["follows"]["author"], about["recent_reads"], about["languages"]) == (["a7"], ["s05"], ["en"])
