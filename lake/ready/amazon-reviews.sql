-- Amazon Reviews 2023, of any number of categories. Files: such as All_Beauty.jsonl.gz and meta_All_Beauty.jsonl.gz.
-- A review is a read with its stars as the strength; a product is a story, published with its first review; its store is the author.
CREATE VIEW events AS
SELECT json->>'$.user_id' AS user_id, json->>'$.parent_asin' AS story_id, 'read' AS type, unix_ms(json->>'$.timestamp') AS occurred_at,
       json->>'$.rating' AS strength, file, line
FROM jsonl(matching('[!m]*.jsonl*'));

CREATE VIEW stories AS
SELECT json->>'$.parent_asin' AS story_id, left(json->>'$.store', 32) AS author_id, json->>'$.title' AS title,
       json->>'$.categories[*]' AS topics, published_at, file, line
FROM jsonl(matching('meta_*.jsonl*'))
JOIN (SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id) ON story_id = json->>'$.parent_asin';
