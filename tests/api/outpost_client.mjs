// What a program does that uses Outpost's TypeScript SDK: every method but those of the managed
// service. Run with the SDK's path, a URL and a key. It prints what it was answered, as JSON.

const [sdk, url, key] = process.argv.slice(2);
const { Outpost } = await import(sdk);
const connect = (apiKey) => new Outpost({ apiKey, serverURL: `${url}/api/v1` });
const client = connect(key);
const said = {};

async function failed(call) {
  try {
    await call();
  } catch (error) {
    return [error.constructor.name, error.statusCode, JSON.parse(error.body).message];
  }
  return [];
}

said.health = (await client.health.check()).status;
said.topics = await client.topics.list();
said.tenant = (await client.tenants.upsert("acme", { metadata: { plan: "free" } })).id;
await client.tenants.upsert("other");
const page = await client.tenants.list({ limit: 1 });
said.tenants = [page.count, page.models.length];
said.found = (await client.tenants.get("acme")).metadata;
said.portal = (await client.tenants.getPortalUrl("acme", "dark")).redirectUrl;
const own = connect((await client.tenants.getToken("acme")).token);
said.own = (await own.tenants.list({})).models.map((one) => one.id);
said.notOwn = await failed(() => own.tenants.get("other"));
said.deletedTenant = (await client.tenants.delete("other")).success;

said.types = (await client.schemas.listDestinationTypes()).length;
said.form = (await client.schemas.getDestinationType("kafka")).label;
await client.destinations.create("acme", {
  id: "of-webhook", type: "webhook", topics: ["user.created"],
  config: { url: "https://example.com/" },
});
await client.destinations.create("acme", {
  id: "of-kafka", type: "kafka", topics: "*",
  config: { brokers: "k.example.com:9092", topic: "t", saslMechanism: "plain", tls: "false" },
  credentials: { username: "somebody", password: "a-long-password" },
});
said.listed = (await client.destinations.list("acme", "webhook")).map((one) => one.target);
const changed = await client.destinations.update("acme", "of-webhook", {
  type: "webhook", metadata: { team: "x" }, filter: { data: { plan: "pro" } },
});
said.changed = [changed.metadata, changed.filter];
said.disabled = (await client.destinations.disable("acme", "of-webhook")).disabledAt !== null;
said.enabled = (await client.destinations.enable("acme", "of-webhook")).disabledAt === null;
said.target = (await client.destinations.get("acme", "of-webhook")).target;

const event = {
  id: "e9", tenantId: "acme", topic: "user.created", data: { plan: "pro" }, metadata: { k: "v" },
};
for (const again of [false, true]) {
  const { id, duplicate, destinationIds } = await client.publish(event);
  said[again ? "again" : "published"] = [id, duplicate, destinationIds.sort()];
}
said.events = (await client.events.list({ tenantId: "acme" })).models.map((one) => one.id);
said.event = (await client.events.get("e1")).data;
const listed = await client.attempts.list({ tenantId: "acme", include: ["event.data"] });
said.attempts = listed.models.map((one) => [one.id, one.status, one.event.data]);
said.attempt = (await client.attempts.get("a1")).attemptNumber;
const key1 = { tenantId: "acme", destinationId: "of-webhook" };
said.failed = (await client.destinations.listAttempts({ ...key1, status: "failed" })).models.length;
said.one = (await client.destinations.getAttempt("acme", "of-webhook", "a1")).code;
said.retry = (await client.retry({ eventId: "e1", destinationId: "of-webhook" })).success;

const time = { start: new Date("2026-01-01"), end: new Date("2027-01-01") };
const counted = await client.metrics.getEventMetrics({ time, measures: ["count"] });
said.count = counted.data[0].metrics.count;
const measured = await client.metrics.getAttemptMetrics({
  time, measures: ["count", "error_rate"], dimensions: ["manual"], granularity: "1M",
});
said.metrics = measured.data.filter((point) => point.metrics.count).map((point) => [point.dimensions, point.metrics]);

said.deleted = (await client.destinations.delete("acme", "of-kafka")).success;
said.missing = await failed(() => client.destinations.get("acme", "of-kafka"));
said.conflict = await failed(() => client.publish({ ...event, data: { plan: "other" } }));
said.invalid = await failed(() => client.publish({ ...event, tenantId: "a/b" }));
said.unauthorized = await failed(() => connect("wrong").tenants.get("acme"));

console.log(JSON.stringify(said));
