"""A visitor without a browser: Streamlit's own messages over its websocket, uploads and media over its HTTP routes.

It answers as the frontend does where the server can tell: it keeps the address, reports which large messages it
holds, and fetches the pictures that a page shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

LONGEST = 120.0
"""Seconds after which an answer counts as an error."""
COOKIE = "_streamlit_xsrf"
KEPT_MESSAGES = 400
MEDIA = re.compile(r"/media/[\w.]+")

Path = tuple[int, ...]


class Failed(Exception):  # noqa: N818 - what is counted, not a fault of this program
    """What a visitor was given in the place of an answer."""


@dataclass(frozen=True)
class Answered:
    """One run of a page.

    Attributes:
        seconds: From the request to the message that the script has finished.
        received: Bytes of all messages.
    """

    seconds: float
    received: int


class Visitor:
    """One session.

    Args:
        address: Where the dashboard answers, as ``http://host:port``.

    Attributes:
        elements: What stands on the page, by its place in the tree.
        query: The address's query string.
        page: Path of the page: ``overview`` is empty.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.elements: dict[Path, Element] = {}
        self.query, self.page, self.session = "", "", ""
        self._pages: dict[str, str] = {}
        self._hash = ""
        self._socket: ClientConnection | None = None
        self._messages: dict[str, ForwardMsg] = {}
        self._fetched: set[str] = set()
        self._cookie = ""
        self._uploads: dict[str, Any] = {}

    async def open(self, page: str = "", query: str = "") -> Answered:
        """Connect, and ask for a page by its address."""
        self._cookie = await asyncio.to_thread(_cookie, self.address)
        headers = {"Cookie": f"{COOKIE}={self._cookie}", "Origin": self.address}
        try:
            self._socket = await connect(
                f"{self.address.replace('http', 'ws', 1)}/_stcore/stream", additional_headers=headers,
                subprotocols=["streamlit"],  # type: ignore[list-item]
                max_size=None, proxy=None, open_timeout=LONGEST, ping_interval=None,
            )  # fmt: skip
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Failed(f"no connection: {error}") from None
        self.page, self.query, self._hash = page, query, ""
        return await self.rerun()

    async def go(self, page: str, query: str = "") -> Answered:
        """Follow a link of the navigation, or one with choices in it."""
        self.page, self.query, self._hash = page, query, self._pages.get(page, "")
        return await self.rerun()

    async def rerun(self, *states: WidgetState) -> Answered:
        """Ask for a run of the page with these changes of its widgets, and wait until it has finished.

        Raises:
            Failed: If it ends with a traceback, or not at all.
        """
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_name, asked.page_script_hash = self.query, self.page, self._hash
        asked.widget_states.widgets.extend(states)
        asked.cached_message_hashes.extend(self._messages)
        asked.context_info.color_scheme = "light"
        asked.context_info.timezone = "Europe/Berlin"
        asked.context_info.url = f"{self.address}/{self.page}"
        begun = time.perf_counter()
        received = await self._answer(message)
        seconds = time.perf_counter() - begun
        for element in self.elements.values():
            if element.WhichOneof("type") == "exception":
                raise Failed(f"{self.page or 'overview'} shows a traceback: {element.exception.message[:300]}")
        return Answered(seconds, received)

    async def upload(self, widget: Element, name: str, content: bytes) -> Answered:
        """Give a file to an uploader through the server's upload route, and run the page with it."""
        message = BackMsg()
        request = message.file_urls_request
        request.request_id, request.session_id = uuid.uuid4().hex, self.session
        request.file_names.append(name)
        begun = time.perf_counter()
        await self._answer(message, until=request.request_id)
        urls = self._uploads.pop(request.request_id)
        await asyncio.to_thread(self._put, urls.upload_url, name, content)
        state = WidgetState(id=widget.file_uploader.id)
        info = state.file_uploader_state_value.uploaded_file_info.add()
        info.name, info.size, info.file_id = name, len(content), urls.file_id
        info.file_urls.CopyFrom(urls)
        answer = await self.rerun(state)
        return Answered(time.perf_counter() - begun, answer.received)

    async def pictures(self) -> None:
        """Fetch what media the page shows and this visitor has not, as a browser does."""
        shown = set(MEDIA.findall("".join(map(str, self.elements.values()))))
        for url in sorted(shown - self._fetched):
            await asyncio.to_thread(self._get, url)
        self._fetched |= shown

    async def picture(self, alt: str) -> bytes:
        """The file of the first image whose alternative text begins so."""
        for element in self.in_order():
            if element.WhichOneof("type") == "imgs" and element.imgs.imgs[0].alt.startswith(alt):
                return await asyncio.to_thread(self._get, element.imgs.imgs[0].url)
        raise Failed(f"{self.page or 'overview'} shows no image {alt!r}")

    async def close(self) -> None:
        """Close the tab."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    def find(self, kind: str, part: str = "") -> Element:
        """The first element of a kind in whose text something occurs.

        Raises:
            Failed: If there is none.
        """
        for element in self.in_order():
            if element.WhichOneof("type") == kind and part in str(getattr(element, kind)):
                return element
        raise Failed(f"{self.page or 'overview'} shows no {kind} with {part!r}")

    def in_order(self) -> Iterator[Element]:
        """What stands on the page, from top to bottom."""
        return (self.elements[path] for path in sorted(self.elements))

    def told(self) -> dict[Path, str]:
        """A digest of each element of the page, by its place: the same for all who see the same."""
        found = {}
        for path, element in self.elements.items():
            if element.WhichOneof("type") == "download_button":
                element.download_button.ClearField("deferred_file_id")  # drawn by lot for each
            found[path] = hashlib.sha256(element.SerializeToString(deterministic=True)).hexdigest()
        return found

    async def _answer(self, message: BackMsg, until: str = "") -> int:
        assert self._socket is not None
        received = 0
        try:
            async with asyncio.timeout(LONGEST):
                await self._socket.send(message.SerializeToString())
                while True:
                    data = await self._socket.recv(decode=False)
                    received += len(data)
                    if self._take(ForwardMsg.FromString(data), until):
                        return received
        except TimeoutError:
            raise Failed(f"{self.page or 'overview'} gave no answer in {LONGEST:.0f} s") from None
        except WebSocketException as error:
            raise Failed(f"{self.page or 'overview'}: the connection ended: {error}") from None

    def _take(self, message: ForwardMsg, until: str) -> bool:
        """Take in a message; whether it is the one that is waited for."""
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            place = message.metadata
            message = ForwardMsg.FromString(self._messages[message.ref_hash].SerializeToString())
            message.metadata.CopyFrom(place)
            kind = message.WhichOneof("type")
        elif message.metadata.cacheable:
            self._messages[message.hash] = message
            while len(self._messages) > KEPT_MESSAGES:
                del self._messages[next(iter(self._messages))]
        if kind == "new_session":
            self.session = message.new_session.initialize.session_id or self.session
            self._hash = message.new_session.page_script_hash
            if not message.metadata.run.fragment_ids:
                self.elements.clear()
        elif kind == "navigation":
            listed = message.navigation.app_pages
            self._pages = {"" if one.is_default else one.url_pathname: one.page_script_hash for one in listed}
            self._hash = message.navigation.page_script_hash
            self.page = next((name for name, known in self._pages.items() if known == self._hash), self.page)
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "delta":
            self._place(tuple(message.metadata.delta_path), message)
        elif kind == "file_urls_response":
            if message.file_urls_response.error_msg:
                raise Failed(f"no place to upload to: {message.file_urls_response.error_msg}")
            self._uploads[message.file_urls_response.response_id] = message.file_urls_response.file_urls[0]
            return message.file_urls_response.response_id == until
        elif kind == "script_finished" and not until:
            if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                raise Failed(f"{self.page or 'overview'} could not be compiled")
            return message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN
        return False

    def _place(self, path: Path, message: ForwardMsg) -> None:
        if message.delta.WhichOneof("type") != "new_element":
            return
        for other in [known for known in self.elements if known[: len(path)] == path]:
            del self.elements[other]
        if message.delta.new_element.WhichOneof("type") not in ("empty", "skeleton", "spinner"):
            self.elements[path] = message.delta.new_element

    def _put(self, url: str, name: str, content: bytes) -> None:
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        body = f"{head}Content-Type: image/png\r\n\r\n".encode() + content + f"\r\n--{mark}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={mark}", "Cookie": f"{COOKIE}={self._cookie}",
            "X-Xsrftoken": self._cookie,
        }  # fmt: skip
        self._http(urllib.request.Request(f"{self.address}{url}", body, headers, method="PUT"))

    def _get(self, url: str) -> bytes:
        return self._http(urllib.request.Request(f"{self.address}{url}"))

    def _http(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=LONGEST) as answer:
                content: bytes = answer.read()
                return content
        except OSError as error:  # urllib's own errors are among them
            raise Failed(f"{request.get_method()} {request.selector}: {error}") from None


def changed(element: Element, value: str) -> WidgetState:
    """The state of a text field, a box of options or a row of buttons after somebody has set it."""
    kind = str(element.WhichOneof("type"))
    state = WidgetState(id=getattr(element, kind).id)
    if kind == "button_group":
        state.string_array_value.data.append(value)
    else:
        state.string_value = value
    return state


def _cookie(address: str) -> str:
    """The token that belongs to uploads, as the server hands it to a browser."""
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=LONGEST) as answer:
            found = re.search(rf"{COOKIE}=([^;]+)", answer.headers.get("Set-Cookie", ""))
    except OSError as error:
        raise Failed(f"the server does not answer: {error}") from None
    return found.group(1) if found else ""
