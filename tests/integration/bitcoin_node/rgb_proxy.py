"""The RGB proxy, protocol 0.2: where one wallet leaves a consignment and the other its acknowledgement."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import Any

from anya_actors.serve.bitcoin_node.http import HttpServer, Reply, Request


class RgbProxy:
    """Keeps consignments in memory; for one test."""

    def __init__(self) -> None:
        self.consignments: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.acknowledgements: dict[str, bool] = {}
        self.server = HttpServer(self._answer)

    async def start(self) -> str:
        """Listen; the transport endpoint for invoices."""
        return f"rpc://127.0.0.1:{await self.server.start('127.0.0.1', 0)}/json-rpc"

    async def _answer(self, request: Request) -> Reply:
        kind = request.headers.get(b"content-type", b"").decode()
        if kind.startswith("multipart/form-data"):
            fields = _multipart(request.body, kind.partition("boundary=")[2].strip('"'))
            call = {"method": fields["method"].decode(), "id": fields["id"].decode()}
            params = {**json.loads(fields["params"]), "file": fields.get("file")}
        else:
            call = json.loads(request.body)
            params = call.get("params") or {}
        content: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            content["result"] = self._call(call["method"], params)
        except KeyError:
            content["error"] = {"code": -400, "message": "Consignment file not found"}
        return Reply(HTTPStatus.OK, json.dumps(content).encode(), "application/json")

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        match method:
            case "server.info":
                return {"protocol_version": "0.2", "version": "0.3.0", "uptime": 1}
            case "consignment.post":
                kept = {name: params.get(name) for name in ("txid", "vout")}
                self.consignments[params["recipient_id"]] = (params["file"], kept)
                return True
            case "consignment.get":
                file, kept = self.consignments[params["recipient_id"]]
                return {"consignment": base64.b64encode(file).decode(), **kept}
            case "ack.post":
                self.acknowledgements[params["recipient_id"]] = params["ack"]
                return True
            case "ack.get":
                return self.acknowledgements.get(params["recipient_id"])
        raise AssertionError(method)


def _multipart(body: bytes, boundary: str) -> dict[str, bytes]:
    fields = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        fields[name] = content.removesuffix(b"\r\n")
    return fields
