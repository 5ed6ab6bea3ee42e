"""Files and the Batch API of the test server: upload, create, poll, collect, cancel."""

import json
import time
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from tests.support.openai_server import ServerConfig, prompt_key
from tests.support.replies import completion


class Batches:
    """Uploaded files and running batches. A batch takes `config.batch_s`; its results are made when it ends."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.files: dict[str, bytes] = {}
        self.uploads: list[dict[str, Any]] = []
        self.batches: dict[str, dict[str, Any]] = {}
        self.started: dict[str, float] = {}

    async def handle(self, request: BaseRequest) -> web.StreamResponse | None:
        """The answer, or None where the path is not one of ours."""
        parts = request.path.removeprefix("/v1/").split("/")
        if parts[0] == "files" and parts[2:] == ["content"] and parts[1] in self.files:
            return web.Response(body=self.files[parts[1]], content_type="application/octet-stream")
        if parts == ["batches"] and request.method == "POST":
            return self._create(json.loads(await request.read()))
        if parts == ["batches"]:
            return web.json_response({"object": "list", "data": list(self.batches.values()), "has_more": False})
        if parts[0] == "batches" and len(parts) > 1 and parts[1] in self.batches:
            if parts[2:] == ["cancel"]:
                self.started[parts[1]] = 0.0
            return web.json_response(self._look(parts[1]))
        return None

    async def upload(self, request: BaseRequest) -> dict[str, Any]:
        """Keep a file of any purpose."""
        data, filename, purpose = b"", "", ""
        reader = await request.multipart()
        async for part in reader:
            if getattr(part, "name", None) == "file":
                filename = str(part.filename)  # type: ignore[union-attr]
                data = bytes(await part.read())  # type: ignore[union-attr]
            elif getattr(part, "name", None) == "purpose":
                purpose = (await part.read()).decode()  # type: ignore[union-attr]
        file = {"id": self._store(data), "object": "file", "bytes": len(data), "created_at": 1, "status": "processed"}
        self.uploads.append({**file, "filename": filename, "purpose": purpose})
        return self.uploads[-1]

    def _store(self, data: bytes) -> str:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = data
        return name

    def _create(self, body: dict[str, Any]) -> web.Response:
        name = f"batch_{len(self.batches) + 1}"
        lines = self.files[body["input_file_id"]].splitlines()
        self.started[name] = time.monotonic()
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"],
            "created_at": 1,
            "metadata": body.get("metadata"),
            "status": "in_progress",
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        return web.json_response(self.batches[name])

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        total = batch["request_counts"]["total"]
        share = (time.monotonic() - self.started[name]) / max(self.config.batch_s, 1e-9)
        if batch["status"] == "in_progress":
            if share >= 1:
                self._finish(batch)
            else:
                batch["request_counts"]["completed"] = int(total * share)
        return batch

    def _finish(self, batch: dict[str, Any]) -> None:
        """Write the output and error files, in an order that is not the input's."""
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        lines.sort(key=lambda line: prompt_key(line["body"]["messages"]))
        expired = int(len(lines) * self.config.batch_expire)
        done, late = lines[expired:], lines[:expired]
        outputs = []
        for line in done:
            response = {"status_code": 200, "request_id": "r", "body": completion(self.config, line["body"], "ok")}
            outputs.append({"id": "o", "custom_id": line["custom_id"], "response": response, "error": None})
        if self.config.batch_odd:
            outputs[1]["response"] = {"status_code": 400, "request_id": "r", "body": {"error": "no"}}
        error = {"code": "batch_expired", "message": "This request could not be executed before the window expired."}
        errors = [{"id": "e", "custom_id": line["custom_id"], "response": None, "error": error} for line in late]
        content = _jsonl(outputs)
        batch["output_file_id"] = self._store(content[content.find(b"\n") // 2 :] if self.config.batch_odd else content)
        batch["error_file_id"] = self._store(_jsonl(errors)) if errors else None
        batch["request_counts"].update(completed=len(done), failed=len(late))
        batch["status"] = "expired" if errors else "completed"


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
