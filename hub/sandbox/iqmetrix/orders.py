"""Sample dropship orders, with every odd shape that the documents print.

iQmetrix Supplier Orders reference, 25-01-2016, and iQmetrix Dropship Order Management Guide, 18-04-2016: nil phone, nil second
street, nil address type although the order goes to a store, an address id of zeros, identifiers that are no valid UUIDs, postal
codes without a space, prices such as 100, 24.5, 39.99 and 0. All people and companies are invented.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

__all__ = ["SandboxLine", "SandboxOrder", "damaged", "sample_order", "uuid_text"]

_ZERO_GUID = "00000000-0000-0000-0000-000000000000"

# description, sku, price as printed in the feed
_PRODUCTS = (
    ("Rugged Case - Graphite", "NF-CASE-GRA", "39.99"),
    ("USB-C Car Charger 30W", "NF-CHG-30", "24.5"),
    ("Étui souple, bleu & blanc", "NF-CASE-BLU", "100"),
    ("Screen Protector 6.1\" <tempered>", "NF-GLS-61", "19.95"),
    ("Welcome Sticker", "NF-STK-0", "0"),
    ("Wireless Charging Stand", "NF-WCS-15", "59.9"),
    ("Lightning Cable 2 m", "NF-CBL-2M", "12"),
    ("Noise Canceling Headset", "NF-HDS-NC", "1249.00"),
)  # fmt: skip

# country, country-code, locality, postal-code, region, region-code, street-address-1, telephone
_PLACES = (
    ("United States", "US", "Boise", "83702", "Idaho", "ID", "914 W Fort St", "208-555-0143"),
    ("United States", "US", "Austin", "78701-4112", "Texas", "TX", "12 Congress Ave", "+1 512 555 0177"),
    ("Canada", "CA", "Regina", "S6J1N2", "Saskatchewan", "SK", "305 Broad St N", "3065550118"),
    ("Canada", "CA", "Montréal", "H2X 1Y4", "Québec", "QC", "77 Rue Saint-Urbain", "514-555-0160"),
)

_PEOPLE = (
    ("Dana", "Whitfield"),
    ("José", "Núñez"),
    ("Mei", "O'Connor"),
    ("Ola", "Brekke-Lund"),
    ("Priya", "Raman"),
)

_SHIPPING_METHODS = ("350", "350", "351", "UPS Ground", "2")


@dataclass(frozen=True, slots=True)
class SandboxLine:
    """One order line; `selling_price` is per unit, as printed in the feed."""

    catalog_id: str
    description: str
    quantity: int
    selling_price: str
    sku: str


@dataclass(frozen=True, slots=True)
class SandboxOrder:
    """One order as the retailer placed it; address and customer by the feed's own element names, None for nil."""

    order_id: str
    supplier_id: int
    company_id: int
    location_id: int
    po_reference: str
    printable_id: str
    ship_to_store: bool
    shipping_method: str
    address: Mapping[str, str | None]
    customer: Mapping[str, str | None]
    lines: tuple[SandboxLine, ...]


def uuid_text(rng: random.Random) -> str:
    """Return a UUID drawn from `rng`."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def damaged(identifier: str, rng: random.Random) -> str:
    """Return an identifier that is no valid UUID any more, as some that the documents print: one digit short."""
    at = rng.randrange(len(identifier) - 12, len(identifier))
    return identifier[:at] + identifier[at + 1 :]


def sample_order(rng: random.Random, supplier_id: int) -> SandboxOrder:
    """Draw one order of one to four lines."""
    number = f"KW{rng.randrange(10, 99)}IN{rng.randrange(1000, 9999)}"
    to_store = rng.random() < 0.25
    return SandboxOrder(
        order_id=uuid_text(rng),
        supplier_id=supplier_id,
        company_id=41870 + rng.randrange(3),
        location_id=41902 + rng.randrange(20),
        po_reference=number,
        printable_id=number if rng.random() < 0.8 else f"{number}-R",
        ship_to_store=to_store,
        shipping_method=rng.choice(_SHIPPING_METHODS),
        address=_address(rng, to_store),
        customer=_customer(rng),
        lines=_lines(rng),
    )


def _lines(rng: random.Random) -> tuple[SandboxLine, ...]:
    products = rng.sample(_PRODUCTS, rng.randint(1, 4))
    if len(products) > 1 and rng.random() < 0.1:
        # One SKU on two lines: only the catalog id tells them apart.
        products[-1] = products[0]
    return tuple(
        SandboxLine(_identifier(rng), description, rng.choice((1, 1, 1, 2, 3)), price, sku)
        for description, sku, price in products
    )


def _identifier(rng: random.Random) -> str:
    text = uuid_text(rng)
    return damaged(text, rng) if rng.random() < 0.15 else text


def _address(rng: random.Random, to_store: bool) -> dict[str, str | None]:
    country, country_code, locality, postal_code, region, region_code, street, phone = rng.choice(_PLACES)
    first, family = rng.choice(_PEOPLE)
    return {
        "address-id": _ZERO_GUID if rng.random() < 0.3 else _identifier(rng),
        "attention-to": None if rng.random() < 0.2 else f"{first} {family}",
        "country": country,
        "country-code": country_code,
        "locality": locality,
        "notes": "Leave at the desk" if rng.random() < 0.1 else None,
        "phone": phone if rng.random() < 0.7 else None,
        "post-office-box-number": None,
        "postal-code": postal_code,
        "region": region,
        "region-code": region_code,
        "street-address-1": street,
        "street-address-2": "Unit 4" if rng.random() < 0.3 else None,
        "type": None if to_store or rng.random() < 0.2 else rng.choice(("Home", "Shipping", "Office")),
    }


def _customer(rng: random.Random) -> dict[str, str | None]:
    first, family = rng.choice(_PEOPLE)
    company = rng.random() < 0.1
    return {
        "alternate-name": None,
        "customer-id": uuid_text(rng),
        "family-name": None if company else family,
        "middle-name": "J" if rng.random() < 0.1 else None,
        "notes": None,
        "primary-name": f"{family} & Co" if company else first,
        "title": None,
        "type": "Company" if company else "Person",
    }
