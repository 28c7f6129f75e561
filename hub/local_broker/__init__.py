"""A RabbitMQ of our own: one private node for `hub up`, the demo and the tests."""
