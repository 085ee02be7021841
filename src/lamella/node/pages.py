"""The pages for people, and what their buttons ask for. Addresses hold hashes, never anything of a patient."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from lamella import __version__
from lamella.batch.case import PAGE, THUMBNAIL, result_in
from lamella.node.document import web_page
from lamella.node.download import zip_stream
from lamella.node.journal import Journal
from lamella.node.send import send_again
from lamella.node.settings import NodeSettings
from lamella.node.states import FINAL, Round, States
from lamella.node.studies import case_folders, overview
from lamella.node.upload import Uploads
from lamella.node.worker import Progress


class Pages:
    """Routes for `build_app`.

    Args:
        settings: of the node.
        states: where studies are.
        journal: told about whatever somebody asks for.
        uploads: takes files.
        progress: where the worker is.
        not_ready: why the node cannot work; empty where it can.
    """

    def __init__(
        self,
        settings: NodeSettings,
        states: States,
        journal: Journal,
        uploads: Uploads,
        progress: Callable[[], Progress | None],
        not_ready: Callable[[], str],
    ) -> None:
        self._settings, self._states, self._journal, self._uploads = settings, states, journal, uploads
        self._progress, self._not_ready = progress, not_ready

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        acts = {"retry": self._retry, "send": self._send, "remove": self._remove}
        return [
            Route("/", self._page),
            Route("/favicon.ico", lambda request: Response(status_code=204)),
            Route("/studies", self._studies),
            Route("/studies/{name}/result.zip", self._result),
            Route("/studies/{name}/report/{number:int}", self._file(PAGE, "text/html; charset=utf-8")),
            Route("/studies/{name}/picture/{number:int}", self._file(THUMBNAIL, "image/png")),
            *(
                Route(f"/studies/{{name}}/{verb}", self._acting(verb, act), methods=["POST"])
                for verb, act in acts.items()
            ),
            Route("/files", self._uploads.take, methods=["PUT"]),
            Route("/files/close", self._uploads.close, methods=["POST"]),
        ]

    def _page(self, request: Request) -> Response:
        dicom = self._settings.dicom
        facts = f"AE title {dicom.aet} at {dicom.host}, port {dicom.port}. Lamella {__version__}."
        http, scripts = self._settings.http, ("studies.js", "upload.js")
        return web_page("node.html", scripts, facts=facts, token=http is not None and http.token_file is not None)

    def _studies(self, request: Request) -> Response:
        return JSONResponse(overview(self._settings, self._states, self._progress(), self._not_ready()))

    def _result(self, request: Request) -> Response:
        one = self._states.find(request.path_params["name"])
        if one is None or not one.made:
            return _gone()
        headers = {"Content-Disposition": f'attachment; filename="lamella-{one.name}.zip"'}
        self._journal.note("downloaded", round=one.name)
        return StreamingResponse(zip_stream(list(map(result_in, case_folders(one)))), 200, headers, "application/zip")

    def _file(self, name: str, kind: str) -> Callable[[Request], Response]:
        """Answers with a file of the result of a series, counted from 1."""

        def answer(request: Request) -> Response:
            one, number = self._states.find(request.path_params["name"]), request.path_params["number"]
            folders = [] if one is None or not one.made else case_folders(one)
            found = [
                folder / name for folder in folders[number - 1 : number] if number > 0 and (folder / name).is_file()
            ]
            return FileResponse(found[0], media_type=kind) if found else _gone()

        return answer

    def _acting(self, verb: str, act: Callable[[Round, Request], str]) -> Callable[[Request], Response]:
        """Finds the round, acts while nobody moves it, and writes it down."""

        def answer(request: Request) -> Response:
            try:
                with self._states.guard:
                    one = self._states.find(request.path_params["name"])
                    refusal = "The study is not here any more." if one is None else act(one, request)
            except OSError:
                refusal = "The study was moved meanwhile. Try again."
            if refusal:
                return JSONResponse({"error": refusal}, 409)
            self._journal.note(verb, round=request.path_params["name"], peer=request.query_params.get("peer"))
            return JSONResponse({})

        return answer

    def _retry(self, one: Round, request: Request) -> str:
        if one.folder.parent.name not in ("refused", "failed"):
            return "Only a refused or failed study can be tried again."
        if one.made:  # thinned, and not sent
            send_again(self._states, one)
        else:
            one.note(reason="", attempts=0, ended=None)
            self._states.move(one, "ready")
        return ""

    def _send(self, one: Round, request: Request) -> str:
        peer = request.query_params.get("peer", "")
        if peer not in [known.name for known in self._settings.peers]:
            return "The config names no such peer."
        if not one.made:
            return "The study has no result to send."
        send_again(self._states, one, peer)
        return ""

    def _remove(self, one: Round, request: Request) -> str:
        if one.folder.parent.name not in (*FINAL, "ready"):
            return "The study is being worked on or sent. Remove it when it is done."
        self._states.remove(one)
        return ""


def _gone() -> Response:
    return JSONResponse({"error": "There is no such result."}, 404)
