"""The protocol over REST: its addresses below /v2, JSON, and the binary tensor data extension."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.errors import NotServedError
from serving.http.body import JSON_COPIES
from serving.http.classifying import Classifying
from serving.http.fast_path import Endpoint
from serving.http.guard import Enter, Guard, JsonObject, error_headers
from serving.http.mount import Methods
from serving.http.priority import PriorityRule
from serving.http.readiness import Readiness
from serving.oip.asking import HEADER_LENGTH, read_request
from serving.oip.inference import InferResponse, inference_of
from serving.oip.models import EXTENSIONS, SERVER, VERSION, Models, metadata_of
from serving.watch.record import RequestRecord

MODEL, OF_VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
METHODS: Methods = {
    "/v2": "GET",
    "/v2/": "GET",
    "/v2/health/live": "GET",
    "/v2/health/ready": "GET",
    MODEL: "GET",
    OF_VERSION: "GET",
    f"{MODEL}/ready": "GET",
    f"{OF_VERSION}/ready": "GET",
    f"{MODEL}/infer": "POST",
    f"{OF_VERSION}/infer": "POST",
}


class Written:
    """Answers and errors as the protocol has them."""

    def answer(self, body: InferResponse, record: RequestRecord) -> Response:
        """The outputs in JSON, and those that are binary behind it."""
        outputs: list[JsonObject] = []
        tails: list[bytes] = []
        for tensor, binary in zip(body.outputs, body.binary, strict=True):
            output: JsonObject = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
            if binary:
                tails.append(tensor.packed())
                output["parameters"] = {"binary_data_size": len(tails[-1])}
            else:
                output["data"] = tensor.in_json()
            outputs.append(output)
        head = {
            "model_name": body.model_name,
            "model_version": body.model_version,
            "id": record.request_id,
            "outputs": outputs,
        }
        data = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {"X-Request-Id": record.request_id}
        if tails:
            headers[HEADER_LENGTH] = str(len(data))
            data = b"".join((data, *tails))
        record.timings.end("encode")
        headers["Server-Timing"] = record.timings.header()
        return Response(data, 200, headers, media_type="application/octet-stream" if tails else "application/json")

    def error(self, error: JsonObject, status: int, record: RequestRecord) -> Response:
        """The sentence of an error. What breaks a rule has the status 400, as the protocol says."""
        status = 400 if status == 422 else status
        return _json({"error": error["message"]}, status, error_headers(status, record))


def oip_endpoints(models: Models, guard: Guard, classifying: Classifying, readiness: Readiness) -> dict[str, Endpoint]:
    """The endpoint for each address of METHODS, and for each address of an inference request to a model there is.

    The latter are looked up, where a route would have to be found first.
    """

    def infer_of(name: str, version: str = "") -> Endpoint:
        # A label of metrics: one for each kind of input, whatever name and version a client asks for.
        address = f"/v2/models/{models.find(name).kind}/infer"
        return guard.limited_as(address, _handler(models, name, version, classifying, guard.priority), Written())

    infer = {}
    for name, modality in models.by_name.items():
        infer[f"/v2/models/{name}/infer"] = infer_of(name)
        infer[f"/v2/models/{name}/versions/{modality.version}/infer"] = infer_of(name, modality.version)

    async def infer_by_route(request: Request) -> Response:
        name, version = request.path_params["name"], request.path_params.get("version", "")
        return await infer_of(name, version)(request)

    async def server(_request: Request) -> Response:
        return _json({"name": SERVER, "version": VERSION, "extensions": EXTENSIONS})

    async def live(_request: Request) -> Response:
        return _json({"live": True})

    async def ready(_request: Request) -> Response:
        is_ready = not readiness.reason_against()
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def metadata(request: Request) -> Response:
        name = request.path_params["name"]
        return _json(metadata_of(name, models.find(name, request.path_params.get("version", ""))))

    async def model_ready(request: Request) -> Response:
        name = request.path_params["name"]
        models.find(name, request.path_params.get("version", ""))
        is_ready = not readiness.reason_against()
        return _json({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    return {
        "/v2": server,
        "/v2/": server,
        "/v2/health/live": live,
        "/v2/health/ready": ready,
        **dict.fromkeys((MODEL, OF_VERSION), _found(metadata)),
        **dict.fromkeys((f"{MODEL}/ready", f"{OF_VERSION}/ready"), _found(model_ready)),
        **dict.fromkeys((f"{MODEL}/infer", f"{OF_VERSION}/infer"), _found(infer_by_route)),
        **infer,
    }


def _handler(
    models: Models, name: str, version: str, classifying: Classifying, priority: PriorityRule
) -> Callable[[Request, RequestRecord, Enter], Awaitable[InferResponse]]:
    async def infer(request: Request, record: RequestRecord, enter: Enter) -> InferResponse:
        inference = inference_of(models.find(name, version), classifying, priority)
        with classifying.intake.open(request) as arriving:
            data = await arriving.whole(inference.max_bytes, "body", JSON_COPIES)
            asked = await read_request(data, request.headers.get(HEADER_LENGTH))
            arriving.keep(len(data))
            del data
            return await inference.answer(name, asked, record, request, enter, arriving.waited_s)

    return infer


def _found(endpoint: Endpoint) -> Endpoint:
    """The endpoint, which answers 404 where there is no such model."""

    async def answering(request: Request) -> Response:
        try:
            return await endpoint(request)
        except NotServedError as error:
            return _json({"error": str(error)}, 404)

    return answering


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
