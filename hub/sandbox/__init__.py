"""The simulated partners: local HTTP servers that behave by the partners' documents, with faults by seed or by script.

Written from the documents and from nothing else: no client code of the hub is read or imported here, so that one misreading is not
made twice. Used by `hub sandbox`, by `make run` and `make demo`, and by the flow tests, whose checkers read what each partner
recorded: breaches of the protocol, effects applied twice, states gone backward. The hub's real work never comes through here.
"""

from hub.sandbox.fault_injection import DISRUPTIVE, Fault, Faults
from hub.sandbox.http_server import LocalServer
from hub.sandbox.iqmetrix.audit import Doubled, LineHistory, LineState, Regression
from hub.sandbox.iqmetrix.orders import SandboxLine, SandboxOrder, sample_order
from hub.sandbox.iqmetrix.server import IqmetrixSandbox
from hub.sandbox.request_log import RequestRecord, Violation
from hub.sandbox.retailops.api import ApiCall
from hub.sandbox.retailops.audit import AskedEffect, Completed, Estimated, OrderState, PurchaseRegression
from hub.sandbox.retailops.bodies import Completion, EstimatedDate, Package
from hub.sandbox.retailops.envelope import Dialect, RetailopsFault
from hub.sandbox.retailops.purchase_orders import ABSENT, DateStyle, Oddity, PurchaseLine, PurchaseOrder
from hub.sandbox.retailops.server import RetailopsSandbox
from hub.sandbox.webhooks.authentication import ApiKey, Basic, NoAuth, OAuth2, ReceiverAuth
from hub.sandbox.webhooks.receiver import Attempt, DoubledDelivery, Received, WebhookReceiver
from hub.sandbox.webhooks.schemas import Webhook

__all__ = [
    "ABSENT",
    "DISRUPTIVE",
    "ApiCall",
    "ApiKey",
    "AskedEffect",
    "Attempt",
    "Basic",
    "Completed",
    "Completion",
    "DateStyle",
    "Dialect",
    "Doubled",
    "DoubledDelivery",
    "Estimated",
    "EstimatedDate",
    "Fault",
    "Faults",
    "IqmetrixSandbox",
    "LineHistory",
    "LineState",
    "LocalServer",
    "NoAuth",
    "OAuth2",
    "Oddity",
    "OrderState",
    "Package",
    "PurchaseLine",
    "PurchaseOrder",
    "PurchaseRegression",
    "Received",
    "ReceiverAuth",
    "Regression",
    "RequestRecord",
    "RetailopsFault",
    "RetailopsSandbox",
    "SandboxLine",
    "SandboxOrder",
    "Violation",
    "Webhook",
    "WebhookReceiver",
    "sample_order",
]
