// Makes every call with openapi-fetch and the types that openapi-typescript made: `node every_call.js URL NOW`; prints the calls made.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const [, , baseUrl, now] = process.argv as [string, string, string, string];
const client = createClient<paths>({ baseUrl });
const made = new Set<string>();
client.use({
  onRequest({ request, schemaPath }) {
    made.add(`${request.method} ${schemaPath}`);
  },
});
const user = { path: { user_id: "u/typed" } };
const story = { path: { story_id: "https://example.org/typed?1" } };

function check(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what));
}

const ready = await client.GET("/readyz");
check(ready.data?.status === "ready", ready);
const put = await client.PUT("/v1/stories/{story_id}", {
  params: story,
  body: { published_at: now, author_id: "a/typed", topics: null, language: "en", visibility: null },
});
check(put.data?.story_id === story.path.story_id, put);
const account = await client.PUT("/v1/users/{user_id}", { params: user, body: { languages: ["en"], is_member: true } });
check(account.data?.user_id === "u/typed", account);
const sent = await client.POST("/v1/events", {
  body: {
    events: [
      {
        event_id: "e1",
        user_id: "u/typed",
        type: "follow",
        target_type: "author",
        target_id: "a/typed",
        occurred_at: now,
      },
    ],
  },
});
check(sent.data?.accepted === 1, sent);
const page = await client.GET("/v1/users/{user_id}/feed", { params: { ...user, query: { limit: 5 } } });
check(page.data?.items[0]?.story_id === story.path.story_id, page);
const cursor = page.data!.next_cursor!;
const next = await client.GET("/v1/users/{user_id}/feed", { params: { ...user, query: { cursor } } });
check(next.data?.items[0]?.position === 5, next);
const why = await client.GET("/v1/users/{user_id}/feed/explain", {
  params: { ...user, query: { story_id: story.path.story_id } },
});
check(why.data?.story?.known === true && why.data.stages[0]?.stage === "aggregate", why);
const about = await client.GET("/v1/users/{user_id}", { params: user });
check(about.data?.follows.author[0] === "a/typed" && about.data.is_member, about);
const snapshots = await client.GET("/v1/snapshots");
check(snapshots.data?.snapshots[0]?.current === true, snapshots);
const health = await client.GET("/healthz");
check(health.data?.status === "ok", health);
const metrics = await client.GET("/metrics", { parseAs: "text" });
check(metrics.data!.includes("rex_pages_total"), metrics);
const gone = await client.DELETE("/v1/stories/{story_id}", { params: story });
check(gone.data?.story_id === story.path.story_id, gone);
const unknown = await client.DELETE("/v1/stories/{story_id}", { params: { path: { story_id: "never-seen" } } });
check(unknown.error?.type === "urn:rex:not_found", unknown);
const refused = await client.GET("/v1/users/{user_id}/feed", { params: { ...user, query: { limit: 500 } } });
check(refused.error?.errors?.[0]?.where === "query.limit", refused);

console.log([...made].sort().join("\n"));
