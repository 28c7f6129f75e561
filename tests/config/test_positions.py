"""A fault of the settings names the line of the file."""

from hub.config.positions import line_numbers, line_of

TEXT = '''\
# a comment
[broker]
url = "amqp://hub@localhost" # [not] = a header
prefetch = 100

[retry]
waits = [
    "5s",
    "25s", # ] and more
]

[[webhooks]]
name = "acme"
auth = { type = "basic", username = "a" }
[webhooks.defaults]
channel = """
[state]
"""
brand = "b"

[[webhooks]]
name = "northwind"
auth.type = "none"
[webhooks."shipping_methods"]
"UPS Ground" = "STANDARD"

[state]
'''
LINES = line_numbers(TEXT)


def test_tables_and_keys_have_their_lines() -> None:
    assert LINES[("broker",)] == 2
    assert LINES[("broker", "url")] == 3
    assert LINES[("retry", "waits")] == 7
    assert LINES[("state",)] == 27


def test_repeated_tables_are_counted() -> None:
    assert LINES[("webhooks", 0, "name")] == 13
    assert LINES[("webhooks", 0, "defaults", "brand")] == 19
    assert LINES[("webhooks", 1, "name")] == 22
    assert LINES[("webhooks", 1, "auth", "type")] == 23
    assert LINES[("webhooks", 1, "shipping_methods", "UPS Ground")] == 25


def test_a_value_over_several_lines_has_the_line_of_its_key() -> None:
    assert line_of(("retry", "waits", 1), LINES) == 7
    assert line_of(("webhooks", 0, "auth", "basic", "password"), LINES) == 14


def test_what_is_not_in_the_file_has_the_line_of_its_table() -> None:
    assert line_of(("webhooks", 1, "confirmation_url"), LINES) == 21
    assert line_of(("iqmetrix", 0, "password"), LINES) is None


def test_a_single_table_may_stand_for_a_list_of_tables() -> None:
    lines = line_numbers("[webhooks]\nname = 'acme'\n")

    assert line_of(("webhooks", 0, "name"), lines) == 2
