"""What an operator may look at: no event loop waits for it, but a person does."""

from collections.abc import Iterator
from functools import partial

from bench.hostile.bodies import bodies
from bench.hostile.case import BESIDE_MS, Case
from hub.models.input.body_limits import has_too_many_values, has_too_much_markup
from hub.operations.masking import readable_body


def letters() -> Iterator[Case]:
    """Yield what `hub letters show` renders."""
    for name, body in bodies():
        yield Case("letter shown", name, len(body), partial(readable_body, body), BESIDE_MS)
        # A larger one is shown as it came.
        if not has_too_many_values(body) and not has_too_much_markup(body):
            unmasked = partial(readable_body, body, unmask=True)
            yield Case("letter shown unmasked", name, len(body), unmasked, BESIDE_MS)
