-- Hacker News, items as its API gives them, one a line. Files: hacker-news*.jsonl, hacker-news*.jsonl.gz.
-- A comment, however deep, is a share of the story that it stands under. Deleted and dead items are left out, and so are jobs and polls.
CREATE VIEW item AS
SELECT json->>'$.id' AS id, json->>'$.parent' AS parent, json->>'$.type' AS type, json->>'$.by' AS author, json->>'$.title' AS title,
       unix_s(json->>'$.time') AS at_time, file, line
FROM jsonl(matching('hacker-news*.jsonl*'))
WHERE coalesce(json->>'$.deleted', 'false') = 'false' AND coalesce(json->>'$.dead', 'false') = 'false';
CREATE VIEW under AS
WITH RECURSIVE under AS (
    SELECT id, id AS story_id FROM item WHERE type = 'story'
    UNION ALL SELECT item.id, under.story_id FROM item JOIN under ON item.parent = under.id WHERE item.type = 'comment')
FROM under;

CREATE VIEW events AS
SELECT id AS event_id, author AS user_id, story_id, 'share' AS type, at_time AS occurred_at, file, line
FROM item JOIN under USING (id) WHERE item.type = 'comment';
CREATE VIEW stories AS
SELECT id AS story_id, author AS author_id, title, at_time AS published_at, 'en' AS language, file, line FROM item WHERE type = 'story';
