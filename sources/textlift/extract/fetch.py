"""One page: the request, its response decoded, and the repair of a malformed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic

from dlt.common import logger

from textlift.arrow.build import build_page, unreadable_page
from textlift.arrow.pages import Page, clip_page, join_pieces
from textlift.codec.records import Codec
from textlift.declare import MILLISECONDS, Endpoint, Paging, TimeRange
from textlift.errors import ApiError, MalformedResponse, ServiceError, TransientError
from textlift.extract.paging import PageRequest, PageSize
from textlift.extract.progress import Progress
from textlift.extract.slices import Slice
from textlift.extract.workers import Workers
from textlift.http.client import Client, Content, parse_number
from textlift.http.urls import link_params
from textlift.windows import EPOCH, SECOND, Window

#: Malformed pages of one size within a page. Where there are more, it is not single records.
MAX_MALFORMED_PIECES = 16
#: HTTP status of a path that the service does not have.
NOT_FOUND = 404
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Service(Generic[Content]):
    """How to talk to a service.

    Attributes:
        client: Sends the requests.
        codec: Returns the codec of an endpoint.
        limit_param: Name of the parameter for the number of rows on a page. ``None`` if requests
            cannot choose it.
        page_param: Name of the parameter for the number of a page.
        first_page: Number of the first page at the service.
    """

    client: Client[Content]
    codec: Callable[[Endpoint], Codec]
    limit_param: str | None = "limit"
    page_param: str = "page"
    first_page: int = 1


def where(endpoint: Endpoint, slice_: Slice, request: PageRequest) -> str:
    """Return the place that a message is about: resource, partition, window, page."""
    parts = [endpoint.name, str(slice_), f"page {request.number}"]
    return ", ".join(part for part in parts if part)


class Fetcher:
    """Fetches pages of one endpoint. Any number of threads may use it.

    Args:
        service: The service.
        endpoint: The endpoint.
        size: What is known of the size of its pages.
        progress: Where requests are counted.
        workers: The threads of the run.
    """

    def __init__(
        self,
        service: Service[Any],
        endpoint: Endpoint,
        size: PageSize,
        progress: Progress,
        workers: Workers,
    ) -> None:
        self._service = service
        self._endpoint = endpoint
        self._codec = service.codec(endpoint)
        self._size = size
        self._progress = progress
        self._workers = workers
        #: The paths to try; one, once a response has come from it.
        self._paths = (endpoint.path, *endpoint.alternative_paths)

    def fetch(
        self,
        slice_: Slice,
        request: PageRequest,
        link: str | None,
        once: Sequence[type[TransientError]],
        on_response: Callable[[], None],
    ) -> Page:
        """Return a page. A malformed one is put together from smaller pages of the same rows.

        Args:
            slice_: What the page is a part of.
            request: Which page.
            link: The URL of the page, if the service named it.
            once: Retriable failures that are not to be retried.
            on_response: Called when a response is there, before it is decoded.

        Raises:
            TextliftError: What :meth:`.Client.get` raises, or the response is malformed and there
                are no smaller pages.
        """
        params = self._window_params(slice_)
        if request.limit is not None and self._service.limit_param:
            params[self._service.limit_param] = str(request.limit)
        if self._endpoint.paging is Paging.LINKED:
            # Parameters that the link leaves out are sent all the same.
            params.update(link_params(self._url(slice_), link) if link else {})
        else:
            params.update(self._page_params(request))
        try:
            return self._get_page(slice_, request, params, once, on_response)
        except MalformedResponse as error:
            if request.probe:
                return self._unreadable(error)
            if request.limit is None or not self._service.limit_param:
                raise
            logger.warning(
                f"{where(self._endpoint, slice_, request)}: {error}; requesting smaller pages"
            )
            return self._fetch_pieces(slice_, request, request.limit, error)

    def _fetch_pieces(
        self, slice_: Slice, request: PageRequest, limit: int, error: MalformedResponse
    ) -> Page:
        """Return the rows of a page from ever smaller pages, until the malformed record is alone."""
        linked = self._endpoint.paging is Paging.LINKED
        first, end = (request.number - 1) * limit, request.number * limit
        malformed, counted = [(first, end)], None
        size = self._size.limit or limit
        pieces = {first: self._unreadable(error)} if limit == 1 else {}
        unreadable = len(pieces)
        while malformed and limit > 1 and size > 1:
            size //= next(n for n in range(2, size + 1) if size % n == 0)
            # Pages of this size lie on a grid, and can reach over the ends of what is malformed.
            numbers = {n for a, b in malformed for n in range(a // size + 1, -(-b // size) + 1)}
            malformed = []
            for number in sorted(numbers):
                start, stop = max(first, (number - 1) * size), min(end, number * size)
                try:
                    page = self._fetch_piece(slice_, PageRequest(number, size, request.index))
                except MalformedResponse as still:
                    if size > 1:
                        malformed.append((start, stop))
                        continue
                    page = self._unreadable(still)
                    unreadable += 1
                except ApiError:
                    if not linked:
                        raise
                    # No link named this page, so it may not exist.
                    continue
                if linked and page.next_link and self._number_in(slice_, page) != number + 1:
                    # The service's pages have no numbers.
                    raise error
                if page.page_count is not None:
                    counted = -(-page.page_count * size // limit)
                over = start - (number - 1) * size
                if (over or stop < number * size) and self._endpoint.identity:
                    if page.rows > page.table.num_rows:
                        # Rows that were not decoded may be on the next page as well.
                        raise error
                    page = clip_page(page, over, stop - start)
                pieces[start] = page
            met = sum(page.rows > 0 for page in pieces.values())
            if len(malformed) > MAX_MALFORMED_PIECES or (met > 1 and unreadable == met):
                raise ServiceError(f"{error}, also in smaller pages")
        joined = join_pieces(self._endpoint, [pieces[at] for at in sorted(pieces)], counted)
        last = pieces[max(pieces)]
        if linked and (last.next_link or last.rows > last.table.num_rows):
            joined = replace(joined, next_link=f"?{self._service.page_param}={request.number + 1}")
        return joined

    def _fetch_piece(self, slice_: Slice, request: PageRequest) -> Page:
        assert request.limit is not None and self._service.limit_param
        params = {
            **self._window_params(slice_),
            self._service.limit_param: str(request.limit),
            **self._page_params(request),
        }
        once = [MalformedResponse] if request.limit > 1 else []
        return self._get_page(slice_, request, params, once)

    def _get_page(
        self,
        slice_: Slice,
        request: PageRequest,
        params: dict[str, str],
        once: Sequence[type[TransientError]],
        on_response: Callable[[], None] = lambda: None,
    ) -> Page:
        """Send a request and decode its response; send it once more if that is not well-formed."""
        sent = 0

        def count() -> None:
            nonlocal sent
            self._progress.count_request(is_retry=sent > 0)
            sent += 1

        def run(function: Callable[[], Any]) -> Any:
            on_response()
            # A probe must not wait behind whole pages: other requests depend on it.
            return function() if request.limit == 1 else self._workers.decode(function)

        def get_from(path: str) -> Page | MalformedResponse:
            found: Page | MalformedResponse = self._service.client.get(
                path,
                params,
                once=tuple(once),
                on_request=count,
                stop=self._workers.stop,
                then=self._decoded,
                run=run,
            )
            return found

        def get() -> Page | MalformedResponse:
            *others, last = self._paths
            for path in others:
                try:
                    found = get_from(path)
                except ApiError as error:
                    if error.code != NOT_FOUND:
                        raise
                else:
                    self._paths = (path,)
                    return found
            return get_from(last)

        found = get()
        if isinstance(found, Page) and not found.salvaged:
            return found
        logger.warning(
            f"{where(self._endpoint, slice_, request)}: not well-formed; requesting it again"
        )
        again = get()
        if isinstance(again, Page):
            return again
        if isinstance(found, Page):
            return found
        raise again

    def _decoded(self, body: bytes) -> Page | MalformedResponse:
        """Return the page of a body, or why it is none: that is not for the client to retry."""
        try:
            return build_page(self._endpoint, self._codec.decode(body))
        except MalformedResponse as error:
            return error

    def _url(self, slice_: Slice) -> str:
        return self._service.client.url(self._paths[0], self._window_params(slice_))

    def _window_params(self, slice_: Slice) -> dict[str, str]:
        """Return the parameters of a slice without those of the page."""
        params = {**self._endpoint.params, **slice_.partition.params, **slice_.params}
        if self._endpoint.sorted_list:
            params[self._endpoint.sorted_list.param] = self._endpoint.sorted_list.value
        if self._endpoint.time_range and slice_.window:
            params.update(_range_params(self._endpoint.time_range, slice_.window))
        return params

    def _page_params(self, request: PageRequest) -> dict[str, str]:
        if request.limit is None and request.number == 1:
            return {}
        return {self._service.page_param: str(request.number + self._service.first_page - 1)}

    def _number_in(self, slice_: Slice, page: Page) -> int | None:
        """Return the number of the page that the next link names, if it names one."""
        params = link_params(self._url(slice_), page.next_link or "")
        return parse_number(params.get(self._service.page_param))

    def _unreadable(self, error: MalformedResponse) -> Page:
        reason = f"{error}, also when requested alone"
        return unreadable_page(self._endpoint, reason, error.body)


def _range_params(declared: TimeRange, window: Window) -> dict[str, str]:
    """Return the parameters that select a window."""
    wide = window.widened(declared.margin)
    # The window ends with its last second, not at the beginning of it.
    end = _time_param(wide.end + (SECOND - _MILLISECOND), declared.format)
    if window.is_open and declared.open_end is not None:
        end = declared.open_end
    return {declared.start: _time_param(wide.start, declared.format), declared.end: end}


def _time_param(time: datetime, time_format: str) -> str:
    if time_format == MILLISECONDS:
        return str((time - EPOCH) // _MILLISECOND)
    return time.strftime(time_format)
