"""The settings of webhook clients: how the hub proves itself to one, and what its webhooks say by default."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from hub.config.types import Duration, Name, Section, partner_url


class NoAuth(Section):
    """No authentication."""

    type: Literal["none"] = "none"


class BasicAuth(Section):
    """HTTP Basic."""

    type: Literal["basic"] = "basic"
    username: str
    password: SecretStr


class ApiKeyAuth(Section):
    """A key in a header of the client's choice."""

    type: Literal["api_key"] = "api_key"
    header: str = Field("X-Api-Key", pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
    key: SecretStr


class OAuth2Auth(Section):
    """OAuth2 client credentials against the client's token endpoint."""

    type: Literal["oauth2"] = "oauth2"
    allow_http: bool = False
    token_url: str
    client_id: str
    client_secret: SecretStr
    scope: str = ""
    body: Literal["form", "json"] = "form"

    _urls = field_validator("token_url")(partner_url)


Auth = Annotated[NoAuth | BasicAuth | ApiKeyAuth | OAuth2Auth, Field(discriminator="type")]
ShippingMethod = Literal["STANDARD", "EXPRESS", "OVERNIGHT", "FREIGHT", "PICK-UP"]


class WebhookDefaults(Section):
    """What a client's webhooks say where no upstream gives a value.

    Without a value here either, the message is dead-lettered with the path of the field. Only the three charges of a
    cancellation default to 0, since no partner can ever give them.
    """

    channel: str | None = None
    brand: str | None = None
    condition: str | None = None
    shipping_method: ShippingMethod | None = None
    weight_lb: float | None = Field(None, ge=0, allow_inf_nan=False)
    """``billed_weight`` of a confirmation, in pounds."""
    package_cost_cents: int | None = Field(None, ge=0)
    """``shipping_cost_cents`` of a confirmation: what the parcel cost."""
    price_cents: int | None = Field(None, ge=0)
    tax_cents: int | None = Field(0, ge=0)
    shipping_cost_cents: int | None = Field(0, ge=0)
    """``shipping_cost_cents`` of a cancellation: what the customer was charged."""
    shipping_tax_cents: int | None = Field(0, ge=0)
    location_identifier: str | None = None
    warehouse_identifier: str | None = None
    program_identifier: str | None = None


class WebhookClient(Section):
    """One client endpoint of the four webhooks; a URL that is absent: that webhook is not sent."""

    unique_key: ClassVar = "name"

    name: Name = Field(description="short name; its work queue is hub.webhook.<name>")
    allow_http: bool = Field(False, description="allow plain http beyond loopback")
    confirmation_url: str | None = Field(None, description="drop_shipment_confirmation")
    cancellation_url: str | None = Field(None, description="drop_shipment_cancellation")
    partial_cancellation_url: str | None = Field(None, description="drop_shipment_partial_cancellation")
    disposition_url: str | None = Field(None, description="disposition_update")
    sources: tuple[str, ...] | None = Field(None, description="sources of orders it hears of; absent = all")
    timeout: Duration = Field(timedelta(seconds=15), description="how long one post may take")
    connections: int = Field(10, ge=1, le=1000, description="connections at once to this client")
    signing_secret: SecretStr | None = Field(
        None, description="whsec_…: adds the Standard Webhooks signature"
    )
    auth: Auth = Field(default_factory=NoAuth, description="how the hub proves itself")
    traceparent: bool = Field(False, description="send traceparent along, while traces are on")
    retry_on: Literal["all", "server"] = Field(
        "all",
        description='"server": only 5xx, 429, timeouts and connection errors; the rest is a letter at once',
    )
    identify_orders_by: Literal["source_order_id", "order_number"] = Field(
        "source_order_id", description="what client_identifier of an order is"
    )
    shipping_methods: dict[str, ShippingMethod] = Field(
        default_factory=dict, description='shipping_method_code or "carrier service" -> shipping method'
    )
    defaults: WebhookDefaults = Field(default_factory=WebhookDefaults)

    _urls = field_validator(
        "confirmation_url", "cancellation_url", "partial_cancellation_url", "disposition_url"
    )(lambda url, info: url if url is None else partner_url(url, info))

    @property
    def account(self) -> str:
        """The name as its queue has it: with hyphens only, so names that differ in nothing else would share one."""
        return self.name.replace("_", "-")

    @field_validator("signing_secret")
    @classmethod
    def _is_a_webhook_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not re.fullmatch(r"whsec_[A-Za-z0-9+/]+={0,2}", secret.get_secret_value()):
            raise ValueError("expected whsec_ and the secret in base64")
        return secret
