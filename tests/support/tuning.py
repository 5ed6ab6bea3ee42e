"""Fine-tuning of the test server: files by name, jobs whose stages pass by the clock, events newest first."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from tests.support.batches import Batches
from tests.support.openai_server import ServerConfig

STAGES = ((0.0, "validating_files"), (0.1, "queued"), (0.2, "running"))


class Tuning:
    """Jobs over the files of `Batches`. A job takes `config.tune_s`, or for ever where that is negative."""

    def __init__(self, config: ServerConfig, batches: Batches, error: Callable[[str], web.Response]) -> None:
        self.config = config
        self.batches = batches
        self.error = error
        self.jobs: dict[str, dict[str, Any]] = {}
        self.began: dict[str, float] = {}
        self.held: set[str] = set()
        self.lost: set[str] = set()
        self.asked: list[dict[str, Any]] = []

    async def handle(self, request: BaseRequest) -> web.StreamResponse | None:
        """The answer, or None where the path is not one of ours."""
        parts = request.path.removeprefix("/v1/").split("/")
        if parts == ["files"] and request.method == "GET":
            return self._page(
                request, [f for f in self.batches.uploads if f["purpose"] == request.query.get("purpose")]
            )
        if parts == ["files"] and request.method == "POST":
            return await self._answer("upload", await self.batches.upload(request))
        if parts[:2] != ["fine_tuning", "jobs"]:
            return None
        if self.config.tune_refuse == "html":
            return web.Response(body=b"<html>a proxy</html>", content_type="text/html")
        if self.config.tune_refuse:
            return self.error(self.config.tune_refuse)
        if len(parts) == 2:
            if request.method == "POST":
                return await self._create(json.loads(await request.read()))
            return self._page(request, [self._look(name) for name in self.jobs][::-1])
        if parts[2] not in self.jobs:
            return self.error("404")
        if parts[3:] == ["events"]:
            return self._page(request, self._events(parts[2])[::-1])
        if parts[3:] == ["cancel"]:
            self._look(parts[2])["status"] = "cancelled"
        return web.json_response(self._look(parts[2]))

    async def _answer(self, what: str, made: dict[str, Any]) -> web.Response:
        """The work is done; the answer may be kept back (a moment to be killed in), or be lost the first time."""
        if self.config.tune_hold == what and what not in self.held:
            self.held.add(what)
            await asyncio.sleep(self.config.stall_s)
        if self.config.tune_lose and what not in self.lost:
            self.lost.add(what)
            return self.error("503")
        return web.json_response(made)

    def _page(self, request: BaseRequest, things: list[dict[str, Any]]) -> web.Response:
        after, limit = request.query.get("after"), int(request.query.get("limit", 20))
        start = next((i + 1 for i, thing in enumerate(things) if thing["id"] == after), 0)
        page = things[start : start + limit]
        return web.json_response({"object": "list", "data": page, "has_more": start + limit < len(things)})

    async def _create(self, body: dict[str, Any]) -> web.Response:
        if self.config.tunable and body["model"] not in self.config.tunable:
            said = {"message": f"The model {body['model']} is not available for fine-tuning.", "param": "model"}
            error = {**said, "type": "invalid_request_error", "code": "model_not_available"}
            return web.json_response({"error": error}, status=400)
        name = f"ftjob-{len(self.jobs) + 1}"
        chosen = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0}
        chosen |= body["method"].get("supervised", {}).get("hyperparameters", {})
        self.asked.append(body)
        self.began[name] = time.monotonic()
        self.jobs[name] = {
            "id": name,
            "object": "fine_tuning.job",
            "created_at": 1_800_000_000,
            "finished_at": None,
            "error": None,
            "fine_tuned_model": None,
            "organization_id": "org-test",
            "result_files": [],
            "status": "validating_files",
            "trained_tokens": None,
            "hyperparameters": chosen,
            "method": {"type": "supervised", "supervised": {"hyperparameters": chosen}},
            **{k: body.get(k) for k in ("model", "seed", "training_file", "validation_file")},
            "metadata": body.get("metadata") if self.config.tune_metadata else None,
        }
        self.jobs[name]["suffix"] = body.get("suffix")
        return await self._answer("create", self.jobs[name])

    def _share(self, name: str) -> float:
        return (time.monotonic() - self.began[name]) / self.config.tune_s if self.config.tune_s > 0 else 0.5

    def _look(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        if job["status"] in ("succeeded", "failed", "cancelled"):
            return job
        share = self._share(name)
        job["status"] = [stage for at, stage in STAGES if share >= at][-1]
        if share >= 0.5 and self.config.tune_fail:
            error = {"code": "invalid_training_file", "message": self.config.tune_fail, "param": "training_file"}
            job |= {"status": "failed", "error": error}
        elif share >= 1:
            epochs = job["hyperparameters"]["n_epochs"]
            tokens = sum(len(line) // 4 for line in self.batches.files[job["training_file"]].splitlines())
            model = f"ft:{job['model']}:acme:{job['suffix']}:{name}"
            job |= {"status": "succeeded", "fine_tuned_model": model, "trained_tokens": tokens * epochs}
            job |= {"finished_at": job["created_at"] + 60}
        return job

    def _events(self, name: str) -> list[dict[str, Any]]:
        """Oldest first."""
        job = self._look(name)
        events = [self._event(name, 0, f"Created fine-tuning job: {name}", None)]
        total = self.config.tune_steps
        done = int(total * min(1.0, self._share(name))) if job["status"] not in ("failed", "cancelled") else 0
        for step in range(1, done + 1):
            data = {"step": step, "total_steps": total, "train_loss": 1 / step, "valid_loss": 2 / step}
            events.append(self._event(name, step, f"Step {step}/{total}: training loss={1 / step:.2f}", data))
        if job["status"] == "succeeded":
            events.append(self._event(name, total + 1, "The job has successfully \x1b[31mcompleted", None))
        return events

    def _event(self, name: str, number: int, message: str, data: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "id": f"{name}-event-{number}",
            "object": "fine_tuning.job.event",
            "created_at": 1_800_000_000 + number,
            "level": "info",
            "message": message,
            "data": data,
            "type": "metrics" if data else "message",
        }
