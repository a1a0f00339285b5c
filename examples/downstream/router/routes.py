"""The service's own router."""

from schemas.order import Order


def route(order: Order) -> str:
    return "kitchen" if order.item == "soup" else "counter"
