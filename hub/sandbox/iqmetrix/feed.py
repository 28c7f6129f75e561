"""The Atom documents of the order notification feed, as bytes.

iQmetrix Supplier Orders reference, 25-01-2016, and iQmetrix Dropship Order Management Guide, 18-04-2016: the shape of the feed
head, of `order-created` and of `order-status-updated`; children in alphabetical order; nulls as empty elements with `i:nil`.
The links carry the production host whatever host was asked, as the guide's sample does.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lxml import etree

from hub.sandbox.iqmetrix.audit import LineState
from hub.sandbox.iqmetrix.orders import SandboxLine, SandboxOrder
from hub.sandbox.iqmetrix.pages import Entry, Page

__all__ = ["ATOM", "PRODUCTION_BASE", "FeedLinks", "created_entry", "page_document", "status_entry"]

ATOM: Final = "http://www.w3.org/2005/Atom"
DROPSHIP: Final = "urn:iQmetrix:dropship"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"

# lxml's type stubs do not know that None is the default namespace's prefix.
_ATOM_PREFIXES: Final[Any] = {None: ATOM}
_DROPSHIP_PREFIXES: Final[Any] = {None: DROPSHIP, "i": XSI}

PRODUCTION_BASE: Final = "https://dropship.iqmetrix.net/v1"

# The sample's current page says that it was updated a little later than its newest entry.
_HEAD_LAG = timedelta(seconds=2)

_END = b"</feed>"


class FeedLinks:
    """The addresses that the feed's documents carry."""

    def __init__(self, base: str, supplier_id: int) -> None:
        """Keep the base address, without a slash at the end, and the supplier's feed below it."""
        self._notifications = f"{base}/Suppliers({supplier_id})/Notifications"

    def of(self, page: Page) -> Iterable[tuple[str, str]]:
        """Yield relation and address of each link in this page's head."""
        yield "current", self._notifications
        yield "self", self._page(page.page_id)
        if page.prev_id is not None:
            yield "prev-archive", self._page(page.prev_id)
        if page.next_id is not None:
            yield "next-archive", self._page(page.next_id)

    def _page(self, page_id: str) -> str:
        return f"{self._notifications}/Pages({page_id})"


def page_document(page: Page, links: FeedLinks) -> bytes:
    """Return the Atom document of a page, newest entry on top; an archive's is made once and kept."""
    if page.cached is not None:
        return page.cached
    document = b"".join(
        (_head(page, links), *(entry.render(entry) for entry in reversed(page.entries)), _END)
    )
    if page.archived:
        page.cached = document
    return document


def created_entry(order: SandboxOrder, entry: Entry) -> bytes:
    """Return the entry that tells of a new order."""
    seller = {
        "company-id": str(order.company_id),
        "location-id": str(order.location_id),
        "po-reference": order.po_reference,
        "printable-id": order.printable_id,
    }
    content = etree.Element(f"{{{DROPSHIP}}}order-created", nsmap=_DROPSHIP_PREFIXES)
    _list(content, "order-item", (_line_values(line) for line in order.lines))
    _text(content, "order-id", order.order_id)
    _values(_group(content, "seller"), seller)
    _text(content, "ship-to-store", "true" if order.ship_to_store else "false")
    _values(_group(content, "shipping-address"), order.address)
    _values(_group(content, "shipping-customer"), order.customer)
    _text(content, "shipping-method", order.shipping_method)
    _text(content, "supplier-id", str(order.supplier_id))
    return _entry("Dropship Order Created", entry, content)


def status_entry(
    order: SandboxOrder, states: tuple[tuple[SandboxLine, LineState], ...], entry: Entry
) -> bytes:
    """Return the entry that repeats an applied status update."""
    content = etree.Element(f"{{{DROPSHIP}}}order-status-updated", nsmap=_DROPSHIP_PREFIXES)
    _text(content, "company-id", str(order.company_id))
    _list(content, "item-information", (_state_values(line, state) for line, state in states))
    _text(content, "order-id", order.order_id)
    _text(content, "supplier-id", str(order.supplier_id))
    return _entry("Dropship Order Status Updated", entry, content)


def _head(page: Page, links: FeedLinks) -> bytes:
    feed = etree.Element(f"{{{ATOM}}}feed", nsmap=_ATOM_PREFIXES)
    etree.SubElement(feed, f"{{{ATOM}}}title", type="text").text = "Dropship Order Event Feed"
    etree.SubElement(feed, f"{{{ATOM}}}id").text = f"urn:uuid:{page.page_id}"
    newest = page.entries[-1].at if page.entries else page.opened_at
    etree.SubElement(feed, f"{{{ATOM}}}updated").text = _timestamp(
        newest if page.archived else newest + _HEAD_LAG
    )
    author = etree.SubElement(feed, f"{{{ATOM}}}author")
    etree.SubElement(author, f"{{{ATOM}}}name").text = "iQmetrix"
    for relation, address in links.of(page):
        etree.SubElement(feed, f"{{{ATOM}}}link", rel=relation, href=address)
    document = etree.tostring(feed, xml_declaration=True, encoding="utf-8")
    return document.removesuffix(_END)


def _entry(title: str, entry: Entry, content: etree._Element) -> bytes:
    element = etree.Element(f"{{{ATOM}}}entry", nsmap=_ATOM_PREFIXES)
    etree.SubElement(element, f"{{{ATOM}}}id").text = entry.entry_id
    etree.SubElement(element, f"{{{ATOM}}}title", type="text").text = title
    etree.SubElement(element, f"{{{ATOM}}}published").text = _timestamp(entry.at)
    etree.SubElement(element, f"{{{ATOM}}}updated").text = _timestamp(entry.at)
    etree.SubElement(element, f"{{{ATOM}}}content", type="application/xml").append(content)
    # The document's root declares the namespace; the samples do not repeat it on each entry.
    return etree.tostring(element, encoding="utf-8").replace(f' xmlns="{ATOM}"'.encode(), b"", 1)


def _line_values(line: SandboxLine) -> Mapping[str, str | None]:
    return {
        "catalog-id": line.catalog_id,
        "description": line.description,
        "quantity": str(line.quantity),
        "selling-price": line.selling_price,
        "sku": line.sku,
    }


def _state_values(line: SandboxLine, state: LineState) -> Mapping[str, str | None]:
    return {
        "catalog-id": line.catalog_id,
        "info": state.info,
        "message": state.message,
        "quantity": str(line.quantity if state.quantity is None else state.quantity),
        "shipping-provider": state.provider,
        "sku": line.sku,
        "status": state.status,
        "tracking-info": state.tracking,
    }


def _list(parent: etree._Element, name: str, elements: Iterable[Mapping[str, str | None]]) -> None:
    items = _group(parent, "items")
    for values in elements:
        _values(_group(items, name), values)


def _group(parent: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{DROPSHIP}}}{name}")


def _values(parent: etree._Element, values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        _text(parent, name, value)


def _text(parent: etree._Element, name: str, value: str | None) -> None:
    element = _group(parent, name)
    if value is None:
        element.set(f"{{{XSI}}}nil", "true")
    else:
        element.text = value


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
