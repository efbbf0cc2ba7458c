-- Goodreads, as collected at UC San Diego. Files: goodreads_interactions*.json.gz, goodreads_books*.json.gz.
-- A book that was read is a read with its stars, if there are any, as the strength; one that was only shelved is a save. A book is
-- published when it is first shelved; one that nobody has is left out.
CREATE VIEW events AS
SELECT json->>'$.user_id' AS user_id, json->>'$.book_id' AS story_id, CASE json->>'$.is_read' WHEN 'true' THEN 'read' ELSE 'save' END AS type,
       time(json->>'$.date_added', '%a %b %d %H:%M:%S %z %Y') AS occurred_at, nullif(json->>'$.rating', '0') AS strength, file, line
FROM jsonl(matching('goodreads_interactions*.json.gz'));

CREATE VIEW stories AS
SELECT json->>'$.book_id' AS story_id, json->>'$.authors[0].author_id' AS author_id, json->>'$.title' AS title,
       nullif(json->>'$.language_code', '--') AS language, (json->>'$.popular_shelves[*].name')[:5] AS topics, published_at, file, line
FROM jsonl(matching('goodreads_books*.json.gz'))
JOIN (SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id) ON story_id = json->>'$.book_id';
