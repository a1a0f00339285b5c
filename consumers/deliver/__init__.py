"""The parts of the delivery worker; `consumers/delivery_worker.py` puts them together."""
