"""What is told of a server that does not do what is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


def test_a_server_that_refuses_is_told_without_the_login_of_its_address():
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://ann:secret@127.0.0.1:{server.server_port}/api"
        command = [sys.executable, "-m", "deployments.cli", "notify", "--off"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PREFECT_API_URL": url}
        )
        server.shutdown()
    assert (done.returncode, "refuses, or was lost" in done.stderr, "403" in done.stderr) == (1, True, True), done
    assert "secret" not in done.stdout + done.stderr
