"""RabbitMQ: the only room that imports aio_pika."""
